"""Which rank owns which part of the box: bricks in fractional coordinates. Pure geometry, no atoms."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from allegro_md.cell import Cell


@dataclass(frozen=True)
class Domain:
    """The grid of bricks and this rank's place in it.

    Bricks are half-open intervals [plane, next plane) of the fractional coordinate, so every position has exactly one
    owner. On a free axis the outermost planes are at ±infinity.

    Attributes:
        grid: ranks along each axis.
        rank: this rank; ranks are numbered with the last axis fastest.
        planes: per axis the grid + 1 cut planes, ascending.
        periodic: per axis.
    """

    grid: tuple[int, int, int]
    rank: int
    planes: tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]
    periodic: tuple[bool, bool, bool]

    @staticmethod
    def uniform(
        grid: tuple[int, int, int],
        rank: int,
        periodic: tuple[bool, bool, bool],
        lower: NDArray[np.float64],
        upper: NDArray[np.float64],
    ) -> Domain:
        """Bricks of equal width; free axes are cut between `lower` and `upper` (fractional, (3,))."""
        planes = []
        for axis in range(3):
            n = grid[axis]
            if periodic[axis]:
                planes.append(np.arange(n + 1) / n)
            else:
                cuts = lower[axis] + (upper[axis] - lower[axis]) * np.arange(n + 1) / n
                cuts[0], cuts[-1] = -np.inf, np.inf
                planes.append(cuts)
        return Domain(grid, rank, (planes[0], planes[1], planes[2]), periodic)

    @property
    def coordinates(self) -> tuple[int, int, int]:
        """This rank's place in the grid."""
        x, y, z = np.unravel_index(self.rank, self.grid)
        return int(x), int(y), int(z)

    @property
    def lower(self) -> NDArray[np.float64]:
        """(3,) lower fractional bounds of this rank's brick."""
        return np.array([p[c] for p, c in zip(self.planes, self.coordinates, strict=True)])

    @property
    def upper(self) -> NDArray[np.float64]:
        """(3,) upper fractional bounds of this rank's brick."""
        return np.array([p[c + 1] for p, c in zip(self.planes, self.coordinates, strict=True)])

    def neighbor(self, axis: int, direction: int) -> tuple[int, int]:
        """The adjacent rank along an axis (direction ±1), and the lattice shift an atom gets on its way there.

        Returns:
            (rank, shift along `axis`); rank −1 where the box ends.
        """
        place = list(self.coordinates)
        place[axis] += direction
        shift = 0
        if not 0 <= place[axis] < self.grid[axis]:
            if not self.periodic[axis]:
                return -1, 0
            place[axis] %= self.grid[axis]
            shift = -direction
        return int(np.ravel_multi_index(tuple(place), self.grid)), shift

    def hops(self, axis: int, width: float) -> int:
        """How many bricks away atoms may still lie within `width` (fractional) of a brick, the same on all ranks."""
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


def choose_grid(
    n_ranks: int, cell: Cell, lower: NDArray[np.float64], upper: NDArray[np.float64]
) -> tuple[int, int, int]:
    """The rank grid with the least halo surface (ties: fewer cuts along the first axes).

    Args:
        n_ranks: number of bricks.
        cell: the cell.
        lower: (3,) fractional bounds of the atoms, used on free axes (periodic ones span 0 to 1).
        upper: likewise.
    """
    extent = np.where(cell.periodic, 1.0, np.maximum(upper - lower, 1e-9)) * cell.heights
    best: tuple[float, tuple[int, int, int]] | None = None
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
