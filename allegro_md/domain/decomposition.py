"""Domain decomposition: one brick of the box per rank, in fractional coordinates. The box is cut here only."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from allegro_md.cell import Cell
from allegro_md.kernels.bricks import find_images

Grid = tuple[int, int, int]
"""Ranks along each axis."""

Planes = tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]
"""Planes across x, (nx + 1,); across y in each slab between two of these, (nx, ny + 1); across z in each column of
these slabs, (nx, ny, nz + 1)."""

FreeCuts = Callable[[int, int], NDArray[np.float64]]
"""(axis, n) → the n − 1 inner planes, ascending, between n bricks along a free axis."""


def equal_widths(axis: int, n: int) -> NDArray[np.float64]:
    """Returns the (n − 1,) inner planes between n bricks of equal width from 0 to 1."""
    return np.arange(1, n) / n


@dataclass(frozen=True, eq=False)
class Decomposition:
    """The box cut into one brick per rank by staggered planes.

    Planes across x cut the box into slabs. Planes across y cut each slab into columns, at places of its own; planes
    across z cut each column into bricks, likewise. Bricks are half-open intervals [plane, next plane) of the fractional
    coordinates, so every position has exactly one owner. Where the planes are cannot be seen in a result, only in how
    long it takes.

    Attributes:
        grid: ranks along each axis; they are numbered with the last axis fastest.
        planes: fractional, ascending: 0 to 1, or −∞ to +∞ along a free axis; see `Planes`.
        periodic: per axis.
    """

    grid: Grid
    planes: Planes
    periodic: tuple[bool, bool, bool]

    def __post_init__(self) -> None:
        for axis, (planes, periodic) in enumerate(zip(self.planes, self.periodic, strict=True)):
            ends = (0.0, 1.0) if periodic else (-np.inf, np.inf)
            complete = planes.shape == (*self.grid[:axis], self.grid[axis] + 1)
            ascending = complete and bool((planes[..., 1:] >= planes[..., :-1]).all())
            if not ascending or (planes[..., 0] != ends[0]).any() or (planes[..., -1] != ends[1]).any():
                raise ValueError(f"planes along axis {axis} do not cut it into {self.grid[axis]} bricks: {planes}")

    @staticmethod
    def even(grid: Grid, periodic: tuple[bool, bool, bool], free_cuts: FreeCuts = equal_widths) -> Decomposition:
        """Cuts periodic axes into equal widths, and free ones where `free_cuts` says, all slabs and columns alike."""
        planes = []
        for axis, n in enumerate(grid):
            inner = equal_widths(axis, n) if periodic[axis] or n == 1 else free_cuts(axis, n)
            first, last = (0.0, 1.0) if periodic[axis] else (-np.inf, np.inf)
            planes.append(np.tile(np.concatenate([[first], inner, [last]]), (*grid[:axis], 1)))
        return Decomposition(grid, (planes[0], planes[1], planes[2]), periodic)

    @property
    def n_ranks(self) -> int:
        """Number of bricks."""
        return self.grid[0] * self.grid[1] * self.grid[2]

    def brick(self, rank: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Returns the lower and upper bounds of a rank's brick, (3,) fractional each."""
        lower, upper = self.bricks(np.array([rank]))[0]
        return lower, upper

    def bricks(self, ranks: NDArray[np.int64]) -> NDArray[np.float64]:
        """Returns the lower and upper bounds of the bricks of `ranks` (m,), (m, 2, 3) fractional."""
        (x, y, z), (i, j, k) = self.planes, np.unravel_index(ranks, self.grid)
        bounds = np.array([x[i], y[i, j], z[i, j, k], x[i + 1], y[i, j + 1], z[i, j, k + 1]])
        return bounds.T.reshape(-1, 2, 3)

    def images(self, rank: int, width: NDArray[np.float64]) -> NDArray[np.int64]:
        """Finds all bricks, and their periodic images, that are less than a width away from a rank's brick.

        The time is that of what is found, whatever the number of ranks. Two ranks always agree: if (r, S) is among the
        images near rank q, then (q, −S) is among those near rank r.

        Args:
            rank: whose brick.
            width: (3,) fractional, along each axis.

        Returns:
            (m, 4) int64: rank, and the lattice translation of the image; ascending. The brick itself is left out.
        """
        return find_images(self.planes, self.periodic, rank, width)


def choose_grid(n_ranks: int, cell: Cell, lower: NDArray[np.float64], upper: NDArray[np.float64]) -> Grid:
    """The rank grid with the least halo surface (ties: fewer cuts along the first axes).

    Args:
        n_ranks: number of bricks.
        cell: the cell.
        lower: (3,) fractional bounds of the atoms, as of `grids`.
        upper: (3,) likewise.
    """
    return grids(n_ranks, cell, lower, upper)[0]


def grids(n_ranks: int, cell: Cell, lower: NDArray[np.float64], upper: NDArray[np.float64]) -> list[Grid]:
    """All rank grids, ascending in the surface of a brick's halo; ties: fewer cuts along the first axes.

    Args:
        n_ranks: number of bricks.
        cell: the cell.
        lower: (3,) fractional bounds of the atoms; 0 on periodic axes.
        upper: (3,) likewise; on periodic axes less than 1 where there is vacuum, see `cell.occupied_span`.
    """
    extent = np.maximum(upper - lower, 1e-9) * cell.heights
    closed = np.array(cell.periodic) & (upper - lower >= 1.0)

    def surface(grid: Grid) -> tuple[float, Grid]:
        brick = extent / np.array(grid)
        # Atoms that end within the box have no halo there; else there is one on both sides, be it of own images.
        sides = [2 if closed[axis] else min(grid[axis] - 1, 2) for axis in range(3)]
        areas = brick[1] * brick[2], brick[0] * brick[2], brick[0] * brick[1]
        return round(float(sum(n * area for n, area in zip(sides, areas, strict=True))), 9), grid

    return sorted(factors(n_ranks), key=surface)


def factors(n: int) -> Iterator[Grid]:
    """All (x, y, z) with x·y·z = n, ascending."""
    divisors = [k for k in range(1, n + 1) if n % k == 0]
    for x in divisors:
        for y in divisors:
            if n // x % y == 0:
                yield x, y, n // (x * y)
