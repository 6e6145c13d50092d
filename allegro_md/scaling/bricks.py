"""Bricks of a forecast, and the messages that their ranks exchange in a step."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from allegro_md.domain.decomposition import Grid, factors

Exchange = Literal["direct", "staged"]
"""Direct: one message to each rank that holds ghosts. Staged: two messages per axis and hop, what came is forwarded."""

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Messages:
    """Messages that are sent at the same time.

    Attributes:
        source, to: (m,) int64 ranks.
        atoms: (m,) float64 ghosts that each message is about.
    """

    source: Ints
    to: Ints
    atoms: NDArray[np.float64]


@dataclass(frozen=True)
class Bricks:
    """Equal bricks, one per rank, with what the fullest of them holds.

    Attributes:
        grid: ranks along each axis; they are numbered with the last axis fastest.
        lengths: edges of a brick, Å.
        halo: width of the halo, Å.
        own: atoms of a rank.
        ghosts: ghosts of a rank, images of its own atoms among them.
        periodic: per axis.
    """

    grid: Grid
    lengths: tuple[float, float, float]
    halo: float
    own: float
    ghosts: float
    periodic: tuple[bool, bool, bool] = (True, True, True)

    @staticmethod
    def cubes(n_atoms: float, n_ranks: int, density: float, halo: float) -> Bricks:
        """Cuts a periodic cube of even density into a grid that is as cubic as the number of ranks allows.

        Args:
            n_atoms: in all.
            n_ranks: number of bricks.
            density: atoms per Å³.
            halo: Å.
        """
        grid = cubic_grid(n_ranks)
        edge = (n_atoms / density) ** (1.0 / 3.0)
        lengths = (edge / grid[0], edge / grid[1], edge / grid[2])
        return Bricks(grid, lengths, halo, n_atoms / n_ranks, density * shell(lengths, halo))

    @property
    def n_ranks(self) -> int:
        """Number of bricks."""
        return math.prod(self.grid)

    def overlaps(self, axis: int) -> list[tuple[int, float]]:
        """Returns (offset, length in Å) of what a halo reaches of the bricks along an axis, its own at offset 0."""
        length = self.lengths[axis]
        found = [(0, length)]
        for hop in range(1, math.ceil(self.halo / length) + 1):
            part = min(length, self.halo - (hop - 1) * length)
            found += [(hop, part), (-hop, part)] if part > 1e-12 else []
        return found

    def stages(self, ranks: Ints, exchange: Exchange) -> list[Messages]:
        """Messages from some `ranks` (n,) when positions go out, stage by stage; what a rank sends itself is left out.

        Forces come back along the same ways.
        """
        return [self._direct(ranks)] if exchange == "direct" else self._staged(ranks)

    def _direct(self, ranks: Ints) -> Messages:
        per_volume = self.ghosts / shell(self.lengths, self.halo)
        x, y, z = (self.overlaps(axis) for axis in range(3))
        offsets = np.array([(a[0], b[0], c[0]) for a in x for b in y for c in z])
        volumes = np.array([a[1] * b[1] * c[1] for a in x for b in y for c in z])
        source = np.repeat(ranks, len(offsets))
        to = self._shifted(source, np.tile(offsets, (len(ranks), 1)))
        atoms = np.tile(per_volume * volumes, len(ranks))
        return _merged(source, to, atoms, self.n_ranks)

    def _staged(self, ranks: Ints) -> list[Messages]:
        per_volume = self.ghosts / shell(self.lengths, self.halo)
        edges, stages = list(self.lengths), []
        for axis in range(3):
            area = math.prod(edge for other, edge in enumerate(edges) if other != axis)
            for hop, part in self.overlaps(axis):
                if hop < 1:
                    continue  # both directions of a hop go together
                step = np.zeros((2 * len(ranks), 3), dtype=np.int64)
                step[:, axis] = np.tile([1, -1], len(ranks))
                source = np.repeat(ranks, 2)
                to = self._shifted(source, step)
                kept = (to >= 0) & (to != source)
                stages.append(Messages(source[kept], to[kept], np.full(int(kept.sum()), per_volume * area * part)))
            edges[axis] += 2.0 * self.halo
        return [stage for stage in stages if len(stage.source)]

    def _shifted(self, ranks: Ints, offsets: Ints) -> Ints:
        """Ranks at offsets (n, 3) from `ranks` (n,); −1 beyond a free boundary."""
        place = np.stack(np.unravel_index(ranks, self.grid), axis=1) + offsets
        grid = np.array(self.grid)
        inside = ((place >= 0) & (place < grid)) | np.array(self.periodic)
        wrapped = np.ravel_multi_index(tuple((place % grid).T), self.grid)
        return np.where(inside.all(axis=1), wrapped, -1)


def shell(lengths: tuple[float, float, float], halo: float) -> float:
    """Volume of the halo around a brick, Å³."""
    return math.prod(edge + 2.0 * halo for edge in lengths) - math.prod(lengths)


@functools.cache
def cubic_grid(n_ranks: int) -> Grid:
    """Finds three factors of a number of ranks with the least sum, in ascending order."""
    return min((grid for grid in factors(n_ranks) if grid[0] <= grid[1] <= grid[2]), key=sum)


def _merged(source: Ints, to: Ints, atoms: NDArray[np.float64], n_ranks: int) -> Messages:
    """Puts all that goes from a rank to another into one message.

    Args:
        source: (m,) ranks.
        to: (m,) ranks; −1: nobody.
        atoms: (m,) of each part.
        n_ranks: number of ranks.
    """
    kept = (to >= 0) & (to != source)
    pair, index = np.unique(source[kept] * n_ranks + to[kept], return_inverse=True)
    merged = np.bincount(index, atoms[kept], len(pair)).astype(np.float64)
    return Messages(pair // n_ranks, pair % n_ranks, merged)
