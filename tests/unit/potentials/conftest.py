"""A system held by one or several ranks without any MPI: ghosts are found by brute force over images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from allegro_md.cell import Cell
from allegro_md.exact import FORCE_SCALE
from allegro_md.neighbors.list import NeighborList
from allegro_md.state import AtomState, SpeciesTable

NUMBERS = {
    "Ar": 18, "Kr": 36, "Cu": 29, "Ni": 28, "C": 6, "U": 92, "Ag": 47, "Li": 3, "P": 15, "O": 8, "H": 1, "N": 7,
}  # fmt: skip
Array = NDArray[np.float64]


@dataclass
class System:
    """Atoms in a cell; `kind` is the index of each atom's symbol in `symbols`."""

    x: Array
    cell: Cell
    symbols: tuple[str, ...]
    kind: NDArray[np.int16]

    @property
    def species(self) -> SpeciesTable:
        numbers = np.array([NUMBERS[s] for s in self.symbols])
        return SpeciesTable(self.symbols, numbers, np.ones(len(numbers)))


@dataclass
class Result:
    """Of all atoms, by id; force in fixed-point units."""

    energy: Array
    fixed: NDArray[np.int64]
    virial: Array | None

    @property
    def force(self) -> Array:
        return self.fixed / FORCE_SCALE


def images(cell: Cell, distance: float) -> NDArray[np.int32]:
    """All lattice shifts that may bring an atom of the box within `distance` of another one (2 boxes of slack)."""
    reach = np.where(cell.periodic, np.ceil(distance / cell.heights) + 1, 0).astype(int)
    axes = [np.arange(-n, n + 1) for n in reach]
    return np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 3).astype(np.int32)


def pairs(system: System, cutoff: float) -> tuple[NDArray[np.int64], NDArray[np.int64], Array]:
    """Every ordered pair (i, j, d) within the cutoff by an O(N²) sum over images."""
    first, second, vectors = [], [], []
    for s in images(system.cell, cutoff + np.ptp(system.x, axis=0).max()):
        d = system.x[None, :] - system.x[:, None] + s @ system.cell.matrix
        r = np.linalg.norm(d, axis=2)
        i, j = np.nonzero((r < cutoff) & (r > 0.0))
        first.append(i)
        second.append(j)
        vectors.append(d[i, j])
    return np.concatenate(first), np.concatenate(second), np.concatenate(vectors)


def hold(system: System, own: NDArray[np.int64], width: float) -> AtomState:
    """The state of a rank that owns some of the atoms and holds all copies within `width` of any of them."""
    state = AtomState(system.cell, system.species, len(system.x))
    everyone = np.arange(len(system.x))
    ids, shifts = [own], [np.zeros((len(own), 3), np.int32)]
    lower, upper = system.x[own].min(axis=0) - width, system.x[own].max(axis=0) + width
    for s in images(system.cell, width + np.ptp(system.x, axis=0).max()):
        place = system.x + s @ system.cell.matrix
        here = ((place >= lower) & (place <= upper)).all(axis=1)
        if not s.any():
            here &= ~np.isin(everyone, own)
        ids.append(everyone[here])
        shifts.append(np.tile(s, (int(here.sum()), 1)))
    order, shift = np.concatenate(ids), np.concatenate(shifts)
    state.resize(len(own), len(order) - len(own))
    state.all("id")[:] = torch.from_numpy(order)
    state.all("species")[:] = torch.from_numpy(system.kind[order])
    state.all("position")[:] = torch.from_numpy(system.x[order])
    state.all("shift")[:] = torch.from_numpy(shift)
    state.all("force").zero_()
    return state


def run(
    potential: Any, system: System, ranks: Sequence[NDArray[np.int64]] = (), skin: float = 0.3, virial: bool = True
) -> Result:
    """Evaluates on each rank and sends the ghost forces home."""
    n = len(system.x)
    energy, fixed, virials = np.zeros(n), np.zeros((n, 3), np.int64), np.zeros((n, 6))
    for own in ranks or [np.arange(n)]:
        state = hold(system, own, potential.info.halo + skin)
        neighbors = NeighborList(potential.info.cutoff, skin)
        neighbors.build(state)
        result = potential(state, neighbors, frozenset({"virial", "virial_per_atom"}) if virial else frozenset())
        np.add.at(fixed, state.all("id").numpy(), state.all("force").numpy())
        energy[own] = result.energy
        if result.virial_per_atom is None:
            virial = False
        else:
            virials[own] = result.virial_per_atom
    return Result(energy, fixed, virials if virial else None)


def differences(energy: Callable[[System], float], system: System, step: float = 1e-5) -> tuple[Array, Array]:
    """Forces (n, 3) and virial −dE/dstrain (6,) of a total energy by central differences."""

    def at(x: Array, matrix: Array) -> float:
        return energy(System(x, system.cell.with_matrix(matrix), system.symbols, system.kind))

    force = np.empty_like(system.x)
    for index in np.ndindex(*system.x.shape):
        moved = np.zeros_like(system.x)
        moved[index] = step
        up, down = at(system.x + moved, system.cell.matrix), at(system.x - moved, system.cell.matrix)
        force[index] = (down - up) / (2 * step)
    virial = np.empty(6)
    for v, (a, b) in enumerate([(0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1)]):
        strain = np.zeros((3, 3))
        strain[a, b] += step / 2
        strain[b, a] += step / 2
        more, less = np.eye(3) + strain, np.eye(3) - strain
        virial[v] = -(at(system.x @ more, system.cell.matrix @ more) - at(system.x @ less, system.cell.matrix @ less))
    return force, virial / (2 * step)


def liquid(symbols: tuple[str, ...], spacing: float, n: int = 3, seed: int = 0) -> System:
    """n³ atoms, well apart, in a triclinic box that may be smaller than a cutoff."""
    rng = np.random.default_rng(seed)
    rows = spacing * n * np.array([[1.0, 0.0, 0.0], [0.3, 0.95, 0.0], [-0.2, 0.25, 0.9]])
    grid = np.stack(np.meshgrid(*[np.arange(n)] * 3, indexing="ij"), -1).reshape(-1, 3) / n
    x = grid @ rows + rng.uniform(-0.12, 0.12, (n**3, 3)) * spacing
    return System(x, Cell(rows), symbols, rng.integers(len(symbols), size=n**3).astype(np.int16))


@dataclass(frozen=True)
class Lab:
    """The helpers of this file, for the tests."""

    System: type[System] = System
    pairs = staticmethod(pairs)
    hold = staticmethod(hold)
    run = staticmethod(run)
    differences = staticmethod(differences)
    liquid = staticmethod(liquid)


@pytest.fixture(scope="session")
def lab() -> Lab:
    return Lab()


@pytest.fixture(scope="session")
def data() -> Any:
    from pathlib import Path

    return Path(__file__).resolve().parents[2] / "data"
