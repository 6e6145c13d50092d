"""Bricks: one owner for every position, neighbors, hops, and the grid of least surface."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from allegro_md.cell import Cell
from allegro_md.domain.grid import Domain, choose_grid
from allegro_md.domain.migrate import _assign_owners

Grid = tuple[int, int, int]
GRIDS = [(1, 1, 1), (2, 1, 1), (1, 3, 2), (2, 2, 2), (5, 1, 2), (3, 4, 7)]
ALL = (True, True, True)


def owners(domain: Domain, x: np.ndarray, cell: Cell) -> tuple[np.ndarray, np.ndarray]:
    owner, shift = np.empty(len(x), dtype=np.int32), np.empty((len(x), 3), dtype=np.int32)
    _assign_owners(x, cell.origin, cell.inverse, np.array(cell.periodic), *domain.planes, owner, shift)
    return owner, shift


def uniform(grid: Grid, rank: int = 0, periodic: tuple[bool, bool, bool] = ALL) -> Domain:
    return Domain.uniform(grid, rank, periodic, np.zeros(3), np.ones(3))


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
    domain = uniform(grid, 0, periodic)
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
        mine = uniform(grid, rank, periodic)
        held = wrapped[owner == rank]
        closed = (held == 1.0) & (mine.upper == 1.0)  # a tiny negative number wraps to 1.0
        assert np.all(held >= mine.lower) and np.all((held < mine.upper) | closed)


@settings(max_examples=100, deadline=None)
@given(st.floats(-1e6, 1e6), st.integers(1, 9), st.floats(0.1, 100.0))
def test_owner_in_a_box_of_any_size(position: float, n: int, box: float) -> None:
    cell = Cell(np.diag([box, 1.0, 1.0]))
    owner, shift = owners(uniform((n, 1, 1)), np.array([[position, 0.5, 0.5]]), cell)
    assert 0 <= owner[0] < n
    assert position + shift[0, 0] * box == pytest.approx((owner[0] + 0.5) * box / n, abs=(0.5 / n + 1e-9) * box)


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("periodic", [ALL, (False, True, False)])
def test_neighbors_are_mutual(grid: Grid, periodic: tuple[bool, bool, bool]) -> None:
    for rank, axis, direction in itertools.product(range(int(np.prod(grid))), range(3), (1, -1)):
        there, shift = uniform(grid, rank, periodic).neighbor(axis, direction)
        if there < 0:
            assert not periodic[axis]
            continue
        assert uniform(grid, there, periodic).neighbor(axis, -direction) == (rank, -shift)


def test_walking_around_the_box_shifts_by_one_period() -> None:
    rank, total = 5, 0
    for _ in range(4):
        rank, shift = uniform((3, 4, 7), rank).neighbor(1, 1)
        total += shift
    assert (rank, total) == (5, -1)


@pytest.mark.parametrize("periodic", [True, False])
@pytest.mark.parametrize("n", [1, 2, 3, 8])
@pytest.mark.parametrize("width", [0.01, 0.124, 0.125, 0.126, 0.49, 0.51, 1.0, 3.7])
def test_hops(periodic: bool, n: int, width: float) -> None:
    """The k-th brick away is needed while the k − 1 bricks between do not fill the width; free ends stop the walk."""
    needed = int(np.ceil(width * n))
    assert uniform((n, 1, 1), 0, (periodic, True, True)).hops(0, width) == (needed if periodic else min(n - 1, needed))


def surface(grid: Grid, cell: Cell) -> float:
    a, b, c = cell.heights / np.array(grid)
    return float(a * b + b * c + c * a)


@pytest.mark.parametrize("n", [1, 2, 3, 4, 6, 7, 8, 12, 30, 64])
@pytest.mark.parametrize("lengths", [(1.0, 1.0, 1.0), (10.0, 1.0, 1.0), (1.0, 7.0, 2.0)])
def test_least_surface(n: int, lengths: tuple[float, float, float]) -> None:
    cell = Cell(np.diag(lengths))
    grid = choose_grid(n, cell, np.zeros(3), np.ones(3))
    every = [g for g in itertools.product(range(1, n + 1), repeat=3) if np.prod(g) == n]
    assert np.prod(grid) == n
    assert surface(grid, cell) == pytest.approx(min(surface(g, cell) for g in every))


def test_slab_is_cut_in_its_plane() -> None:
    cell = Cell(np.diag([20.0, 20.0, 20.0]), (True, True, False))
    assert choose_grid(4, cell, np.array([0, 0, 0.45]), np.array([1, 1, 0.55])) == (2, 2, 1)


def test_free_atoms_that_coincide_along_an_axis() -> None:
    cell = Cell(np.eye(3), (False, False, False), absent=(True,) * 3)
    at = np.array([0.3, 0.3, 0.3])
    grid = choose_grid(4, cell, at, at)
    domain = Domain.uniform(grid, 0, cell.periodic, at, at)
    owner, _ = owners(domain, np.tile(at, (5, 1)), cell)
    assert len(set(owner.tolist())) == 1
