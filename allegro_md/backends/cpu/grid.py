"""Grid of cells: cells near in space get near numbers, so that atoms sorted by them are near in memory.

Cells are parallelepipeds along the lattice vectors: at least the search distance thick along the first two, half of it
along the third. All atoms within the distance of one lie in its own cell, the adjacent columns, and `REACH` cells up
and down, whatever the tilt. Columns are numbered in strips of `STRIP`, so that a column's neighbors are near in memory.
"""

from __future__ import annotations

from typing import NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from allegro_md.cell import Cell
from allegro_md.kernels.no_refcount import no_refcount

REACH = 1
"""Cells along the last axis that the search distance spans."""

STRIP = 8
"""Columns side by side in a strip: 30 columns of 1,000 Å of a metal, with positions, forces and ids, fit into 2 MB."""

_ROUNDING = 1e-6  # relative: cells are thicker than the distance by more than what indices are rounded by
_FEW = 8192  # cells that cost nothing, however few the atoms


class Grid(NamedTuple):
    """Cells around a set of atoms.

    Attributes:
        matrix: (3, 3) Å, lattice rows.
        columns: (3, 3) 1/Å; ``place @ columns`` counts cells.
        low: (3,) least count of any atom.
        bins: (3,) number of cells.
        counts: (3, m) the counts that occur, ascending, the last repeated, where stretches are cut out; else m = 0.
        merged: (3, m) the index of the cell of each of them.
    """

    matrix: NDArray[np.float64]
    columns: NDArray[np.float64]
    low: NDArray[np.int64]
    bins: NDArray[np.int64]
    counts: NDArray[np.int64]
    merged: NDArray[np.int64]


def cells_around(
    position: NDArray[np.float64], shift: NDArray[np.int32], cell: Cell, distance: float
) -> Grid:
    """Cells for pairs within `distance` (Å) of atoms.

    There are never more than a few cells per atom: where space is mostly empty, empty stretches are cut out and cells
    joined. Otherwise cells begin at the origin: atoms ordered by them are ordered by those around more atoms, too.

    Args:
        position: (n, 3) Å, unwrapped, n > 0.
        shift: (n, 3) lattice translations.
        cell: current cell.
        distance: of the pairs, Å.
    """
    matrix = np.array(cell.matrix)
    columns = count_columns(cell, distance)
    low, high = _bounds(position, shift, matrix, columns)
    low[0] -= low[0] % STRIP
    most = most_cells(len(position))
    if (high - low + 1.0).prod() <= most:
        nothing = np.zeros((3, 0), dtype=np.int64)
        return Grid(matrix, columns, low, high - low + 1, nothing, nothing)
    occurring = [np.unique(_counts(position, shift, matrix, columns, axis)) for axis in range(3)]
    widest = max(len(counts) for counts in occurring)
    counts = np.array([np.pad(counts, (0, widest - len(counts)), "edge") for counts in occurring])
    gaps = np.minimum(np.diff(counts), REACH + 1)  # enough to keep what lies beyond out of reach
    merged = np.concatenate([np.zeros((3, 1), dtype=np.int64), np.cumsum(gaps, axis=1)], axis=1)
    merged >>= halvings(merged[:, -1], most)[:, None]
    return Grid(matrix, columns, np.zeros(3, dtype=np.int64), merged[:, -1] + 1, counts, merged)


def count_columns(cell: Cell, distance: float) -> NDArray[np.float64]:
    """(3, 3) 1/Å, `Grid.columns` for pairs within `distance` (Å)."""
    return cell.inverse * (cell.heights * np.array([1, 1, REACH]) / (distance * (1.0 + _ROUNDING)))


def most_cells(n: int) -> float:
    """The largest number of cells for n atoms: a few for each, and numbered by int32."""
    return min(max(_FEW, 2.0 * n), 2.0**31 - 1.0)


def halvings(last: NDArray[np.int64], most: float) -> NDArray[np.int64]:
    """Counts how often cells must be joined in pairs along each axis, (3,).

    Args:
        last: (3,) index of the last cell along each axis.
        most: so many cells may remain.
    """
    halved = np.zeros(3, dtype=np.int64)
    while ((last >> halved) + 1.0).prod() > most:
        halved[np.argmax(last >> halved)] += 1
    return halved


@numba.njit(cache=True, inline="always")
def place_of(
    position: NDArray[np.float64], shift: NDArray[np.int32], matrix: NDArray[np.float64], i: int
) -> tuple[float, float, float]:
    """Wrapped position of atom i, (3,) float64 Å: x + shift · h.

    Args:
        position: (n, 3) Å, unwrapped.
        shift: (n, 3) lattice translations.
        matrix: (3, 3) Å, lattice rows h.
        i: the atom.
    """
    a, b, c = shift[i, 0], shift[i, 1], shift[i, 2]
    return (
        position[i, 0] + (a * matrix[0, 0] + b * matrix[1, 0] + c * matrix[2, 0]),
        position[i, 1] + (a * matrix[0, 1] + b * matrix[1, 1] + c * matrix[2, 1]),
        position[i, 2] + (a * matrix[0, 2] + b * matrix[1, 2] + c * matrix[2, 2]),
    )


