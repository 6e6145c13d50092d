"""Planes with equal costs between them: exact counts, least thickness, limited moves."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from allegro_md.backends import backend_for
from allegro_md.backends.base import AtomCost, Bins
from allegro_md.cell import Cell, occupied_span
from allegro_md.comm import Comm
from allegro_md.domain.decomposition import Decomposition
from allegro_md.domain.planes import EACH, balanced, costs_of_bricks, decompose, equal_shares
from allegro_md.state import AtomState, SpeciesTable

COMM = Comm.serial()
ANYTHING = np.zeros(3)
TILTED = np.array([[30.0, 0.0, 0.0], [8.0, 25.0, 0.0], [-5.0, 3.0, 40.0]])


def holding(fractions: NDArray[np.float64], periodic: tuple[bool, bool, bool] = (True, True, True)) -> AtomState:
    """A state of atoms at fractional coordinates (n, 3) of a tilted cell."""
    table = SpeciesTable(("Ar",), np.array([18]), np.array([39.948]))
    return AtomState.from_arrays(Cell.from_rows(TILTED, periodic), table, fractions @ TILTED)


def clustered(n: int = 6000) -> NDArray[np.float64]:
    """Most atoms in two clouds, one of them across a corner of the box."""
    rng = np.random.default_rng(1)
    clouds = [rng.normal(0.02, 0.05, (n // 2, 3)), rng.normal((0.7, 0.4, 0.2), 0.03, (n // 3, 3))]
    return np.concatenate([*clouds, rng.uniform(0.0, 1.0, (n // 6, 3))]) % 1.0


def counts(state: AtomState, decomposition: Decomposition) -> NDArray[np.int64]:
    """Atoms of each brick, (n_ranks,)."""
    owner = backend_for(state.device).domain.assign_owners(state, decomposition.planes)
    return np.bincount(np.asarray(owner), minlength=decomposition.n_ranks)


@pytest.mark.parametrize("grid", [(4, 1, 1), (2, 2, 2), (3, 2, 4)])
@pytest.mark.parametrize("periodic", [(True, True, True), (True, False, False)])
def test_equal_numbers_of_atoms(grid: tuple[int, int, int], periodic: tuple[bool, bool, bool]) -> None:
    state = holding(clustered(), periodic)
    even = decompose(state, COMM, grid)
    found, foreseen = balanced(state, COMM, even, EACH, ANYTHING)
    number = counts(state, found)
    assert counts(state, Decomposition.even(grid, periodic)).max() > 1.4 * number.mean()
    assert number.sum() == 6000 and number.max() < 1.05 * number.mean()
    assert foreseen == pytest.approx(number, abs=0.02 * number.mean())
    assert costs_of_bricks(state, COMM, even, EACH) == pytest.approx(counts(state, even), abs=0.05 * number.mean())


def test_equal_numbers_of_neighbors() -> None:
    """Atoms with many neighbors are fewer on a rank."""
    state = holding(np.random.default_rng(2).uniform(0.0, 1.0, (4000, 3)))
    neighbors = np.where(state.local("position").numpy() @ state.cell.inverse[:, 0] < 0.5, 90, 10)
    offsets = np.concatenate([[0], np.cumsum(neighbors)])
    cost = AtomCost(offsets, 5.0, 1000.0)
    found, foreseen = balanced(state, COMM, decompose(state, COMM, (4, 1, 1)), cost, ANYTHING)
    assert foreseen == pytest.approx(1000.0 * (offsets[-1] + 5 * 4000) / 4, rel=0.01)
    # The dense half has 95/110 of the cost, a brick 1/4 of it.
    assert found.planes[0][1] == pytest.approx(0.5 * 0.25 * 110 / 95, abs=0.01)


def test_least_thickness() -> None:
    """Bricks are as thick as they should be where the atoms reach far enough, else as thin as it takes."""
    state = holding(np.concatenate([clustered(), [[0.1, 0.1, 0.99]]]))
    even = decompose(state, COMM, (1, 1, 5))
    thick, _ = balanced(state, COMM, even, EACH, np.full(3, 0.15))
    assert np.diff(thick.planes[2][0, 0]).min() >= 0.15 - 1e-12
    thin, _ = balanced(state, COMM, even, EACH, np.full(3, 0.25))
    assert counts(state, thin).max() < 1.05 * 6001 / 5


def test_planes_move_halfway_at_most() -> None:
    state = holding(np.random.default_rng(3).uniform(0.0, 0.1, (1000, 3)))
    now = Decomposition.even((4, 1, 1), (True, True, True))
    for _ in range(12):
        after, _ = balanced(state, COMM, now, EACH, ANYTHING, limited=True)
        assert (after.planes[0][1:-1] >= 0.5 * (now.planes[0][:-2] + now.planes[0][1:-1])).all()
        now = after
    assert counts(state, now).max() < 1.1 * 250


def test_planes_lie_in_the_middle_of_gaps() -> None:
    """Between two layers of atoms, so that no vibration brings an atom to and fro."""
    costs = np.zeros(100, dtype=np.int64)
    costs[10], costs[60] = 500, 500
    assert equal_shares(costs, Bins(0, 0.0, 0.01, 100), 2) == pytest.approx([0.355], abs=0.006)
    assert equal_shares(np.zeros(4, dtype=np.int64), Bins(0, 0.0, 0.25, 4), 2) == pytest.approx([0.5])


def test_the_grid_suits_a_slab_across_a_face() -> None:
    """Vacuum on one side of the box or in its middle: ranks share the slab, not the vacuum."""
    fractions = np.random.default_rng(4).uniform(0.0, 1.0, (4000, 3))
    for at in (0.3, 0.95):
        slab = holding(np.column_stack([fractions[:, :2], (at + 0.1 * fractions[:, 2]) % 1.0]))
        z = slab.local("position").numpy() @ slab.cell.inverse[:, 2]
        assert occupied_span(np.histogram(z, 400, (0, 1))[0], 35.0) == pytest.approx(0.1, abs=0.01)
    assert occupied_span(np.ones(7, dtype=np.int64), 35.0) == 1.0
    assert occupied_span(np.zeros(7, dtype=np.int64), 35.0) == 1.0
