"""The test vector of a model file: a small free cluster with its float64 energy, forces and virial."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from allegro_md.models.allegro.edges import Edges
from allegro_md.models.allegro.network import Network

TOLERANCE = 1e-8
"""Relative to the largest component: far above rounding, far below any real difference."""

MOST_ATOMS = 1000
"""Of a test vector: all pairs are tried."""


def evaluate_cluster(
    network: Network, positions: NDArray[np.float64], species: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Energies, forces and virial of a free cluster in float64, all pairs tried.

    Args:
        network: the network.
        positions: (n, 3) Å.
        species: (n,) index into the architecture's symbols.

    Returns:
        (n,) eV, (n, 3) eV/Å, and −dE/dstrain (3, 3) eV.
    """
    with torch.no_grad():
        evaluate = network.prepare(torch.float64, "cpu")
    d = positions[None] - positions[:, None]
    near = np.linalg.norm(d, axis=-1) < evaluate.cutoffs[species[:, None], species]
    np.fill_diagonal(near, False)
    center, neighbor = np.nonzero(near)
    vector = torch.from_numpy(d[center, neighbor]).requires_grad_()
    edges = Edges(vector, torch.from_numpy(center), torch.from_numpy(species), torch.from_numpy(species[neighbor]))
    energy = evaluate(edges)
    (grad,) = torch.autograd.grad(energy, vector, torch.ones_like(energy))
    gradient = grad.numpy()
    force = np.zeros_like(positions)
    np.add.at(force, center, gradient)
    np.add.at(force, neighbor, -gradient)
    return energy.detach().numpy(), force, -np.einsum("ea,eb->ab", d[center, neighbor], gradient)


def test_vector(network: Network) -> dict[str, Any]:
    """A cluster of all elements, several neighbors each, with what the network says about it."""
    a = network.architecture
    n = max(8, 2 * len(a.symbols))
    generator = np.random.Generator(np.random.Philox(key=2023))
    grid = np.stack(np.meshgrid(*[np.arange(int(np.ceil(n ** (1 / 3))))] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    positions = a.cutoff * (0.55 * grid[:n] + generator.uniform(-0.08, 0.08, (n, 3)))
    species = np.arange(n, dtype=np.int64) % len(a.symbols)
    energy, force, virial = evaluate_cluster(network, positions, species)
    return {
        "positions": positions.tolist(), "symbols": [a.symbols[s] for s in species], "energies": energy.tolist(),
        "forces": force.tolist(), "virial": virial.tolist(),
    }


def disagreement(network: Network, vector: Any) -> str:
    """Names a difference from a stored test vector; empty when there is none."""
    try:
        positions = np.array(vector["positions"], dtype=np.float64)
        species = np.array([network.architecture.symbols.index(s) for s in vector["symbols"]], dtype=np.int64)
        stored = [np.array(vector[key], dtype=np.float64) for key in ("energies", "forces", "virial")]
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        return f"its test vector is unreadable ({error})"
    if positions.shape != (len(species), 3) or not 0 < len(species) <= MOST_ATOMS:
        return "its test vector is unreadable (not a small cluster)"
    shifts = network.shifts.detach().cpu().numpy()[species]
    computed = evaluate_cluster(network, positions, species)
    zeros = (shifts, np.zeros(1), np.zeros(1))
    for name, ours, theirs, zero in zip(("energies", "forces", "virial"), computed, stored, zeros, strict=True):
        if ours.shape != theirs.shape:
            return f"{name} have the wrong shape"
        scale = max(float(np.abs(theirs - zero).max()), 1e-6)
        off = float(np.abs(ours - theirs).max()) / scale
        if not off <= TOLERANCE:
            return f"{name} differ by {off:.1e} of their maximum"
    return ""
