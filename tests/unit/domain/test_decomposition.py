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
@pytest.mark.parametrize("planes", ["even", "staggered"])
def test_every_position_has_one_owner(grid: Grid, periodic: tuple[bool, bool, bool], planes: str) -> None:
    """Whatever side of a plane rounding puts a position on, the brick of its owner holds it."""
    domain = even(grid, periodic) if planes == "even" else staggered(grid, periodic, np.random.default_rng(2))
    cell = Cell(np.eye(3), periodic)
    rng = np.random.default_rng(1)
    choices = [special(domain.planes[axis].ravel()) for axis in range(3)]
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


def staggered(grid: Grid, periodic: tuple[bool, bool, bool], rng: np.random.Generator) -> Decomposition:
    """Planes anywhere, some of them in one place."""
    planes = []
    for axis in range(3):
        inner = np.sort(rng.choice(16, (*grid[:axis], grid[axis] - 1)) / 16.0 + rng.choice(2) * 1e-3, axis=-1)
        outer = np.ones((*grid[:axis], 1))
        first, last = (0.0 * outer, outer) if periodic[axis] else (-np.inf * outer, np.inf * outer)
        planes.append(np.concatenate([first, inner, last], axis=-1))
    return Decomposition(grid, (planes[0], planes[1], planes[2]), periodic)


@pytest.mark.parametrize("seed", range(30))
def test_images_near_a_brick(seed: int) -> None:
    """Those that the search finds are all that trying every brick and translation finds, from either side."""
    rng = np.random.default_rng(seed)
    grid = (int(rng.integers(1, 4)), int(rng.integers(1, 4)), int(rng.integers(1, 4)))
    periodic = (bool(rng.integers(2)), bool(rng.integers(2)), bool(rng.integers(2)))
    width, domain = rng.uniform(0.01, 1.3, 3), staggered(grid, periodic, rng)
    translations = list(itertools.product(*(range(-3, 4) if flag else (0,) for flag in periodic)))
    found = [set(map(tuple, domain.images(rank, width).tolist())) for rank in range(domain.n_ranks)]
    for rank in range(domain.n_ranks):
        lower, upper = domain.brick(rank)
        expected = set()
        for other, shift in itertools.product(range(domain.n_ranks), translations):
            low, high = (bound + shift for bound in domain.brick(other))
            if (low - upper < width).all() and (lower - high < width).all():
                expected.add((other, *shift))
        assert found[rank] == expected - {(rank, 0, 0, 0)}
        for other, a, b, c in found[rank]:
            assert (rank, -a, -b, -c) in found[other]


@pytest.mark.parametrize("periodic", [True, False])
@pytest.mark.parametrize("n", [1, 2, 3, 8])
@pytest.mark.parametrize("width", [0.01, 0.124, 0.126, 0.49, 0.51, 1.01, 3.7])
def test_images_along_one_axis(periodic: bool, n: int, width: float) -> None:
    """As many bricks on either side as it takes to fill the width; a free end stops the walk."""
    images = even((n, 1, 1), (periodic, False, False)).images(0, np.array([width, 1.0, 1.0]))
    below = int(np.ceil(width * n)) if periodic else 0
    above = int(np.ceil(width * n)) if periodic else min(n - 1, int(np.ceil(width * n)))
    at = [image[0] + n * image[1] for image in images.tolist()]
    assert sorted(at) == [k for k in range(-below, above + 1) if k]


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


def test_a_droplet_in_vacuum_is_quartered() -> None:
    """Not cut into slices, whose inner ones have neighbors on two sides, periodic or not."""
    for periodic in ((True, True, True), (False, False, False)):
        cell = Cell(np.diag([50.0, 50.0, 50.0]), periodic)
        assert choose_grid(4, cell, np.zeros(3), np.full(3, 0.3)) == (1, 2, 2)


def test_free_atoms_that_coincide_along_an_axis() -> None:
    cell = Cell(np.eye(3), (False, False, False), absent=(True,) * 3)
    at = np.array([0.3, 0.3, 0.3])
    grid = choose_grid(4, cell, at, at)
    domain = Decomposition.even(grid, cell.periodic, lambda axis, n: np.full(n - 1, at[axis]))
    owner, _ = owners(domain, np.tile(at, (5, 1)), cell)
    assert len(set(owner.tolist())) == 1


@pytest.mark.parametrize("planes", [[0.0, 1.0], [0.0, 0.7, 0.4, 1.0], [0.1, 0.4, 0.5, 1.0], [0.0, np.nan, 0.5, 1.0]])
def test_planes_that_do_not_cut_the_box(planes: list[float]) -> None:
    whole = np.array([0.0, 1.0])
    with pytest.raises(ValueError, match="axis 0 .* 3 bricks"):
        Decomposition((3, 1, 1), (np.array(planes), np.tile(whole, (3, 1)), np.tile(whole, (3, 1, 1))), ALL)
