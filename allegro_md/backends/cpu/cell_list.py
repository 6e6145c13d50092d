"""All pairs within a distance: O(N), no capacity the user must set, and little memory beside the list itself.

Center by center, in their order in memory. The candidates of a stretch of a column of cells are copied together, so
that each center tests contiguous positions. Lists are sorted by (id, shift): for one center, the order of (id, S).
"""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

from allegro_md.backends.cpu.candidates import STRETCH, Binned, Candidates, Held, columns_around, gather, room_for
from allegro_md.backends.cpu.grid import REACH, Grid, bin_at, cells_around, column_start, place_of, sorted_into
from allegro_md.backends.cpu.lanes import KEYS, WORD, count_smaller, lowest, near
from allegro_md.cell import Cell
from allegro_md.kernels.no_refcount import no_refcount

_BY_COUNTING = 256  # up to so many neighbors a place in the list is found by counting smaller keys
_USUAL = 128  # neighbors of a center: few have more


def build_pairs(
    position: NDArray[np.float64],
    shift: NDArray[np.int32],
    ids: NDArray[np.int64],
    cell: Cell,
    n_centers: int,
    distance: float,
) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """Neighbors of the first `n_centers` atoms within `distance` (Å).

    Args:
        position: (n, 3) Å, unwrapped, local atoms and ghosts.
        shift: (n, 3) lattice translation from the unwrapped position to the atom or image meant.
        ids: (n,) global ids.
        cell: current cell.
        n_centers: number of atoms that get a list; fastest if these are in the order of cells.
        distance: search distance, Å.

    Returns:
        offsets (n_centers + 1,) int64 and neighbors int32, per center in ascending (id, shift) order.
    """
    offsets, neighbors = np.zeros(n_centers + 1, dtype=np.int64), np.empty(0, dtype=np.int32)
    if n_centers == 0:
        return offsets, neighbors
    held = _held(position, shift, ids)
    grid = cells_around(position, shift, cell, distance)
    own = sorted_into(grid, position, shift, 0, n_centers)
    binned = Binned(*own, *sorted_into(grid, position, shift, n_centers, len(position)))
    done, room = 0, min(_USUAL * n_centers, 2**16)
    while done < n_centers:
        # Pages move along with a large array that grows or shrinks: it is neither copied nor in memory twice.
        neighbors.resize(room, refcheck=False)
        done, wanted = _fill(done, n_centers, held, grid, binned, distance * distance, offsets, neighbors)
        end = int(offsets[done])
        expected = end * (n_centers - done) // max(done, 1)  # of those that remain
        room = end + wanted + min(expected + expected // 64, end // 4 + 2**20)
    neighbors.resize(int(offsets[-1]), refcheck=False)
    return offsets, neighbors


def _held(position: NDArray[np.float64], shift: NDArray[np.int32], ids: NDArray[np.int64]) -> Held:
    """Bundles atoms with the keys that sort them by (id, shift); the pairs (id, shift) are unique.

    Args:
        position: (n, 3) Å, unwrapped.
        shift: (n, 3) lattice translations.
        ids: (n,) global ids.
    """
    least, span = _spans(shift)
    ranks = np.zeros(0, dtype=np.int64)
    if float(ids.max() + 1) * float(span[0]) * float(span[1]) * float(span[2]) >= 2.0**31:
        ranks = np.empty(len(ids), dtype=np.int64)
        ranks[np.lexsort((shift[:, 2], shift[:, 1], shift[:, 0], ids))] = np.arange(len(ids))
    return Held(position, shift, ids, least, span, ranks)


@numba.njit(cache=True)
def _spans(shift: NDArray[np.int32]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Least shift along each axis (3,), and the number of values up to the largest (3,), of `shift` (n, 3)."""
    low, high = np.full(3, 2**31), np.full(3, -(2**31))
    for i in range(len(shift)):
        for axis in range(3):
            low[axis] = min(low[axis], shift[i, axis])
            high[axis] = max(high[axis], shift[i, axis])
    return low, high - low + 1


@numba.njit(cache=True, error_model="numpy")
def _fill(
    first: int,
    n_centers: int,
    held: Held,
    grid: Grid,
    binned: Binned,
    limit: float,
    offsets: NDArray[np.int64],
    neighbors: NDArray[np.int32],
) -> tuple[int, int]:
    """Writes the lists of the centers from `first` on, as far as there is room.

    Args:
        first: first center without a list.
        n_centers: number of centers.
        held: local atoms and ghosts.
        grid: the cells.
        binned: the atoms by cell.
        limit: square of the search distance, Å².
        offsets: (n_centers + 1,), written.
        neighbors: (room,) indices of atoms, written.

    Returns:
        The first center without a list, and the room it may need.
    """
    held, grid, binned = no_refcount(held), no_refcount(grid), no_refcount(binned)
    position, shift = held.position, held.shift
    matrix, axes, low, bins, counts, merged = grid
    ordered = len(binned.members) == 0
    candidates, columns, last = room_for(WORD), np.empty(9, dtype=np.int64), np.empty(STRETCH, dtype=np.int64)
    i = first
    while i < n_centers:
        x, y, z = place_of(position, shift, matrix, i)
        a, b, c = bin_at(x, y, z, axes, low, counts, merged)
        cell, stretch = column_start(a, b, bins) + c, min(STRETCH, bins[2] - c)
        if ordered:
            for plane in range(stretch):
                last[plane] = min(binned.starts[cell + plane + 1], n_centers)
        else:
            stretch = _consecutive(i, n_centers, cell, held, grid, last[:stretch])
        n, inner, outer = columns_around(a, b, c, stretch, bins, binned, columns)
        if inner + outer + WORD > len(candidates.atom):
            candidates = room_for((inner + outer) * 5 // 4 + WORD)
        gather(columns[:n], outer > 0, c - REACH, stretch + 2 * REACH, bins[2], held, matrix, binned, candidates)
        i, room = _lists(i, last[:stretch], held, matrix, candidates, limit, offsets, neighbors)
        if room > 0:
            return i, room
    return n_centers, 0


@numba.njit(cache=True, error_model="numpy")
def _consecutive(i: int, n_centers: int, cell: int, held: Held, grid: Grid, last: NDArray[np.int64]) -> int:
    """Finds the centers from i on that are in the order of cells, as far as a column of cells goes.

    Args:
        i: first center.
        n_centers: number of centers.
        cell: of center i.
        held: local atoms and ghosts.
        grid: the cells.
        last: (m,) written: for each of up to m cells the center after its last.

    Returns:
        How many cells these centers are in.
    """
    matrix, axes, low, bins, counts, merged = grid
    plane = 0
    while i < n_centers:
        x, y, z = place_of(held.position, held.shift, matrix, i)
        a, b, c = bin_at(x, y, z, axes, low, counts, merged)
        ahead = column_start(a, b, bins) + c - cell
        if ahead < plane or ahead >= len(last):
            break
        while plane < ahead:
            last[plane] = i
            plane += 1
        i += 1
    last[plane] = i
    return plane + 1


@numba.njit(cache=True, error_model="numpy")
def _lists(
    i: int,
    last: NDArray[np.int64],
    held: Held,
    matrix: NDArray[np.float64],
    candidates: Candidates,
    limit: float,
    offsets: NDArray[np.int64],
    neighbors: NDArray[np.int32],
) -> tuple[int, int]:
    """Writes the lists of the centers of a stretch of cells, from i on, as far as there is room.

    Args:
        i: first center.
        last: (planes,) for each plane of cells the center after its last.
        held: local atoms and ghosts.
        matrix: (3, 3) Å, lattice rows.
        candidates: of the stretch.
        limit: square of the search distance, Å².
        offsets: (n_centers + 1,), written.
        neighbors: (room,) indices of atoms, written.

    Returns:
        The first center without a list, and the room it may need: 0 when the stretch is done.
    """
    position, shift = held.position, held.shift
    xs, ys, zs, keys, index, planes = candidates
    near_keys, near_index = np.empty(len(keys), dtype=np.int32), np.empty(len(keys), dtype=np.int32)
    smaller = np.empty(len(keys), dtype=np.int32)
    end = offsets[i]
    for plane in range(len(last)):
        start, stop = planes[plane], planes[plane + 2 * REACH + 1]
        while i < last[plane]:
            if end + (stop - start) > len(neighbors):
                return i, stop - start
            x, y, z = place_of(position, shift, matrix, np.uint64(i))
            n = 0
            for base in range(start, stop, WORD):
                word = near(xs, ys, zs, base, x, y, z, limit)
                if stop - base < WORD:
                    word &= (np.uint64(1) << np.uint64(stop - base)) - np.uint64(1)
                while word != 0:
                    k = np.uint64(base + lowest(word))
                    near_keys[n], near_index[n] = keys[k], index[k]
                    n += index[k] != i
                    word &= word - np.uint64(1)
            _append(n, near_keys, near_index, smaller, end, neighbors)
            end += n
            i += 1
            offsets[i] = end
    return i, 0


@numba.njit(cache=True)
def _append(
    n: int,
    keys: NDArray[np.int32],
    index: NDArray[np.int32],
    smaller: NDArray[np.int32],
    end: int,
    neighbors: NDArray[np.int32],
) -> None:
    """Writes n indices in the order of their keys to the end of the list.

    Args:
        n: number of indices.
        keys: (≥ n + KEYS,) unique keys.
        index: (≥ n,) indices of atoms.
        smaller: (≥ n + KEYS,) workspace: for each key the number of smaller ones.
        end: length of the list so far.
        neighbors: (room,) the list, written.
    """
    if n > _BY_COUNTING:
        order = np.argsort(keys[:n])
        for k in range(n):
            neighbors[end + k] = index[order[k]]
        return
    for first in range(0, n, KEYS):
        count_smaller(keys, n, first, smaller)
    for k in range(n):
        neighbors[np.uint64(end + smaller[k])] = index[k]
