"""Neighbor lists by kernels of GPUs: those of CPUs, entry for entry."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from host_build import TURNS, on_gpu, on_host
from numpy.typing import NDArray

from allegro_md.backends import backend_for
from allegro_md.backends.cpu import grid as cpu_grid
from allegro_md.backends.cuda import grid, lists
from allegro_md.cell import Cell
from allegro_md.state import AtomState, SpeciesTable

CPU = backend_for("cpu")
ARGON = SpeciesTable(("Ar",), np.array([18]), np.array([40.0]))
CUBE, NONE = Cell(np.eye(3) * 5.0), Cell.from_rows(np.zeros((3, 3)), (False, False, False))
TILTED = Cell(
    np.array([[5.0, 0.0, 0.0], [9.0, 5.0, 0.0], [-13.0, 8.0, 5.0]]), (True, True, False), np.array([1.0, -2.0, 0.5])
)
Array = NDArray[Any]


@pytest.fixture
def poisoned() -> Iterator[None]:
    """Memory that is reserved begins as NaN, or as the largest integer."""
    torch.use_deterministic_algorithms(True)
    assert torch.isnan(torch.empty(3)).all()
    yield
    torch.use_deterministic_algorithms(False)


def held(cell: Cell, x: Array, shift: Array | None = None, ids: Array | None = None) -> AtomState:
    """A state whose last third are ghosts."""
    n = len(x)
    state = AtomState.from_arrays(cell, ARGON, x[: n - n // 3])
    state.resize(n - n // 3, n // 3)
    rows = {"position": x, "shift": 0 if shift is None else shift, "id": np.arange(n) if ids is None else ids}
    for name in state.fields:
        state.host_all(name)[...] = rows.get(name, 0)
    return state


def images(cell: Cell, n: int, scale: Any = 1.0, farthest: int = 2, first: int = 0) -> AtomState:
    """Random atoms, several times with other shifts and the same id, far from the box that these bring them to."""
    rng = np.random.default_rng(n)
    ids, shift = first + rng.integers(0, max(1, n // 3), n), rng.integers(-farthest, farthest + 1, (n, 3))
    _, unique = np.unique(np.column_stack([ids, shift]), axis=0, return_index=True)
    unique = rng.permutation(unique)
    x = rng.uniform(-4.0, 9.0, (n, 3)) * scale - (shift @ cell.matrix if farthest > 2 else 0.0)
    return held(cell, x[unique], shift[unique], ids[unique])


def scattered() -> AtomState:
    """Most atoms alone in an astronomical volume."""
    rng = np.random.default_rng(7)
    x = np.concatenate([rng.uniform(0.0, 1e7, (50, 3)), rng.uniform(0.0, 3.0, (50, 3))])
    return held(CUBE, rng.permutation(x))


def strays(n: int) -> AtomState:
    """A droplet, and atoms far from it, two of them near each other."""
    droplet = np.random.default_rng(4).uniform(0.0, (n * 20.0) ** (1 / 3), (n, 3))
    x = np.concatenate([[[1e4, 1e4, 1e4], [-3e7, 0.0, 5.0]], droplet, [[1e4 + 2.0, 1e4, 1e4]]])
    return held(NONE, x)


def crowd() -> AtomState:
    """More atoms in one place than shared memory has room for."""
    rng = np.random.default_rng(5)
    x = np.concatenate([rng.uniform(0.0, 0.4, (1030, 3)), rng.uniform(-8.0, 8.0, (300, 3))])
    numbers = rng.permutation(len(x))
    shift = np.outer(numbers % 2, [0, 0, 1])
    return held(CUBE, rng.permutation(x) - shift @ CUBE.matrix, shift, 10**10 + numbers // 2)


def lattice() -> AtomState:
    """Many pairs just at a distance of three times the spacing, where rounding decides."""
    rng = np.random.default_rng(11)
    cell = Cell(np.eye(3) * 0.7 * 8)
    shift = rng.integers(-3, 4, (512, 3))
    return held(cell, rng.permutation(np.indices((8, 8, 8)).reshape(3, -1).T * 0.7) - shift @ cell.matrix, shift)


SYSTEMS = {
    "lattice": (lattice(), 3 * 0.7),
    "cube": (images(CUBE, 900), 4.0),
    "tilted": (images(TILTED, 700), 3.5),
    "long": (held(CUBE, np.random.default_rng(6).uniform(0.0, [140.0, 9.0, 12.0], (900, 3))), 3.0),
    "line": (images(CUBE, 240, np.array([0.0, 1.0, 0.0]), farthest=0), 0.7),
    "point": (images(CUBE, 70, 0.0, farthest=30), 1.0),
    "unwrapped": (images(TILTED, 300, farthest=10**6, first=10**10), 3.0),
    "sparse": (scattered(), 2.0),
    "strays": (strays(400), 3.0),
    "crowd": (crowd(), 1.5),
    "two": (held(CUBE, np.array([[0.0, 0.0, 0.0], [1.0, 1.0, 1.0]]), ids=np.array([2**62, 2**61])), 2.0),
    "one": (held(CUBE, np.zeros((1, 3))), 2.0),
}


def same(found: tuple[torch.Tensor, torch.Tensor], wanted: tuple[Array, Array]) -> bool:
    """Tells if two lists are equal, and of the right types."""
    assert found[0].dtype == torch.int64 and found[1].dtype == torch.int32
    return all(np.array_equal(tensor.numpy(), array) for tensor, array in zip(found, wanted, strict=True))


@pytest.mark.usefixtures("poisoned")
@pytest.mark.parametrize("name", SYSTEMS)
def test_lists(name: str) -> None:
    state, distance = SYSTEMS[name]
    twin = on_gpu(state)
    longest = 0
    for n_centers in sorted({0, 1, state.n_local // 2, state.n_local, state.n_all}):
        wanted = CPU.lists.find_pairs(state, n_centers, distance)
        longest = max(longest, int(np.diff(wanted[0]).max(initial=0)))
        for turn in TURNS:
            with on_host(*turn):
                assert same(lists.find_pairs(twin, n_centers, distance), wanted)
    assert longest >= {"one": 0, "two": 1, "crowd": 1013}.get(name, 5)


@pytest.mark.usefixtures("poisoned")
@pytest.mark.parametrize("name", ["tilted", "strays", "lattice"])
def test_lists_in_another_order(name: str) -> None:
    state, distance = SYSTEMS[name]
    order = np.random.default_rng(8).permutation(state.n_all)
    wanted = CPU.lists.find_pairs(state, state.n_local, distance, order)
    for turn in TURNS:
        with on_host(*turn):
            found = lists.find_pairs(on_gpu(state), state.n_local, distance, torch.from_numpy(order))
            assert same(found, wanted)


@pytest.mark.usefixtures("poisoned")
@pytest.mark.parametrize("name", SYSTEMS)
def test_cells(name: str) -> None:
    """Their number, and the order of atoms, are those of the CPU: there are never more than a few cells per atom."""
    state, distance = SYSTEMS[name]
    wanted = cpu_grid.cells_around(state.host_local("position"), state.host_local("shift"), state.cell, distance)
    order = CPU.lists.sort_order(state, distance)
    twin = on_gpu(state)
    for turn in TURNS:
        with on_host(*turn):
            found = grid.cells_around(twin.array_local("position"), twin.array_local("shift"), twin.cell, distance)
            assert found.bins.prod() <= max(8192, 2 * state.n_local)
            for field in ("matrix", "columns", "low", "bins"):
                assert np.array_equal(getattr(found, field), getattr(wanted, field)), field
            assert (found.counts is None) == (wanted.counts.shape[1] == 0)
            if found.counts is not None and found.merged is not None:
                assert np.array_equal(found.counts.numpy(), wanted.counts)
                assert np.array_equal(found.merged.numpy(), wanted.merged)
            sorted_ = lists.sort_order(twin, distance)
            assert sorted_ is not None
            assert np.array_equal(sorted_.numpy(), np.arange(state.n_local) if order is None else order)


def test_no_atoms() -> None:
    state = on_gpu(held(CUBE, np.zeros((0, 3))))
    with on_host():
        assert lists.sort_order(state, 3.0) is None
        assert same(lists.find_pairs(state, 0, 3.0), (np.zeros(1, dtype=np.int64), np.zeros(0, dtype=np.int32)))
        places = lists.wrapped(state, np.float64)
        assert places.shape == (0, 3) and lists.farthest(state) == 0.0
        assert lists.largest_displacement(state, places, None) == 0.0


@pytest.mark.usefixtures("poisoned")
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_lost_atom_has_no_neighbors(bad: float) -> None:
    """The guards name it later: meanwhile the lists of all others are right."""
    state, distance = SYSTEMS["long"]
    lost = held(state.cell, state.host_all("position"))
    lost.host_all("position")[7] = 1e5, 0.0, 0.0
    wanted = CPU.lists.find_pairs(lost, lost.n_local, distance)
    lost.host_all("position")[7, 1] = bad
    with on_host():
        assert same(lists.find_pairs(on_gpu(lost), lost.n_local, distance), wanted)


@pytest.mark.usefixtures("poisoned")
@pytest.mark.parametrize("name", ["tilted", "unwrapped", "strays"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_motion(name: str, dtype: Any) -> None:
    """Wrapped positions, the farthest one, and displacements from them, in a fixed and in a deformed cell."""
    state = SYSTEMS[name][0]
    rng = np.random.default_rng(9)
    moved = held(state.cell, state.host_all("position") + rng.normal(scale=0.1, size=(state.n_all, 3)))
    moved.host_all("shift")[...] = state.host_all("shift")
    reference, stretch = CPU.lists.wrapped(state, dtype), np.eye(3) + rng.uniform(-0.1, 0.1, (3, 3))
    for turn in TURNS:
        with on_host(*turn):
            places, twin = lists.wrapped(on_gpu(state), dtype), on_gpu(moved)
            assert places.numpy().dtype == dtype and np.array_equal(places.numpy(), reference)
            assert lists.farthest(twin) == CPU.lists.farthest(moved) > 1.0
            for deformation in (None, stretch):
                wanted = CPU.lists.largest_displacement(moved, reference, deformation)
                assert lists.largest_displacement(twin, places, deformation) == wanted > 0.1
    for bad in (np.nan, np.inf):
        moved.host_local("position")[3, 1] = bad
        with on_host():
            twin = on_gpu(moved)
            assert lists.farthest(twin) == lists.largest_displacement(twin, places, None) == np.inf


def test_entries_beyond_two_billion() -> None:
    """In pages that nobody touches: they take no memory."""
    base, n = 2**31 + 5, 12
    neighbors = torch.empty(base + n * (n - 1), dtype=torch.int32)
    offsets = base + torch.arange(n + 1) * (n - 1)
    ids, shift = torch.from_numpy(np.random.default_rng(10).permutation(n)), torch.zeros((n, 3), dtype=torch.int32)
    places = torch.zeros((n, 4), dtype=torch.float64)
    places[:, 3] = torch.arange(n).view(torch.float64)
    cell, starts = torch.zeros(n, dtype=torch.int32), torch.tensor([0, n], dtype=torch.int32)
    with on_host():
        fill = grid.neighbors_kernel("pairs<1>")
        fill.over(n, n, n, 1.0, np.ones(3), places, cell, starts, offsets, neighbors)
        for short in (True, False):
            if short:
                lists.sort_lists(ids, shift, offsets, neighbors, n - 1)
            else:
                grid.neighbors_kernel("sort_long_lists").over(n, n, 0, ids, shift, offsets, neighbors)
            for i, (first, last) in enumerate(itertools.pairwise(offsets.tolist())):
                wanted = sorted(set(range(n)) - {i}, key=lambda j: int(ids[j]))
                assert neighbors[first:last].tolist() == wanted
            neighbors[offsets[0] :] = neighbors[offsets[0] :].reshape(n, n - 1).flip(1).reshape(-1)
