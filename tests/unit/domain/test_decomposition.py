"""Bricks: one owner for every position, neighbors, hops, and the grid of least surface."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from allegro_md.backends import backend_for
from allegro_md.cell import Cell
from allegro_md.domain.decomposition import Decomposition, choose_grid
from allegro_md.state import AtomState, SpeciesTable

Grid = tuple[int, int, int]
GRIDS = [(1, 1, 1), (2, 1, 1), (1, 3, 2), (2, 2, 2), (5, 1, 2), (3, 4, 7)]
ALL = (True, True, True)


def owners(decomposition: Decomposition, x: np.ndarray, cell: Cell) -> tuple[np.ndarray, np.ndarray]:
    state = AtomState.from_arrays(cell, SpeciesTable(("Ar",), np.array([18]), np.array([39.95])), x)
    owner = backend_for(state.device).domain.assign_owners(state, decomposition.planes)
    return owner, state.local("shift").numpy()


def even(grid: Grid, periodic: tuple[bool, bool, bool] = ALL) -> Decomposition:
    return Decomposition.even(grid, periodic)


def special(planes: np.ndarray) -> list[float]:
    """Numbers on the planes, one bit beside them, and their images."""
    out = [-0.0]
    for plane in planes[np.isfinite(planes)]:
        for image in (-2.0, -1.0, 0.0, 1.0):
            p = float(plane) + image
            out += [p, float(np.nextafter(p, -9.0)), float(np.nextafter(p, 9.0))]
    return [*out, 1e-300, -1e-300, 5e-324, -5e-324]


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("periodic", [ALL, (True, False, True), (False, False, False)])
def test_every_position_has_one_owner(grid: Grid, periodic: tuple[bool, bool, bool]) -> None:
    """Whatever side of a plane rounding puts a position on, the brick of its owner holds it."""
    domain = even(grid, periodic)
    cell = Cell(np.eye(3), periodic)
    rng = np.random.default_rng(1)
    choices = [special(domain.planes[axis]) for axis in range(3)]
    x = np.array([[rng.choice(c) for c in choices] for _ in range(2000)] + list(rng.uniform(-3, 4, (500, 3))))
    owner, shift = owners(domain, x, cell)
    assert owner.min() >= 0 and owner.max() < np.prod(grid)
    wrapped = x + shift
    for axis in range(3):
        if periodic[axis]:
            assert wrapped[:, axis].min() >= 0.0 and wrapped[:, axis].max() <= 1.0
        else:
            assert not shift[:, axis].any()
    for rank in range(int(np.prod(grid))):
        lower, upper = domain.brick(rank)
        held = wrapped[owner == rank]
        closed = (held == 1.0) & (upper == 1.0)  # a tiny negative number wraps to 1.0
        assert np.all(held >= lower) and np.all((held < upper) | closed)


@settings(max_examples=100, deadline=None)
@given(st.floats(-1e6, 1e6), st.integers(1, 9), st.floats(0.1, 100.0))
def test_owner_in_a_box_of_any_size(position: float, n: int, box: float) -> None:
    cell = Cell(np.diag([box, 1.0, 1.0]))
    owner, shift = owners(even((n, 1, 1)), np.array([[position, 0.5, 0.5]]), cell)
    assert 0 <= owner[0] < n
    assert position + shift[0, 0] * box == pytest.approx((owner[0] + 0.5) * box / n, abs=(0.5 / n + 1e-9) * box)


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("periodic", [ALL, (False, True, False)])
def test_neighbors_are_mutual(grid: Grid, periodic: tuple[bool, bool, bool]) -> None:
    for rank, axis, direction in itertools.product(range(int(np.prod(grid))), range(3), (1, -1)):
        there, shift = even(grid, periodic).neighbor(rank, axis, direction)
        if there < 0:
            assert not periodic[axis]
            continue
        assert even(grid, periodic).neighbor(there, axis, -direction) == (rank, -shift)


def test_walking_around_the_box_shifts_by_one_period() -> None:
    rank, total = 5, 0
    for _ in range(4):
        rank, shift = even((3, 4, 7)).neighbor(rank, 1, 1)
        total += shift
    assert (rank, total) == (5, -1)


@pytest.mark.parametrize("periodic", [True, False])
@pytest.mark.parametrize("n", [1, 2, 3, 8])
@pytest.mark.parametrize("width", [0.01, 0.124, 0.125, 0.126, 0.49, 0.51, 1.0, 3.7])
def test_hops(periodic: bool, n: int, width: float) -> None:
    """The k-th brick away is needed while the k − 1 bricks between do not fill the width; free ends stop the walk."""
    needed = int(np.ceil(width * n))
    assert even((n, 1, 1), (periodic, True, True)).hops(0, width) == (needed if periodic else min(n - 1, needed))


def surface(grid: Grid, cell: Cell) -> float:
    a, b, c = cell.heights / np.array(grid)
    return float(a * b + b * c + c * a)


@pytest.mark.parametrize("n", [1, 2, 3, 4, 6, 7, 8, 12, 30, 64])
@pytest.mark.parametrize("lengths", [(1.0, 1.0, 1.0), (10.0, 1.0, 1.0), (1.0, 7.0, 2.0)])
def test_least_surface(n: int, lengths: tuple[float, float, float]) -> None:
    cell = Cell(np.diag(lengths))
    grid = choose_grid(n, cell, np.zeros(3), np.ones(3))
    sides = range(1, n + 1)
    every = [g for g in itertools.product(sides, sides, sides) if np.prod(g) == n]
    assert np.prod(grid) == n
    assert surface(grid, cell) == pytest.approx(min(surface(g, cell) for g in every))


def test_slab_is_cut_in_its_plane() -> None:
    cell = Cell(np.diag([20.0, 20.0, 20.0]), (True, True, False))
    assert choose_grid(4, cell, np.array([0, 0, 0.45]), np.array([1, 1, 0.55])) == (2, 2, 1)


def test_free_atoms_that_coincide_along_an_axis() -> None:
    cell = Cell(np.eye(3), (False, False, False), absent=(True,) * 3)
    at = np.array([0.3, 0.3, 0.3])
    grid = choose_grid(4, cell, at, at)
    domain = Decomposition.even(grid, cell.periodic, lambda axis, n: np.full(n - 1, at[axis]))
    owner, _ = owners(domain, np.tile(at, (5, 1)), cell)
    assert len(set(owner.tolist())) == 1


@settings(max_examples=50, deadline=None)
@given(st.sampled_from(GRIDS), st.integers(0, 2**31))
def test_rebalancing_evens_out_known_loads(grid: Grid, seed: int) -> None:
    """Of a density that varies along each axis; bricks stay bricks, and nothing moves once loads are equal."""
    densities = [np.random.default_rng(seed + axis).uniform(0.5, 2.0, n) for axis, n in enumerate(grid)]
    cumulative = [np.concatenate([[0.0], np.cumsum(d / d.sum())]) for d in densities]

    def loads(decomposition: Decomposition) -> np.ndarray:
        fine = [np.arange(n + 1) / n for n in grid]
        along = [
            np.diff(np.interp(decomposition.planes[axis], fine[axis], cumulative[axis])) for axis in range(3)
        ]
        return np.einsum("a,b,c->abc", *along).ravel()

    balanced = even(grid).rebalanced(loads(even(grid)))
    assert loads(balanced) == pytest.approx(1.0 / balanced.n_ranks)
    again = balanced.rebalanced(loads(balanced))
    assert all(np.allclose(a, b) for a, b in zip(balanced.planes, again.planes, strict=True))


def test_planes_along_free_axes_stay() -> None:
    before = even((2, 3, 1), (True, False, True))
    after = before.rebalanced(np.array([5.0, 1.0, 1.0, 1.0, 1.0, 1.0]))
    assert np.array_equal(before.planes[1], after.planes[1])
    assert after.planes[0].tolist() == pytest.approx([0.0, 0.5 * 5 / 7, 1.0])


@pytest.mark.parametrize("planes", [[0.0, 1.0], [0.0, 0.7, 0.4, 1.0], [0.1, 0.4, 0.5, 1.0], [0.0, np.nan, 0.5, 1.0]])
def test_planes_that_do_not_cut_the_box(planes: list[float]) -> None:
    whole = np.array([0.0, 1.0])
    with pytest.raises(ValueError, match="axis 0 .* 3 bricks"):
        Decomposition((3, 1, 1), (np.array(planes), whole, whole), ALL)
