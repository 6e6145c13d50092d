"""The atoms that may be neighbors of those in a stretch of a column of cells, copied together."""

from __future__ import annotations

from typing import NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from allegro_md.backends.cpu.grid import REACH, column_start, place_of

STRETCH = 16
"""Cells of a column that are worked on together where atoms are in the order of cells: some 100 kB."""

_USUAL = 8  # centers of a cell: few have more


class Held(NamedTuple):
    """Atoms a rank holds, and what sorts them.

    Attributes:
        position: (n, 3) Å.
        shift: (n, 3).
        ids: (n,).
        least: (3,) least shift along each axis.
        span: (3,) how many there are up to the largest.
        ranks: (n,) in the order of (id, shift); empty where the others make up a key of 31 bits.
    """

    position: NDArray[np.float64]
    shift: NDArray[np.int32]
    ids: NDArray[np.int64]
    least: NDArray[np.int64]
    span: NDArray[np.int64]
    ranks: NDArray[np.int64]


class Binned(NamedTuple):
    """Centers and other atoms by cell, see `grid.sorted_into`."""

    starts: NDArray[np.int32]
    members: NDArray[np.int32]
    other_starts: NDArray[np.int32]
    other_members: NDArray[np.int32]


class Candidates(NamedTuple):
    """Wrapped positions (Å), sort keys by (id, shift), and indices of atoms; with room for whole words beyond the last.

    Attributes:
        planes: where each plane of cells begins, from `REACH` below the stretch on.
    """

    x: NDArray[np.float64]
    y: NDArray[np.float64]
    z: NDArray[np.float64]
    key: NDArray[np.int32]
    atom: NDArray[np.int32]
    planes: NDArray[np.int64]


@numba.njit(cache=True)
def room_for(n: int) -> Candidates:
    """Room for n candidates."""
    return Candidates(
        np.zeros(n), np.zeros(n), np.zeros(n), np.zeros(n, dtype=np.int32), np.zeros(n, dtype=np.int32),
        np.zeros(STRETCH + 2 * REACH + 1, dtype=np.int64),
    )


@numba.njit(cache=True)
def columns_around(
    a: int, b: int, c: int, stretch: int, bins: NDArray[np.int64], binned: Binned, columns: NDArray[np.int64]
) -> tuple[int, int, int]:
    """Columns around a stretch that begins at a cell.

    Args:
        a: index of the cell along the first axis.
        b: along the second.
        c: along the third.
        stretch: cells.
        bins: (3,) cells there are.
        binned: the atoms.
        columns: (9,) first cell of each column, written.

    Returns:
        How many columns there are, and how many centers and other atoms are candidates.
    """
    starts, other_starts = binned.starts, binned.other_starts
    n, n_centers, n_others = 0, 0, 0
    bottom, top = max(0, c - REACH), min(bins[2], c + stretch + REACH)
    for near_a in range(max(0, a - 1), min(bins[0], a + 2)):
        for near_b in range(max(0, b - 1), min(bins[1], b + 2)):
            column = column_start(near_a, near_b, bins)
            columns[n] = column
            n += 1
            n_centers += starts[column + top] - starts[column + bottom]
            n_others += other_starts[column + top] - other_starts[column + bottom]
    return n, n_centers, n_others


@numba.njit(cache=True, error_model="numpy")
def gather(
    columns: NDArray[np.int64],
    others: bool,
    bottom: int,
    n_planes: int,
    top: int,
    held: Held,
    matrix: NDArray[np.float64],
    binned: Binned,
    candidates: Candidates,
) -> None:
    """Copies the candidates together, plane after plane of cells.

    Args:
        columns: (n,) first cells of the columns.
        others: false if all candidates are centers.
        bottom: index of the lowest plane; may be negative.
        n_planes: number of planes to copy.
        top: number of planes of the grid.
        held: local atoms and ghosts.
        matrix: (3, 3) Å, lattice rows.
        binned: the atoms by cell.
        candidates: written.
    """
    starts, members, other_starts, other_members = binned
    xs, ys, zs, keys, index, planes = candidates
    n, ordered = 0, len(members) == 0
    for p in range(n_planes):
        planes[p] = n
        if not 0 <= bottom + p < top:
            continue
        for column in columns:
            cell = column + bottom + p
            first, found = starts[cell], starts[cell + 1] - starts[cell]
            if ordered:
                for m in range(_USUAL):  # whole vectors; what is too much is written over
                    index[n + m] = first + m
                for m in range(_USUAL, found):
                    index[n + m] = first + m
            else:
                for m in range(found):
                    index[n + m] = members[first + m]
            n += found
            if others:
                for m in range(other_starts[cell], other_starts[cell + 1]):
                    index[n] = other_members[m]
                    n += 1
    planes[n_planes] = n
    position, shift, ids, least, span, ranks = held
    least0, least1, least2, span0, span1, span2 = least[0], least[1], least[2], span[0], span[1], span[2]
    for m in range(n):
        j = np.uint64(index[m])  # unsigned: no test for a negative index
        xs[m], ys[m], zs[m] = place_of(position, shift, matrix, j)
        if len(ranks) > 0:
            keys[m] = ranks[j]
        else:
            s0, s1, s2 = shift[j, 0] - least0, shift[j, 1] - least1, shift[j, 2] - least2
            keys[m] = ((ids[j] * span0 + s0) * span1 + s1) * span2 + s2
