"""Evaluation of a network on a structure, with a neighbor list of the tests' own."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from allegro_md.models.allegro.edges import Edges
from allegro_md.models.allegro.network import Network

sys.path.insert(0, str(Path(__file__).resolve().parent))

from image_sums import pairs  # noqa: E402

torch.set_num_threads(1)


@dataclass
class Outcome:
    energies: Any
    forces: Any
    virial: Any
    virial_terms: float
    gradient: Any
    center: Any
    neighbor: Any


def evaluate(network: Network, positions: Any, cell: Any, pbc: Any, symbols: Sequence[str],
             dtype: torch.dtype | None = None) -> Outcome:  # fmt: skip
    """Energies (n,), forces (n, 3), virial (3, 3) −dE/dstrain and the size of its terms, and the edges."""
    evaluator = network.prepare(dtype)
    known = network.architecture.symbols
    species = np.array([known.index(str(s)) for s in symbols], dtype=np.int64)
    cutoffs = evaluator.cutoffs[species[:, None], species[None]]
    center, neighbor, _, vectors = pairs(positions, cell, pbc, cutoffs)
    d = torch.tensor(vectors, requires_grad=True)
    energy = evaluator(Edges(d, torch.tensor(center), torch.tensor(species), torch.tensor(species[neighbor])))
    (grad,) = torch.autograd.grad(energy, d, torch.ones_like(energy))
    gradient = grad.numpy()
    forces = np.zeros((len(species), 3))
    np.add.at(forces, center, gradient)
    np.add.at(forces, neighbor, -gradient)
    terms = vectors[:, :, None] * gradient[:, None, :]
    size = float(np.abs(terms).sum(0).max())
    return Outcome(energy.detach().numpy(), forces, -terms.sum(0), size, gradient, center, neighbor)


@pytest.fixture(scope="session")
def on_structure() -> Any:
    return evaluate


@pytest.fixture(scope="session")
def data() -> Path:
    return Path(__file__).resolve().parents[2] / "data"
