"""Pairs counted by distance, without a list of them: memory does not depend on how many there are."""

from __future__ import annotations

import math
from typing import NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from allegro_md.backends.cpu.candidates import STRETCH, Binned, Candidates, Held, columns_around, gather, room_for
from allegro_md.backends.cpu.grid import REACH, Grid, bin_at, cells_around, column_start, place_of, sorted_into
from allegro_md.backends.cpu.lanes import WORD, lowest, near
from allegro_md.kernels.geometry import pair_vector
from allegro_md.state import AtomState

_NEAR = 1e-4  # of a bin's width: far more than the coordinates of the candidates are rounded by
_MARGIN = 1.0 + 1e-9  # of the square: no pair is lost to rounding among the candidates


class Counted(NamedTuple):
    """Kinds of pairs, and their counts.

    Attributes:
        edges: (bins + 1,) float64, Å.
        of_center: (n_local,) uint64, kinds of pairs that an atom may be the first of.
        of_neighbor: (n_all,) uint64, kinds that it may be the second of.
        counts: (64, bins) int64, added to.
    """

    edges: NDArray[np.float64]
    of_center: NDArray[np.uint64]
    of_neighbor: NDArray[np.uint64]
    counts: NDArray[np.int64]


def count_pairs(
    state: AtomState, edges: NDArray[np.float64], of_center: NDArray[np.uint64], of_neighbor: NDArray[np.uint64]
) -> NDArray[np.int64]:
    """Counts ordered pairs of a local atom and another one, by kind and distance.

    A distance is the length of `kernels.geometry.pair_vector`: the counts do not depend on the division over ranks.

    Args:
        state: local atoms, in the order of cells if it is to be fast, and ghosts up to the largest distance.
        edges: (bins + 1,) float64, Å, equally spaced from 0; bins hold their lower edge and not their upper one.
        of_center: (n_local,) uint64, bit k: the atom may be the first of a pair of kind k.
        of_neighbor: (n_all,) uint64, bit k: it may be the second.

    Returns:
        (64, bins) int64, number of pairs of each kind.
    """
    counts = np.zeros((64, len(edges) - 1), dtype=np.int64)
    if state.n_local == 0:
        return counts
    position, shift = state.host_all("position"), state.host_all("shift")
    grid = cells_around(position, shift, state.cell, float(edges[-1]))
    own = sorted_into(grid, position, shift, 0, state.n_local)
    binned = Binned(*own, *sorted_into(grid, position, shift, state.n_local, len(position)))
    nothing = np.zeros(0, dtype=np.int64)
    zeros, ones = np.zeros(3, dtype=np.int64), np.ones(3, dtype=np.int64)
    held = Held(position, shift, state.host_all("id"), zeros, ones, nothing)
    _count(held, grid, binned, Counted(edges, of_center, of_neighbor, counts))
    return counts


@numba.njit(cache=True, error_model="numpy")
def _count(held: Held, grid: Grid, binned: Binned, counted: Counted) -> None:
    """Adds the pairs of all centers."""
    position, shift = held.position, held.shift
    matrix, axes, low, bins, occurring, merged = grid
    n_centers = len(counted.of_center)
    ordered = len(binned.members) == 0
    candidates, columns = room_for(WORD), np.empty(9, dtype=np.int64)
    i = 0
    while i < n_centers:
        x, y, z = place_of(position, shift, matrix, i)
        a, b, c = bin_at(x, y, z, axes, low, occurring, merged)
        stretch = min(STRETCH, bins[2] - c) if ordered else 1
        n, inner, outer = columns_around(a, b, c, stretch, bins, binned, columns)
        if inner + outer + WORD > len(candidates.atom):
            candidates = room_for((inner + outer) * 5 // 4 + WORD)
        gather(columns[:n], outer > 0, c - REACH, stretch + 2 * REACH, bins[2], held, matrix, binned, candidates)
        cell = column_start(a, b, bins) + c
        for plane in range(stretch):
            last = min(binned.starts[cell + plane + 1], n_centers) if ordered else i + 1
            start, stop = candidates.planes[plane], candidates.planes[plane + 2 * REACH + 1]
            while i < last:
                if counted.of_center[i] != 0:
                    _count_of(i, start, stop, held, matrix, candidates, counted)
                i += 1


@numba.njit(cache=True, error_model="numpy")
def _count_of(
    i: int, start: int, stop: int, held: Held, matrix: NDArray[np.float64], candidates: Candidates, counted: Counted
) -> None:
    """Adds the pairs of one center.

    Args:
        i: the center.
        start: its first candidate.
        stop: the candidate after the last.
        held: local atoms and ghosts.
        matrix: (3, 3) Å, lattice rows.
        candidates: of the stretch.
        counted: what is counted.
    """
    edges, of_center, of_neighbor, counts = counted
    position, shift = held.position, held.shift
    xs, ys, zs, _, index, _ = candidates
    n_bins, longest = len(edges) - 1, edges[len(edges) - 1]
    limit, per_width = longest * longest * _MARGIN, n_bins / longest
    x, y, z = place_of(position, shift, matrix, np.uint64(i))
    kinds = of_center[i]
    for base in range(start, stop, WORD):
        word = near(xs, ys, zs, base, x, y, z, limit)
        if stop - base < WORD:
            word &= (np.uint64(1) << np.uint64(stop - base)) - np.uint64(1)
        while word != 0:
            place = np.uint64(base + lowest(word))
            j = index[place]
            word &= word - np.uint64(1)
            both = kinds & of_neighbor[np.uint64(j)]
            if j == i or both == 0:
                continue
            across, along, up = xs[place] - x, ys[place] - y, zs[place] - z
            scaled = math.sqrt(across * across + along * along + up * up) * per_width
            k = int(scaled)
            if abs(scaled - np.rint(scaled)) < _NEAR:  # rounding may decide: let it be that of the pair vector
                k = _bin_of(pair_vector(position, shift, matrix, np.uint64(i), np.uint64(j)), edges)
            if k >= n_bins:
                continue
            while both != 0:
                counts[lowest(both), k] += 1
                both &= both - np.uint64(1)


@numba.njit(cache=True)
def _bin_of(vector: tuple[float, float, float], edges: NDArray[np.float64]) -> int:
    """The bin of the length of a pair vector (Å), by comparison with `edges` (bins + 1,); bins: beyond the last."""
    distance = math.sqrt(vector[0] * vector[0] + vector[1] * vector[1] + vector[2] * vector[2])
    n_bins = len(edges) - 1
    k = min(int(distance * (n_bins / edges[n_bins])), n_bins)
    while k > 0 and distance < edges[k]:
        k -= 1
    while k < n_bins and distance >= edges[k + 1]:
        k += 1
    return k
