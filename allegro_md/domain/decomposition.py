"""Domain decomposition: one brick of the box per rank, in fractional coordinates. The box is cut here only."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from allegro_md.cell import Cell

Grid = tuple[int, int, int]
"""Ranks along each axis."""

FreeCuts = Callable[[int, int], NDArray[np.float64]]
"""(axis, n) → the n − 1 inner planes, ascending, between n bricks along a free axis."""


def equal_widths(axis: int, n: int) -> NDArray[np.float64]:
    """Returns the (n − 1,) inner planes between n bricks of equal width from 0 to 1."""
    return np.arange(1, n) / n


@dataclass(frozen=True, eq=False)
class Decomposition:
    """The box cut into one brick per rank, by planes along each axis.

    Bricks are half-open intervals [plane, next plane) of the fractional coordinate, so every position has exactly one
    owner. Where the planes are cannot be seen in a result, only in how long it takes.

    Attributes:
        grid: ranks along each axis; they are numbered with the last axis fastest.
        planes: per axis (grid + 1,) float64, fractional, ascending: 0 to 1, or −∞ to +∞ along a free axis.
        periodic: per axis.
    """

    grid: Grid
    planes: tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]
    periodic: tuple[bool, bool, bool]

    def __post_init__(self) -> None:
        for axis, (n, planes, periodic) in enumerate(zip(self.grid, self.planes, self.periodic, strict=True)):
            ends = (0.0, 1.0) if periodic else (-np.inf, np.inf)
            ascending = len(planes) == n + 1 and bool((planes[1:] >= planes[:-1]).all())
            if not ascending or (planes[0], planes[-1]) != ends:
                raise ValueError(f"planes along axis {axis} do not cut it into {n} bricks: {planes.tolist()}")

    @staticmethod
    def even(grid: Grid, periodic: tuple[bool, bool, bool], free_cuts: FreeCuts = equal_widths) -> Decomposition:
        """Cuts periodic axes into equal widths, and free ones where `free_cuts` says."""
        planes = []
        for axis, n in enumerate(grid):
            inner = equal_widths(axis, n) if periodic[axis] or n == 1 else free_cuts(axis, n)
            first, last = (0.0, 1.0) if periodic[axis] else (-np.inf, np.inf)
            planes.append(np.concatenate([[first], inner, [last]]))
        return Decomposition(grid, (planes[0], planes[1], planes[2]), periodic)

    def rebalanced(self, loads: NDArray[np.float64]) -> Decomposition:
        """Moves the inner planes of the periodic axes so that the slabs between them have equal loads.

        The load of a brick is taken to be spread evenly over it. Outer bricks along a free axis have no width to
        spread it over: planes there stay.

        Args:
            loads: (n_ranks,) float64, per brick; not negative.
        """
        by_brick = np.asarray(loads, dtype=np.float64).reshape(self.grid)
        planes = list(self.planes)
        for axis, n in enumerate(self.grid):
            others = tuple(other for other in range(3) if other != axis)
            below = np.concatenate([[0.0], np.cumsum(by_brick.sum(axis=others))])
            if self.periodic[axis] and below[-1] > 0.0:
                inner = np.interp(below[-1] * np.arange(1, n) / n, below, planes[axis])
                planes[axis] = np.concatenate([[0.0], inner, [1.0]])
        return Decomposition(self.grid, (planes[0], planes[1], planes[2]), self.periodic)

    @property
    def n_ranks(self) -> int:
        """Number of bricks."""
        return self.grid[0] * self.grid[1] * self.grid[2]

    def coordinates(self, rank: int) -> tuple[int, int, int]:
        """Returns a rank's place in the grid."""
        x, y, z = np.unravel_index(rank, self.grid)
        return int(x), int(y), int(z)

    def brick(self, rank: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Returns the lower and upper bounds of a rank's brick, (3,) fractional each."""
        places = self.coordinates(rank)
        lower = np.array([planes[c] for planes, c in zip(self.planes, places, strict=True)])
        return lower, np.array([planes[c + 1] for planes, c in zip(self.planes, places, strict=True)])

    def neighbor(self, rank: int, axis: int, direction: int) -> tuple[int, int]:
        """Finds the rank next to another along an axis (direction ±1), and the lattice shift of atoms sent there.

        Returns:
            (rank, shift along `axis`); rank −1 where the box ends.
        """
        place = list(self.coordinates(rank))
        place[axis] += direction
        shift = 0
        if not 0 <= place[axis] < self.grid[axis]:
            if not self.periodic[axis]:
                return -1, 0
            place[axis] %= self.grid[axis]
            shift = -direction
        return int(np.ravel_multi_index(tuple(place), self.grid)), shift

    def hops(self, axis: int, width: float) -> int:
        """Counts the bricks, away from any brick, in which atoms may lie within `width` (fractional) of it."""
        planes, n, periodic = self.planes[axis], self.grid[axis], self.periodic[axis]
        thickness = np.diff(planes)
        most = 0
        for start in range(n):
            for direction in (1, -1):
                reach, hop, brick = 0.0, 0, start
                while reach < width:
                    brick += direction
                    if not periodic and not 0 <= brick < n:
                        break
                    reach += thickness[brick % n]
                    hop += 1
                most = max(most, hop)
        return most


def choose_grid(n_ranks: int, cell: Cell, lower: NDArray[np.float64], upper: NDArray[np.float64]) -> Grid:
    """The rank grid with the least halo surface (ties: fewer cuts along the first axes).

    Args:
        n_ranks: number of bricks.
        cell: the cell.
        lower: (3,) fractional bounds of the atoms, used on free axes (periodic ones span 0 to 1).
        upper: (3,) likewise.
    """
    extent = np.where(cell.periodic, 1.0, np.maximum(upper - lower, 1e-9)) * cell.heights
    best: tuple[float, Grid] | None = None
    for nx in range(1, n_ranks + 1):
        if n_ranks % nx:
            continue
        for ny in range(1, n_ranks // nx + 1):
            if (n_ranks // nx) % ny:
                continue
            grid = (nx, ny, n_ranks // (nx * ny))
            brick = extent / np.array(grid)
            # An axis cut nowhere and free has no halo; a periodic one has its own images as halo either way.
            faces = [
                (brick[1] * brick[2], 0),
                (brick[0] * brick[2], 1),
                (brick[0] * brick[1], 2),
            ]
            surface = sum(area for area, axis in faces if grid[axis] > 1 or cell.periodic[axis])
            candidate = (round(float(surface), 9), grid)
            if best is None or candidate < best:
                best = candidate
    assert best is not None
    return best[1]