@numba.njit(cache=True, inline="always")
def _count(x: float, y: float, z: float, columns: NDArray[np.float64], axis: int) -> int:
    """Index along an axis of the cell at x, y, z (Å); `columns` (3, 3) 1/Å as in `Grid`."""
    return int(np.floor(x * columns[0, axis] + y * columns[1, axis] + z * columns[2, axis]))


@numba.njit(cache=True)
def _bounds(
    position: NDArray[np.float64], shift: NDArray[np.int32], matrix: NDArray[np.float64], columns: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Least and largest index of a cell with atoms, (3,) each.

    Args:
        position: (n, 3) Å, unwrapped.
        shift: (n, 3) lattice translations.
        matrix: (3, 3) Å, lattice rows.
        columns: (3, 3) 1/Å, see `Grid`.
    """
    low, high = np.full(3, 2**62), np.full(3, -(2**62))
    for i in range(len(position)):
        x, y, z = place_of(position, shift, matrix, i)
        for axis in range(3):
            count = _count(x, y, z, columns, axis)
            low[axis] = min(low[axis], count)
            high[axis] = max(high[axis], count)
    return low, high


@numba.njit(cache=True)
def _counts(
    position: NDArray[np.float64],
    shift: NDArray[np.int32],
    matrix: NDArray[np.float64],
    columns: NDArray[np.float64],
    axis: int,
) -> NDArray[np.int64]:
    """Index along an axis of the cell of every atom, (n,).

    Args:
        position: (n, 3) Å, unwrapped.
        shift: (n, 3) lattice translations.
        matrix: (3, 3) Å, lattice rows.
        columns: (3, 3) 1/Å, see `Grid`.
        axis: 0, 1 or 2.
    """
    found = np.empty(len(position), dtype=np.int64)
    for i in range(len(position)):
        x, y, z = place_of(position, shift, matrix, i)
        found[i] = _count(x, y, z, columns, axis)
    return found


@numba.njit(cache=True, inline="always")
def bin_at(
    x: float,
    y: float,
    z: float,
    columns: NDArray[np.float64],
    low: NDArray[np.int64],
    counts: NDArray[np.int64],
    merged: NDArray[np.int64],
) -> tuple[int, int, int]:
    """Index per axis of the cell at a point.

    Args:
        x: Å; y and z likewise.
        y: Å.
        z: Å.
        columns: (3, 3) 1/Å; this and what follows are fields of a `Grid`.
        low: (3,) least index.
        counts: (3, m) indices that occur.
        merged: (3, m) the cell of each of them.
    """
    a, b, c = (_count(x, y, z, columns, 0) - low[0], _count(x, y, z, columns, 1) - low[1],
               _count(x, y, z, columns, 2) - low[2])
    if counts.shape[1] > 0:
        a = merged[0, np.searchsorted(counts[0], a)]
        b = merged[1, np.searchsorted(counts[1], b)]
        c = merged[2, np.searchsorted(counts[2], c)]
    return a, b, c


@numba.njit(cache=True)
def column_start(a: int, b: int, bins: NDArray[np.int64]) -> int:
    """Number of the first cell of a column (those above it follow) in a grid of `bins` (3,) cells."""
    inside = a & (STRIP - 1)
    side = min(STRIP, bins[0] - (a - inside))
    return int(((a - inside) * bins[1] + b * side + inside) * bins[2])


@numba.njit(cache=True, error_model="numpy")
def sorted_into(
    grid: Grid, position: NDArray[np.float64], shift: NDArray[np.int32], first: int, last: int
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Sorts the atoms from `first` to before `last` by cell (counting sort).

    Args:
        grid: the cells.
        position: (n, 3) Å, unwrapped.
        shift: (n, 3) lattice translations.
        first: first atom.
        last: atom after the last.

    Returns:
        starts (n_cells + 1,), and the atoms of cell b, ``members[starts[b]:starts[b + 1]]``, in their present order;
        members is empty where `first` is 0 and all atoms are in the order of cells already.
    """
    matrix, columns, low, bins, counts, merged = no_refcount(grid)
    starts = np.zeros(bins[0] * bins[1] * bins[2] + 1, dtype=np.int32)
    cells = np.empty(last - first, dtype=np.int32)  # finding a cell anew takes longer than reading it
    ordered, before = first == 0, 0
    for i in range(first, last):
        x, y, z = place_of(position, shift, matrix, i)
        a, b, c = bin_at(x, y, z, columns, low, counts, merged)
        cell = column_start(a, b, bins) + c
        starts[cell + 1] += 1
        cells[i - first] = cell
        ordered &= cell >= before
        before = cell
    for cell in range(len(starts) - 1):
        starts[cell + 1] += starts[cell]
    if ordered:
        return starts, np.empty(0, dtype=np.int32)
    members = np.empty(last - first, dtype=np.int32)
    for i in range(first, last):
        cell = cells[i - first]
        members[starts[cell]] = i
        starts[cell] += 1
    for cell in range(len(starts) - 1, 0, -1):  # each start has moved to the next one
        starts[cell] = starts[cell - 1]
    starts[0] = 0
    return starts, members
