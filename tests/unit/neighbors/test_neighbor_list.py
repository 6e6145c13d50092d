"""Neighbor lists against a search over all pairs, and what staleness must guarantee."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from allegro_md.backends.cpu.cell_list import build_pairs
from allegro_md.cell import Cell
from allegro_md.neighbors.list import NeighborList
from allegro_md.state import AtomState, SpeciesTable

Array = NDArray[np.float64]
Integers = NDArray[Any]


def brute(x: Array, shift: Integers, ids: Integers, h: Array, n_centers: int, distance: float) -> list[list[int]]:
    """Per center the atoms closer than the distance, by (id, shift)."""
    place = x + shift @ h
    out = []
    for i in range(n_centers):
        r = np.sqrt(((place - place[i]) ** 2).sum(axis=1))
        near = [int(j) for j in np.flatnonzero(r < distance) if j != i]
        out.append(sorted(near, key=lambda j: (ids[j], *(shift[j] - shift[i]))))
    return out


def rows(offsets: Integers, neighbors: Integers) -> list[list[int]]:
    return [neighbors[a:b].tolist() for a, b in itertools.pairwise(offsets)]


@settings(max_examples=80, deadline=None)
@given(
    st.integers(1, 120),
    st.integers(0, 2**31),
    st.floats(0.3, 8.0),
    st.sampled_from(["cube", "tilt", "line", "plane", "point"]),
)
def test_against_all_pairs(n: int, seed: int, distance: float, shape: str) -> None:
    rng = np.random.default_rng(seed)
    h = np.eye(3) * 5.0
    if shape == "tilt":
        h = np.array([[5.0, 0, 0], [9.0, 5.0, 0], [-13.0, 8.0, 5.0]])
    x = rng.uniform(-4, 9, (n, 3)) * {"line": [1, 0, 0], "plane": [1, 1, 0], "point": [0, 0, 0]}.get(shape, [1, 1, 1])
    ids = rng.integers(0, max(1, n // 3), n)
    shift = rng.integers(-2, 3, (n, 3)).astype(np.int32)
    _, unique = np.unique(np.column_stack([ids, shift]), axis=0, return_index=True)
    unique = rng.permutation(unique)
    x, ids, shift = x[unique], ids[unique], shift[unique]
    centers = int(rng.integers(0, len(x) + 1))
    offsets, neighbors = build_pairs(x, shift, ids, Cell(h), centers, distance)
    assert offsets.dtype == np.int64 and neighbors.dtype == np.int32
    assert rows(offsets, neighbors) == brute(x, shift, ids, h, centers, distance)


def test_huge_ids() -> None:
    """Where id and shift do not fit one sorting key the order is the same."""
    rng = np.random.default_rng(3)
    x, shift = rng.uniform(0, 5, (60, 3)), rng.integers(-2, 3, (60, 3)).astype(np.int32)
    ids = rng.permutation(60) + 2**61
    h = np.eye(3) * 5.0
    assert rows(*build_pairs(x, shift, ids, Cell(h), 60, 3.0)) == brute(x, shift, ids, h, 60, 3.0)


def test_sparse_and_far() -> None:
    """A few atoms over an astronomical volume: no memory for empty cells."""
    rng = np.random.default_rng(4)
    x = np.concatenate([rng.uniform(0, 1e7, (50, 3)), rng.uniform(0, 3, (50, 3))])
    ids, shift = np.arange(100), np.zeros((100, 3), dtype=np.int32)
    assert rows(*build_pairs(x, shift, ids, Cell(np.eye(3)), 100, 2.0)) == brute(x, shift, ids, np.eye(3), 100, 2.0)


def state_of(x: Array, cell: Cell) -> AtomState:
    """Atoms of a periodic box and all their images up to one box away, as a rank would hold them."""
    state = AtomState(cell, SpeciesTable(("Ar",), np.array([18]), np.array([40.0])), len(x))
    images = [s for s in itertools.product((-1, 0, 1), repeat=3) if any(s)]
    state.resize(len(x), len(x) * len(images))
    state.all("id")[:] = torch.from_numpy(np.tile(np.arange(len(x)), 27))
    state.all("shift")[:] = torch.from_numpy(np.repeat([(0, 0, 0), *images], len(x), axis=0))
    state.all("position")[:] = torch.from_numpy(np.tile(x, (27, 1)))
    return state


def pairs_within(state: AtomState, distance: float) -> set[tuple[int, int]]:
    place = state.all("position").numpy() + state.all("shift").numpy() @ state.cell.matrix
    vector = place[None, :] - place[: state.n_local, None]
    i, j = np.nonzero((vector**2).sum(axis=-1) < distance**2)
    return {(a, b) for a, b in zip(i.tolist(), j.tolist(), strict=True) if a != b}


def listed(neighbors: NeighborList) -> set[tuple[int, int]]:
    return {(i, j) for i, row in enumerate(rows(neighbors.offsets, neighbors.neighbors)) for j in row}


@settings(max_examples=80, deadline=None)
@given(st.integers(0, 2**31), st.floats(0.0, 1.5), st.floats(0.0, 0.12), st.floats(0.0, 0.3), st.booleans())
def test_no_pair_is_lost_while_fresh(seed: int, skin: float, strain: float, jump: float, hot: bool) -> None:
    """Whatever the atoms and the cell do: as long as the list is not stale it holds all pairs within the cutoff."""
    rng = np.random.default_rng(seed)
    h = np.array([[7.0, 0, 0], [1.5, 7.0, 0], [-2.0, 1.0, 7.0]])
    state = state_of(rng.uniform(0, 1, (40, 3)) @ h, Cell(h))
    neighbors = NeighborList(3.0, skin)
    assert neighbors.skin_excess(state) == np.inf
    neighbors.build(state)
    assert neighbors.skin_excess(state) <= 0.0 and listed(neighbors) >= pairs_within(state, 3.0 + skin)
    deformation = np.eye(3) + strain * rng.uniform(-1, 1, (3, 3))
    start, kick = state.local("position").numpy().copy(), rng.normal(size=(40, 3))
    kick *= jump / np.linalg.norm(kick, axis=1).max() if not hot else jump
    for part in np.linspace(0.0, 1.0, 9)[1:]:
        step = np.eye(3) + part * (deformation - np.eye(3))
        state.cell = state.cell.with_matrix(h @ step)
        state.all("position")[:] = torch.from_numpy(np.tile(start @ step + part * kick, (27, 1)))
        if neighbors.skin_excess(state) <= 0.0:
            assert listed(neighbors) >= pairs_within(state, 3.0)


def distances(state: AtomState, neighbors: NeighborList) -> Array:
    """Lengths of the listed pairs, Å."""
    place = state.all("position").numpy() + state.all("shift").numpy() @ state.cell.matrix
    i = np.repeat(np.arange(neighbors.n_centers), np.diff(neighbors.offsets))
    return np.linalg.norm(place[neighbors.neighbors] - place[i], axis=1)


@settings(max_examples=80, deadline=None)
@given(st.integers(0, 2**31), st.floats(0.0, 0.3), st.floats(0.0, 0.5))
def test_changes_of_distances_are_bounded(seed: int, strain: float, jump: float) -> None:
    """Whatever strain and displacements: no pair of the list has changed by more than is said, and that is finite."""
    rng = np.random.default_rng(seed)
    h = np.array([[7.0, 0, 0], [1.5, 7.0, 0], [-2.0, 1.0, 7.0]])
    state = state_of(rng.uniform(0, 1, (40, 3)) @ h, Cell(h))
    neighbors = NeighborList(3.0, 0.5)
    neighbors.build(state)
    before = distances(state, neighbors)
    step = np.eye(3) + strain * rng.uniform(-1, 1, (3, 3))
    state.cell = state.cell.with_matrix(h @ step)
    kick = rng.uniform(-jump, jump, size=(40, 3))
    state.all("position")[:] = torch.from_numpy(np.tile(state.local("position").numpy() @ step + kick, (27, 1)))
    neighbors.skin_excess(state)
    change = distances(state, neighbors) - before
    assert -change.min() <= neighbors.max_approach + 1e-9 and change.max() <= neighbors.max_separation + 1e-9
    most = 2.0 * np.linalg.norm(kick, axis=1).max() + 1e-4 + np.linalg.norm(step - np.eye(3), 2) * 3.51
    assert max(neighbors.max_approach, neighbors.max_separation) <= most  # as narrow as the strain and the moves allow


def test_staleness_is_not_needlessly_early() -> None:
    """At rest it never comes; in a fixed cell exactly when an atom has moved half the skin; compression counts."""
    h = np.eye(3) * 8.0
    state = state_of(np.random.default_rng(1).uniform(0, 8, (20, 3)), Cell(h))
    neighbors = NeighborList(3.0, 0.5)
    neighbors.build(state)
    assert neighbors.skin_excess(state) == pytest.approx(-0.5, abs=1e-5)  # places are kept in single precision
    state.local("position")[7, 1] += 0.2499
    assert -0.01 < neighbors.skin_excess(state) < 0.0
    state.local("position")[7, 1] += 0.0002
    assert 0.0 < neighbors.skin_excess(state) < 0.01
    state.local("position")[7, 1] -= 0.2501
    x = state.all("position").clone()
    for scale, stale in ((1.2, False), (0.9, False), (0.85, True)):  # 3.5/3 = 1/0.857
        state.cell = Cell(h * scale)
        state.all("position")[:] = x * scale
        assert (neighbors.skin_excess(state) > 0.0) == stale


def test_drift_of_the_whole_system_in_a_sheared_cell() -> None:
    """Origin and images do not matter: what moves with the cell has not moved."""
    h = np.eye(3) * 8.0
    x = np.random.default_rng(2).uniform(0, 8, (20, 3)) + np.array([80.0, -160.0, 0.0])
    state = state_of(x, Cell(h))
    neighbors = NeighborList(3.0, 0.5)
    neighbors.build(state)
    shear = np.array([[1.0, 0, 0], [0.05, 1.0, 0], [0.02, -0.03, 1.0]])
    state.cell = Cell(h @ shear)
    state.all("position")[:] = torch.from_numpy(np.tile(x @ shear, (27, 1)))
    assert neighbors.skin_excess(state) < 0.0


def test_not_a_number_is_stale() -> None:
    state = state_of(np.random.default_rng(1).uniform(0, 8, (20, 3)), Cell(np.eye(3) * 8.0))
    neighbors = NeighborList(3.0, 0.5)
    neighbors.build(state)
    state.local("position")[3, 0] = float("nan")
    assert neighbors.skin_excess(state) == np.inf
