"""Own atoms in the order of cells: the same lists whatever the order, and the same pairs as another program's."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from ase.neighborlist import primitive_neighbor_list
from numpy.typing import NDArray

from allegro_md.backends.cpu.grid import cells_around, sorted_into
from allegro_md.cell import Cell
from allegro_md.comm import Comm
from allegro_md.domain.halo import HaloExchange
from allegro_md.domain.migrate import migrate
from allegro_md.domain.planes import decompose
from allegro_md.neighbors.list import NeighborList
from allegro_md.state import AtomState, SpeciesTable

CUTOFF, SKIN = 3.0, 0.4
ALL = (True, True, True)
BOXES = {
    "cube": (np.eye(3) * 13.0, ALL),
    "tilted": (np.array([[9.0, 0.0, 0.0], [13.0, 9.0, 0.0], [-17.0, 8.0, 9.0]]), ALL),
    "needle": (np.diag([2.5, 3.1, 70.0]), ALL),
    "plate": (np.diag([40.0, 2.0, 17.0]), (True, True, False)),
    "tiny": (np.diag([1.53, 1.41, 1.67]), ALL),
    "slab": (np.diag([15.0, 15.0, 400.0]), ALL),
    "free": (np.diag([15.0, 15.0, 15.0]), (False, False, False)),
}


ARGON = SpeciesTable(("Ar",), np.array([18]), np.array([40.0]))


def held(box: str, travelled: bool = False) -> AtomState:
    """Random atoms of a box, and what one rank holds of them before ghosts are there."""
    rng = np.random.default_rng(7)
    rows, periodic = BOXES[box]
    n = max(2, int(0.1 * min(abs(np.linalg.det(rows)), 4000.0)))
    fraction = rng.uniform(0, 1, (n, 3)) * ([1, 1, 0.05] if box == "slab" else [1, 1, 1])
    if travelled:
        fraction += rng.integers(-3, 4, (n, 3)) * np.array(periodic)
    ids, v = rng.permutation(n), rng.normal(size=(n, 3))
    return AtomState.from_arrays(Cell(rows, periodic), ARGON, fraction @ rows, velocities=v, ids=ids)


def settle(state: AtomState, neighbors: NeighborList, ordered: bool) -> None:
    comm = Comm.serial()
    domain = decompose(state, comm, None)
    migrate(state, domain, comm)
    if ordered:
        neighbors.sort_atoms(state)
    HaloExchange.build(state, domain, comm, CUTOFF + SKIN)
    neighbors.build(state)


def by_id(state: AtomState, neighbors: NeighborList) -> dict[int, list[tuple[int, ...]]]:
    """For each atom its neighbors (id, S), in the order of the list."""
    ids, shift = state.all("id").numpy(), state.all("shift").numpy()
    out = {}
    for i in range(state.n_local):
        row = neighbors.neighbors[neighbors.offsets[i] : neighbors.offsets[i + 1]]
        out[int(ids[i])] = [(int(ids[j]), *(shift[j] - shift[i]).tolist()) for j in row]
    return out


@pytest.mark.parametrize("box", BOXES)
def test_pairs_are_those_of_ase(box: str) -> None:
    state, neighbors = held(box, travelled=True), NeighborList(CUTOFF, SKIN)
    settle(state, neighbors, True)
    order = np.argsort(state.local("id").numpy())
    x: NDArray[np.float64] = state.local("position").numpy()[order]
    i, j, s = primitive_neighbor_list("ijS", state.cell.periodic, np.array(state.cell.matrix), x, CUTOFF + SKIN)
    expected: dict[int, list[tuple[int, ...]]] = {atom: [] for atom in range(len(x))}
    for a, b, image in zip(i.tolist(), j.tolist(), s.tolist(), strict=True):
        expected[a].append((b, *image))
    assert len(i) > 20
    assert by_id(state, neighbors) == {atom: sorted(row) for atom, row in expected.items()}


@pytest.mark.parametrize("box", BOXES)
def test_order_in_memory_cannot_be_seen(box: str) -> None:
    lists = []
    for seed in (None, 1, 2):
        state, neighbors = held(box), NeighborList(CUTOFF, SKIN)
        if seed is not None:
            state.local("shift").zero_()
            state.permute(torch.from_numpy(np.random.default_rng(seed).permutation(state.n_local)))
        settle(state, neighbors, seed is None)
        lists.append(by_id(state, neighbors))
    assert lists[0] == lists[1] == lists[2]


@pytest.mark.parametrize("box", ["cube", "tilted", "free", "needle"])
def test_ordered_atoms_are_in_order_with_their_ghosts(box: str) -> None:
    """So that no second copy of the order is made; ordering twice moves nothing."""
    state, neighbors = held(box), NeighborList(CUTOFF, SKIN)
    settle(state, neighbors, True)
    where = state.all("position").numpy(), state.all("shift").numpy()
    grid = cells_around(*where, state.cell, CUTOFF + SKIN + 1e-6)
    starts, members = sorted_into(grid, *where, 0, state.n_local)
    assert len(members) == 0 and starts[-1] == state.n_local
    before = state.local("id").clone()
    neighbors.sort_atoms(state)
    assert state.n_ghost == 0 and torch.equal(state.local("id"), before)


def test_long_lists_are_in_order() -> None:
    """Some hundred neighbors of each atom: sorted in another way than few."""
    state, neighbors = held("cube"), NeighborList(9.0, 0.0)
    comm = Comm.serial()
    domain = decompose(state, comm, None)
    migrate(state, domain, comm)
    HaloExchange.build(state, domain, comm, 9.0)
    neighbors.build(state)
    lists = by_id(state, neighbors)
    assert max(map(len, lists.values())) > 300
    assert all(row == sorted(row) for row in lists.values())


@pytest.mark.parametrize("edge", [20.0, 5000.0, 3e6])
def test_approach_is_a_bound_and_not_far_off(edge: float) -> None:
    """Also in huge boxes, and for atoms that have travelled a million of them."""
    rng = np.random.default_rng(3)
    rows, n = np.eye(3) * edge, 200
    shift = rng.integers(-(10**6), 10**6, (n, 3)) if edge < 1e6 else np.zeros((n, 3), dtype=np.int64)
    state = AtomState.from_arrays(Cell(rows), ARGON, rng.uniform(0, edge, (n, 3)) - shift @ rows)
    state.local("shift")[:] = torch.from_numpy(shift)
    neighbors = NeighborList(CUTOFF, SKIN)
    neighbors.build(state)
    for _ in range(10):
        before = state.local("position").clone()
        moves = torch.from_numpy(rng.normal(scale=0.03, size=(n, 3)))
        state.local("position").add_(moves)
        moved = float((state.local("position") - before).norm(dim=1).max())  # as far as doubles can tell
        excess = neighbors.skin_excess(state)
        assert 2.0 * moved <= neighbors.max_approach + 1e-8 and neighbors.max_approach <= 2.0 * moved + 0.02 * SKIN
        assert excess == pytest.approx(neighbors.max_approach - SKIN)
        state.local("position")[:] = before
