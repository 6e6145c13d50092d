"""The network, its five radial functions, and the loop that makes it agree with the frames."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from ase import Atoms
from ase.neighborlist import neighbor_list
from data import Frame
from numpy.typing import NDArray
from sums import Labels, loss, predicted

from allegro_md.models.allegro.architecture import Mlp, Residual
from allegro_md.models.allegro.mlp import matrices_of
from allegro_md.models.allegro.network import Network
from allegro_md.models.allegro.residual import ResidualWeights
from allegro_md.models.allegro.residual_evaluator import NEW, OLD, ResidualEvaluator
from allegro_md.units import EV_PER_A3_IN_GPA

Array = NDArray[np.float64]

CUTOFF = 4.0  # Å
NEAREST, SPACING = 1.4, 0.0025  # Å, of the table during training
ENERGY, STRESS = 20.0, 0.07
"""Weights of errors of 1 eV per atom and of 1 GPa against one of 1 eV/Å."""


def silver(neighbors: float, force: float, energy: float, seed: int) -> Network:
    """The network of the paper's silver: Musaelian et al., Nat. Commun. 14, 579 (2023), untrained.

    Args:
        neighbors: mean number of neighbors.
        force: eV/Å, RMS of the components; scale of the energies.
        energy: eV, mean per atom; their shift.
        seed: of the weights.
    """
    network = Network(
        Residual(
            symbols=("Ag",), cutoff=CUTOFF, layers=1, l_max=1, channels=1, average_neighbors=neighbors, bessel=8,
            envelope=48.0, two_body=Mlp(widths=(16,)), latents=32, latent=Mlp(widths=()),
            readout=Mlp(widths=(32,), activation=None), parity="o3_restricted",
        ),
        torch.float64,
    ).initialize(seed)
    with torch.no_grad():
        network.scales.fill_(force)
        network.shifts.fill_(energy)
    return network


def radial_functions(network: Network, r: torch.Tensor) -> torch.Tensor:
    """(len(r), 5) the columns of `sums` at distances r (Å); differentiable with respect to the weights."""
    body, a = network.weights, network.architecture
    assert isinstance(body, ResidualWeights)
    plan = ResidualEvaluator(body, torch.float64, r.device)
    cut, latents = plan.two_body(r / a.cutoff, torch.zeros(len(r), dtype=torch.int64))
    own0, own1, e0, e1 = (latents @ matrices_of(body.environments[0])[0]).T
    update, readout = matrices_of(body.latents[0])[0], body.readout.matrices()[0][:, 0]
    of_latents, of_scalars = update[: a.latents] @ readout, update[a.latents :] @ readout
    norm = 1.0 / math.sqrt(a.neighbors_per_species[0])
    factor = network.scales[0] * norm
    cut = cut[:, 0]
    alone = factor * (OLD * latents @ readout + NEW * cut * (latents @ of_latents))
    q0 = factor * NEW * cut * own0 * of_scalars[0]
    q1 = factor * NEW * cut * own1 * of_scalars[1] / math.sqrt(3.0)
    return torch.stack([norm * e0, q0, norm * e1, q1, alone], dim=1)


def labels(frames: Sequence[Frame], shift: float) -> Labels:
    """Puts frames behind one another and finds their pairs; `shift` is taken from each atom's energy."""
    pairs, start = [], 0
    for frame in frames:
        atoms = Atoms(f"Ag{len(frame.position)}", frame.position, cell=frame.cell, pbc=True)
        center, neighbor, vector = neighbor_list("ijD", atoms, CUTOFF)
        pairs.append((vector, center + start, neighbor + start))
        start += len(atoms)
    size = np.array([len(f.position) for f in frames])
    vector, center, neighbor = (np.concatenate(parts) for parts in zip(*pairs, strict=True))
    return Labels(
        vector, center, neighbor, np.repeat(np.arange(len(frames)), size), size,
        np.array([abs(np.linalg.det(f.cell)) for f in frames]), np.array([f.energy for f in frames]) - shift * size,
        np.concatenate([f.force for f in frames]), np.stack([f.stress for f in frames]),
        np.array([1.0 / (1.0 + np.mean(f.force**2)) for f in frames]), ENERGY, STRESS * EV_PER_A3_IN_GPA,
    )


class _Loss(torch.autograd.Function):
    """`sums.loss` of a table."""

    @staticmethod
    def forward(ctx: Any, table: torch.Tensor, wanted: Labels) -> torch.Tensor:
        value, gradient = loss(np.ascontiguousarray(table.detach().numpy()), NEAREST, SPACING, wanted)
        ctx.save_for_backward(torch.from_numpy(gradient))
        return torch.tensor(value, dtype=torch.float64)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor, None]:
        return grads[0] * ctx.saved_tensors[0], None


def _knots() -> torch.Tensor:
    return torch.arange(NEAREST, CUTOFF + SPACING / 2, SPACING, dtype=torch.float64)


def errors(network: Network, wanted: Labels) -> tuple[Array, Array, Array]:
    """Of the energies (F,) eV per atom, forces (n, 3) eV/Å and stresses (F, 3, 3) eV/Å³."""
    table = radial_functions(network, _knots()).detach().numpy()
    energy, force, virial, *_ = predicted(np.ascontiguousarray(table), NEAREST, SPACING, wanted)
    stress = virial / wanted.volume[:, None, None]
    return (energy - wanted.energy) / wanted.size, force - wanted.force, stress - wanted.stress


def train(network: Network, wanted: Labels, adam: int, rounds: int, steps: int = 100) -> Iterator[float]:
    """Adam to a good valley, then L-BFGS along it, all frames at once; yields the loss after every `steps` steps.

    Args:
        network: changed in place.
        wanted: the frames.
        adam: times `steps` of Adam, its learning rate falling from 0.01 along a cosine.
        rounds: times `steps` of L-BFGS.
        steps: between losses.
    """
    parameters = [p for p in network.parameters() if p.requires_grad]
    knots = _knots()
    first = torch.optim.Adam(parameters, lr=1e-2)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(first, adam * steps, eta_min=2e-4)
    then = torch.optim.LBFGS(
        parameters, max_iter=steps, max_eval=2 * steps, history_size=100, tolerance_grad=0.0, tolerance_change=0.0,
        line_search_fn="strong_wolfe",
    )

    def closure() -> torch.Tensor:
        network.zero_grad()
        value: torch.Tensor = _Loss.apply(radial_functions(network, knots), wanted)
        value.backward()
        return value.detach()

    for _ in range(adam):
        for _ in range(steps):
            value = closure()
            first.step()
            schedule.step()
        yield float(value)
    for _ in range(rounds):
        yield float(then.step(closure))
