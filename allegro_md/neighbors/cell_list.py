"""All pairs within a distance, by binning into cells: O(N), no capacity the user must set.

Cells are parallelepipeds along the lattice vectors, each at least the search distance thick, so the neighbors of an
atom lie in its own and the 26 adjacent cells whatever the tilt. Lists are sorted by the rank of a neighbor in the order
of (id, shift): for one center that is the order of (id, S).
"""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

from allegro_md.cell import Cell


def build_pairs(
    position: NDArray[np.float64],
    shift: NDArray[np.int32],
    ids: NDArray[np.int64],
    cell: Cell,
    n_centers: int,
    distance: float,
) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """Neighbors of the first `n_centers` held atoms within `distance` (Å).

    Args:
        position: (n, 3) Å, masters.
        shift: (n, 3) lattice translation to each copy's place.
        ids: (n,) global ids.
        cell: current cell.
        n_centers: how many of the atoms get a list.
        distance: search distance, Å.

    Returns:
        offsets (n_centers + 1,) int64 and neighbors int32, per center in ascending (id, shift) order.
    """
    if n_centers == 0:
        return np.zeros(1, dtype=np.int64), np.zeros(0, dtype=np.int32)
    place = position + shift @ cell.matrix
    index = _bin_indices(place @ cell.inverse, cell.heights, distance)
    bins = index.max(axis=0) + 1
    linear = (index[:, 0] * bins[1] + index[:, 1]) * bins[2] + index[:, 2]
    starts, members = _counting_sort(linear, int(bins.prod()))
    order = _order_by_id_and_shift(ids, shift)
    rank = np.empty(len(order), dtype=np.int32)
    rank[order] = np.arange(len(order), dtype=np.int32)
    return _fill(place, place[members], rank, rank[members], index, bins, starts, order, n_centers, distance)


def _bin_indices(fraction: NDArray[np.float64], heights: NDArray[np.float64], distance: float) -> NDArray[np.int64]:
    """Bin of each atom per axis, (n, 3): atoms within `distance` are in the same or in adjacent bins.

    No more bins than a few per atom: empty stretches are cut out, then bins are joined in pairs.
    """
    index = np.floor((fraction - fraction.min(axis=0)) * (heights / distance)).astype(np.int64)
    most = max(8.0, 2.0 * len(fraction))
    if (index.max(axis=0) + 1.0).prod() > most:
        for axis in range(3):
            occupied, place = np.unique(index[:, axis], return_inverse=True)
            gaps = np.minimum(np.diff(occupied), 2)  # one empty bin keeps what lies beyond out of reach
            index[:, axis] = np.concatenate([[0], np.cumsum(gaps)])[place]
    while (index.max(axis=0) + 1.0).prod() > most:
        index[:, int(np.argmax(index.max(axis=0)))] //= 2
    return index


def _order_by_id_and_shift(ids: NDArray[np.int64], shift: NDArray[np.int32]) -> NDArray[np.int32]:
    """Permutation that sorts the held atoms by (id, shift); the pairs (id, shift) are unique."""
    low = shift.min(axis=0).astype(np.int64)
    span = shift.max(axis=0).astype(np.int64) - low + 1
    if float(ids.max() + 1) * float(span[0]) * float(span[1]) * float(span[2]) < 2.0**62:
        relative = shift - low
        key = ((ids * span[0] + relative[:, 0]) * span[1] + relative[:, 1]) * span[2] + relative[:, 2]
        return np.argsort(key).astype(np.int32)
    return np.lexsort((shift[:, 2], shift[:, 1], shift[:, 0], ids)).astype(np.int32)


@numba.njit(cache=True)
def _counting_sort(linear: NDArray[np.int64], n_bins: int) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    starts = np.zeros(n_bins + 1, dtype=np.int64)
    for b in linear:
        starts[b + 1] += 1
    for b in range(n_bins):
        starts[b + 1] += starts[b]
    cursor = starts[:-1].copy()
    members = np.empty(len(linear), dtype=np.int32)
    for i in range(len(linear)):
        members[cursor[linear[i]]] = i
        cursor[linear[i]] += 1
    return starts, members


@numba.njit(cache=True)
def _fill(
    place: NDArray[np.float64],
    binned_place: NDArray[np.float64],
    rank: NDArray[np.int32],
    binned_rank: NDArray[np.int32],
    index: NDArray[np.int64],
    bins: NDArray[np.int64],
    starts: NDArray[np.int64],
    order: NDArray[np.int32],
    n_centers: int,
    distance: float,
) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """One pass over the centers. The list grows to what the centers so far let expect of all, and a tenth.

    Candidates are read in the order of the bins, written without a branch and kept by moving the end of the list.
    """
    offsets = np.zeros(n_centers + 1, dtype=np.int64)
    neighbors = np.empty(256, dtype=np.int32)
    limit = distance * distance
    end = 0
    for i in range(n_centers):
        x, y, z, own = place[i, 0], place[i, 1], place[i, 2], rank[i]
        for bx in range(max(0, index[i, 0] - 1), min(bins[0], index[i, 0] + 2)):
            for by in range(max(0, index[i, 1] - 1), min(bins[1], index[i, 1] + 2)):
                row = (bx * bins[1] + by) * bins[2]
                first = starts[row + max(0, index[i, 2] - 1)]
                last = starts[row + min(bins[2], index[i, 2] + 2)]  # bins along the last axis are contiguous
                if end + last - first >= len(neighbors):
                    needed = end + last - first + 1
                    expected = end * (n_centers - i) // max(i, 1)
                    grown = np.empty(needed + needed // 10 + expected, dtype=np.int32)
                    grown[:end] = neighbors[:end]
                    neighbors = grown
                for m in range(first, last):
                    dx = binned_place[m, 0] - x
                    dy = binned_place[m, 1] - y
                    dz = binned_place[m, 2] - z
                    neighbors[end] = binned_rank[m]
                    end += (dx * dx + dy * dy + dz * dz < limit) & (binned_rank[m] != own)
        found = neighbors[offsets[i] : end]
        found.sort()
        for m in range(len(found)):
            found[m] = order[found[m]]
        offsets[i + 1] = end
    return offsets, neighbors[:end]  # no copy: memory beyond the end was never touched
