"""Lists of ghosts for potentials of several hops, and pairs at any distance, against ASE's search over all images."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.neighborlist import neighbor_list
from numpy.typing import NDArray

from allegro_md.cell import Cell
from allegro_md.comm import Comm
from allegro_md.domain.decomposition import Decomposition
from allegro_md.domain.halo import HaloExchange
from allegro_md.domain.migrate import migrate
from allegro_md.domain.pairs import find_pairs
from allegro_md.domain.planes import decompose
from allegro_md.neighbors.list import NeighborList
from allegro_md.state import AtomState, SpeciesTable

CUTOFF, SKIN = 3.0, 0.4
BOXES = {
    "wide": np.diag([11.0, 12.0, 13.0]),
    "narrower than the halo": np.array([[5.0, 0.0, 0.0], [1.5, 4.0, 0.0], [-1.0, 2.0, 6.0]]),
    "narrower than the cutoff": np.diag([2.5, 8.0, 2.2]),
}
Neighbors = set[tuple[int, int, int, int]]


def held(rows: NDArray[np.float64], periodic: tuple[bool, bool, bool], hops: int) -> tuple[AtomState, Decomposition]:
    """Atoms of one rank, with ghosts as for a potential of so many hops."""
    n = max(4, int(np.linalg.det(rows) / 12.0))
    state = AtomState(Cell(rows, periodic), SpeciesTable(("Ar",), np.array([18]), np.array([40.0])), n)
    x = np.random.default_rng(n).uniform(-1.0, 2.0, (n, 3)) @ rows
    fields = {"position": torch.from_numpy(x), "velocity": torch.zeros(n, 3, dtype=torch.float64)}
    state.set_local({"id": torch.arange(n), "species": torch.zeros(n, dtype=torch.int16), **fields})
    decomposition = decompose(state, Comm.serial(), None)
    migrate(state, decomposition, Comm.serial())
    HaloExchange.build(state, decomposition, Comm.serial(), hops * CUTOFF + SKIN)
    return state, decomposition


def all_images(state: AtomState, distance: float) -> list[Neighbors]:
    """(id, S) of all neighbors of each atom, by id."""
    order = torch.argsort(state.local("id"))
    x = state.local("position")[order].numpy()
    atoms = Atoms(positions=x, cell=state.cell.matrix, pbc=state.cell.periodic)
    found: list[Neighbors] = [set() for _ in x]
    for i, j, s in zip(*neighbor_list("ijS", atoms, distance), strict=True):
        found[i].add((int(j), *(int(v) for v in s)))
    return found


def neighbors_of(state: AtomState, center: int, indices: NDArray[np.int32], distance: float) -> Neighbors:
    """(id, S) of those of the given atoms that are within a distance of a center."""
    shift, x = state.all("shift").numpy(), state.all("position").numpy()
    place = x + shift @ state.cell.matrix
    near = indices[np.linalg.norm(place[indices] - place[center], axis=1) < distance]
    out: Neighbors = set()
    for j in near:
        a, b, c = (int(v) for v in shift[j] - shift[center])
        out.add((int(state.all("id")[j]), a, b, c))
    assert len(out) == len(near)
    return out


def moved(state: AtomState) -> None:
    """Moves every atom by nearly half the skin, ghosts as their owners."""
    step = np.random.default_rng(1).normal(size=(state.n_total, 3))
    step *= 0.499 * SKIN / np.linalg.norm(step, axis=1)[:, None]
    state.all("position").add_(torch.from_numpy(step[state.all("id").numpy()]))


@pytest.mark.parametrize("hops", [1, 2, 3])
@pytest.mark.parametrize("periodic", [(True, True, True), (True, False, True)])
@pytest.mark.parametrize("box", BOXES)
def test_all_centers_have_all_neighbors(box: str, periodic: tuple[bool, bool, bool], hops: int) -> None:
    """Every atom that is reached from a local one through fewer pairs than there are hops, while the list is fresh."""
    state, _ = held(BOXES[box], periodic, hops)
    lists = NeighborList(CUTOFF, SKIN, hops=hops)
    lists.build(state)
    assert lists.n_centers == (state.n_local if hops == 1 else state.n_all)
    assert lists.offsets[-1] == len(lists.neighbors)
    moved(state)
    assert -0.01 < lists.skin_excess(state) <= 0.0
    wanted = all_images(state, CUTOFF)
    layer = set(range(state.n_local))
    for _ in range(hops):
        reached: set[int] = set()
        for center in layer:
            row = lists.neighbors[lists.offsets[center] : lists.offsets[center + 1]]
            assert neighbors_of(state, center, row, CUTOFF) == wanted[int(state.all("id")[center])]
            place = (state.all("position") + state.all("shift").double() @ torch.tensor(state.cell.matrix)).numpy()
            reached |= {int(j) for j in row if np.linalg.norm(place[j] - place[center]) < CUTOFF}
        layer = reached


def test_lists_of_local_atoms_are_those_of_one_hop() -> None:
    state, _ = held(BOXES["wide"], (True, True, True), 2)
    one, two = NeighborList(CUTOFF, SKIN, 2 * CUTOFF), NeighborList(CUTOFF, SKIN, hops=2)
    one.build(state)
    two.build(state)
    assert np.array_equal(one.offsets, two.offsets[: state.n_local + 1])
    assert np.array_equal(one.neighbors, two.neighbors[: one.offsets[-1]]) and two.offsets[-1] > one.offsets[-1]


def test_a_halo_that_is_too_narrow() -> None:
    with pytest.raises(ValueError, match="2 hops of 3.0 Å need ghosts"):
        NeighborList(CUTOFF, SKIN, 5.9, hops=2)


@pytest.mark.parametrize("distance", [1.7, CUTOFF, 4.5, 7.3])
@pytest.mark.parametrize("box", BOXES)
def test_pairs_within_any_distance(box: str, distance: float) -> None:
    """Shorter and longer than the cutoff and the halo of the forces; state and lists stay as they are."""
    state, decomposition = held(BOXES[box], (True, True, True), 1)
    lists = NeighborList(CUTOFF, SKIN)
    lists.build(state)
    moved(state)
    assert lists.skin_excess(state) <= 0.0
    before = state.n_ghost, lists.neighbors.copy()
    found = find_pairs(state, lists, decomposition, Comm.serial(), distance)
    wanted = all_images(state, distance)
    for i in range(state.n_local):
        row = found.neighbors[found.offsets[i] : found.offsets[i + 1]]
        assert neighbors_of(found.state, i, row, distance) == wanted[int(state.all("id")[i])]
        assert len(row) == len(wanted[int(state.all("id")[i])])
    assert state.n_ghost == before[0] and np.array_equal(lists.neighbors, before[1])
    if distance > CUTOFF:
        with pytest.raises(ValueError, match="ghosts are held up to 3.0 Å only"):
            lists.pairs(state, distance)
