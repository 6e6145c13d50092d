"""Errors of a folded network's forces against the network's, and tables fine enough to keep them small."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from allegro_md.evaluation import TOLERANCE
from allegro_md.exact import FORCE_SCALE
from allegro_md.kernels.arguments import Atoms, Lists, Out
from allegro_md.models.allegro.edges import Edges
from allegro_md.models.allegro.network import Network
from allegro_md.models.fused.fold import Fold, UnfoldableError
from allegro_md.models.fused.packing import FusedEvaluator
from allegro_md.models.fused.splines import tabulate

Array = NDArray[np.float64]

MARGIN = 0.25
"""Fraction of `TOLERANCE` that one center may take: an atom feels its own center and those of its neighbors."""

COARSEST, FINEST = 256, 8192
"""Intervals of a table."""

CENTERS = 48
"""Random environments."""

NEAREST = 0.35
"""Shortest distance in them, in cutoffs."""


@dataclass(frozen=True)
class Environments:
    """Centers with random neighbors: from none to twice the usual number, near, far, and at the edge of the cutoff."""

    vector: Array
    center: NDArray[np.int64]
    center_species: NDArray[np.int64]
    neighbor_species: NDArray[np.int64]


def environments(fold: Fold, usual: float, seed: int = 0, centers: int = CENTERS) -> Environments:
    """Random environments of the species of a folded network.

    Args:
        fold: the network.
        usual: mean number of neighbors.
        seed: of the random numbers.
        centers: how many.
    """
    rng = np.random.default_rng(seed)
    n = len(fold.factors)
    kind = rng.integers(n, size=centers)
    center = np.repeat(np.arange(centers), rng.integers(1, int(2.0 * usual) + 2, size=centers))
    other = rng.integers(n, size=len(center))
    low = NEAREST**3
    x = np.cbrt(low + (1.0 - low) * rng.random(len(center)))
    x = np.where(rng.random(len(x)) < 0.1, 1.0 - 0.05 * rng.random(len(x)), x)
    direction = rng.normal(size=(len(center), 3))
    direction /= np.linalg.norm(direction, axis=1)[:, None]
    length = x * fold.cutoffs[kind[center], other] * (1.0 - 1e-9)
    return Environments(direction * length[:, None], center, kind, other)


def network_forces(network: Network, symbols: Sequence[str], sample: Environments) -> Array:
    """(centers + edges, 3) eV/Å: on the centers, then on each neighbor, by the network in float64."""
    species = torch.tensor([network.architecture.symbols.index(s) for s in symbols])
    vector = torch.tensor(sample.vector, requires_grad=True)
    kind, other = species[torch.from_numpy(sample.center_species)], species[torch.from_numpy(sample.neighbor_species)]
    with torch.no_grad():
        evaluate = network.prepare(torch.float64)
    energy = evaluate(Edges(vector, torch.from_numpy(sample.center), kind, other))
    (gradient,) = torch.autograd.grad(energy.sum(), vector)
    on_center = np.zeros((len(kind), 3))
    np.add.at(on_center, sample.center, gradient.numpy())
    return np.concatenate([on_center, -gradient.numpy()])


def folded_forces(model: FusedEvaluator, sample: Environments) -> Array:
    """The same by the kernels."""
    n, edges = len(sample.center_species), len(sample.center)
    position = np.concatenate([np.zeros((n, 3)), sample.vector])
    species = np.concatenate([sample.center_species, sample.neighbor_species]).astype(np.int16)
    offsets = np.concatenate([[0], np.cumsum(np.bincount(sample.center, minlength=n))]).astype(np.int64)
    force = np.zeros((n + edges, 3), dtype=np.int64)
    neighbors = np.arange(n, n + edges, dtype=np.int32)
    atoms = Atoms(position, np.zeros((n + edges, 3), np.int32), species, np.eye(3))
    out = Out(force, np.zeros(n), np.zeros((0, 6)), np.zeros((0, 9), np.int64))
    status = model(atoms, Lists(offsets, neighbors), (0, n), out)
    return force / FORCE_SCALE if status < 0 else np.full((n + edges, 3), np.inf)


def excess(got: Array, wanted: Array) -> float:
    """Largest error of a force component, in units of the allowed error.

    Args:
        got: (n, 3) float64, eV/Å.
        wanted: (n, 3) float64, eV/Å.
    """
    return float((np.abs(got - wanted) / np.maximum(TOLERANCE, TOLERANCE * np.abs(wanted))).max())


def refined(network: Network, fold: Fold, symbols: Sequence[str]) -> tuple[Array, float]:
    """The coarsest table whose forces are close enough on random environments, and how far off they are.

    Returns:
        The table; the largest error of a force component, in units of max(1e-5 eV/Å, 1e-5 |F|).

    Raises:
        UnfoldableError: no table is fine enough.
    """
    sample = environments(fold, max(network.architecture.neighbors_per_species))
    wanted = network_forces(network, symbols, sample)
    intervals, error = COARSEST, np.inf
    while intervals <= FINEST:
        table = tabulate(fold, intervals)
        error = excess(folded_forces(FusedEvaluator(fold, table, np.float64), sample), wanted)
        if error <= MARGIN:
            return table, error
        intervals *= 2
    raise UnfoldableError(
        f"tables of {FINEST} intervals give forces {error:.2g} times further off than allowed", "model",
        'use engine = "reference"',
    )
