"""Work of every pair kernel around its formula: gathering a center's neighbors, summing up its edges.

Gathering writes the pairs within the cutoff one after the other into a small work table, so that the formula runs
over a dense row (which the compiler vectorizes; every operation in it is elementwise and correctly rounded, so the
lane a pair lands in cannot be seen) and pairs beyond the cutoff contribute exactly nothing.

A call of compiled code with the arrays of a kernel as arguments takes 10 to 20 ns. What runs once per center is
therefore written into its caller (`inline`), and compiled without counting references (`_nrt`) there.

A kernel evaluates a range of centers. Atoms are packed (`pack`) before, once for all ranges of an evaluation.

Arguments of the parts: work (7, m) float64, rows of the edges of a center; force (n_all, 3)
int64, fixed-point units, and virial (n_centers, 6) float64, eV, written.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from allegro_md.exact import FORCE_SCALE
from allegro_md.kernels.arguments import Atoms, Lists
from allegro_md.kernels.centroid import add_edge
from allegro_md.kernels.cpu_neighbors import (
    ROUNDING_BITS,
    SMALL,
    add_rounded,
    any_negative,
    count_within,
    no_bits,
    rows_of_four,
    same_bits,
    shifts,
    store_within,
    sum_of_bits,
)
from allegro_md.kernels.cpu_vector import LANES, all_below, fma, load, load_first, splat, store, sum_of
from allegro_md.kernels.fixed import CENTER_BOUND, to_fixed
from allegro_md.kernels.geometry import pair_vector

D0, D1, D2, R2, ENERGY, SLOPE, OWN = 0, 1, 2, 3, 4, 5, 6
"""Rows of the work table: pair vector (Å), its square (Å²), φ (eV), slope φ'/r (eV/Å²), one of the kernel's own."""

_SHIFTS = 2**20  # lattice shifts of magnitude below this get a code of their own


MOST_SMALL = int(CENTER_BOUND / SMALL)
"""Most neighbors whose forces, below `SMALL`, need no further check."""


class Workspace(NamedTuple):
    """Memory of the edges of one center.

    Attributes:
        edges: (7, m) float64, rows D0 to OWN.
        neighbors: (m,) int32.
        last: (8,) int32, neighbors at the end of the lists.
        kinds: (8,) int32, rows of tables of pairs of species.
        vectors: (24,) float64, Å, pair vectors of atoms that are very far unwrapped.
    """

    edges: NDArray[np.float64]
    neighbors: NDArray[np.int32]
    last: NDArray[np.int32]
    kinds: NDArray[np.int32]
    vectors: NDArray[np.float64]


@numba.njit(cache=True)
def allocate(offsets: NDArray[np.int64], centers: tuple[int, int]) -> Workspace:
    """Memory for any of a range of centers, and what vectors reach beyond its last edge; offsets (n_centers + 1,)."""
    most = 0
    for i in range(centers[0], centers[1]):
        most = max(most, offsets[i + 1] - offsets[i])
    m, few = most + 2 * LANES, np.zeros((2, LANES), np.int32)
    return Workspace(np.zeros((OWN + 1, m)), np.zeros(m, np.int32), few[0], few[1], np.zeros(3 * LANES))


@numba.njit(cache=True)
def pack(atoms: Atoms, copies: tuple[int, int], rows: NDArray[np.float64]) -> None:
    """Puts position and shift of a range of atoms into one row of 32 bytes each: a neighbor costs one cache line.

    Args:
        atoms: see `arguments`.
        copies: the first local or ghost atom, and the one after the last.
        rows: (n_all, 4), written there: three coordinates (Å) and, as the bits of an int64, a code that two atoms
            share only if their shifts are equal.
    """
    position, shift, codes = atoms.position, atoms.shift, rows.view(np.int64)
    first, last = copies
    for i in range(first, last):
        rows[i, 0], rows[i, 1], rows[i, 2] = position[i, 0], position[i, 1], position[i, 2]
        a, b, c = np.int64(shift[i, 0]) + _SHIFTS, np.int64(shift[i, 1]) + _SHIFTS, np.int64(shift[i, 2]) + _SHIFTS
        small = min(a, b, c) >= 0 and max(a, b, c) < 2 * _SHIFTS
        codes[i, 3] = (a * (2 * _SHIFTS) + b) * (2 * _SHIFTS) + c if small else -1 - i


@numba.njit(cache=True, inline="always")
def eight_vectors(
    i: int, k: int, end: int, rows: NDArray[np.float64], atoms: Atoms, neighbors: NDArray[np.int32], work: Workspace
) -> Any:
    """Pair vectors from center i to the neighbors k, k + 1, … before `end`, as three vectors of eight lanes, Å.

    Args:
        i: the center.
        k: place of the first in the list.
        end: of the center's list; lanes from there on hold what is of no use.
        rows: (n_all, 4) float64, of `pack`.
        atoms: see `arguments`.
        neighbors: (pairs,) int32.
        work: for the neighbors at the end of the lists.

    Returns:
        The three components, then where the indices of the neighbors stand: an array and a place in it.
    """
    index, at = neighbors, k
    if k + LANES > len(neighbors):
        for lane in range(LANES):
            work.last[lane] = neighbors[min(k + lane, end - 1)]
        index, at = work.last, 0
    x, y, z, code = rows_of_four(rows, index, at)
    own = splat(rows[i, 3])
    d0, d1, d2 = x - splat(rows[i, 0]), y - splat(rows[i, 1]), z - splat(rows[i, 2])
    if not same_bits(code, own):  # S = 0: adding S·h would add zeros
        if any_negative(own) or any_negative(code):
            for lane in range(LANES):
                d = pair_vector(atoms.position, atoms.shift, atoms.cell, i, index[at + lane])
                work.vectors[lane], work.vectors[LANES + lane], work.vectors[2 * LANES + lane] = d
            d0, d1, d2 = load(work.vectors, 0), load(work.vectors, LANES), load(work.vectors, 2 * LANES)
        else:
            s0, s1, s2 = shifts(code, own)
            h = atoms.cell
            d0 = d0 + (h[0, 0] * s0 + h[1, 0] * s1 + h[2, 0] * s2)
            d1 = d1 + (h[0, 1] * s0 + h[1, 1] * s1 + h[2, 1] * s2)
            d2 = d2 + (h[0, 2] * s0 + h[1, 2] * s1 + h[2, 2] * s2)
    return d0, d1, d2, index, at


@numba.njit(cache=True, inline="always")
def gather(
    i: int,
    rows: NDArray[np.float64],
    atoms: Atoms,
    lists: Lists,
    cutoff2: float,
    work: Workspace,
) -> int:
    """Collects the neighbors of center i within the cutoff, in list order.

    Args:
        i: the center.
        rows: (n_all, 4) float64, of `pack`.
        atoms, lists: see `arguments`.
        cutoff2: square of the cutoff, Å².
        work: receives pair vectors, squared distances and indices; vectors of zeros fill up the last eight.

    Returns:
        How many there are. A distance that is NaN counts as within, for the range check of the kernel to find.
    """
    edges, index, m, limit, n = work.edges, work.neighbors, work.edges.shape[1], splat(cutoff2), 0
    begin, end = lists.offsets[i], lists.offsets[i + 1]
    for k in range(begin, end, LANES):
        d0, d1, d2, source, at = eight_vectors(i, k, end, rows, atoms, lists.neighbors, work)
        r2, left = d0 * d0 + d1 * d1 + d2 * d2, end - k
        store_within(edges, D0 * m + n, d0, r2, limit, left)
        store_within(edges, D1 * m + n, d1, r2, limit, left)
        store_within(edges, D2 * m + n, d2, r2, limit, left)
        store_within(edges, R2 * m + n, r2, r2, limit, left)
        store_within(index, n, load(source, at), r2, limit, left)
        n += count_within(r2, limit, left)
    for row in (D0, D1, D2):  # whole vectors: what adds nothing
        store(edges, row * m + n, splat(0.0))
    store(edges, R2 * m + n, limit)
    return n


@numba.njit(cache=True, _nrt=False)
def add_forces(i: int, n: int, work: NDArray[np.float64], force: NDArray[np.int64]) -> bool:
    """Adds ``slope · d`` of the n edges in the work table to center i.

    This is the whole pair force; the neighbor gets the opposite one when it is the center. Since the pair vector is
    exactly antisymmetric and rounding symmetric, the net force is exactly zero without a write to neighbors.

    Args:
        i: the center.
        n: number of edges.
        work: rows up to R2, and SLOPE (eV/Å²), filled.
        force: (n_all, 3) fixed-point units, added to.

    Returns:
        False when a force is NaN or too large for the fixed-point sum.
    """
    if n <= MOST_SMALL and _add_small(i, n, work, force):
        return True
    bound = (CENTER_BOUND / max(n, 1)) ** 2
    f0 = f1 = f2 = 0
    large = False
    for k in range(n):
        w = work[SLOPE, k]
        large |= not w * w * work[R2, k] < bound
        f0 += to_fixed(w * work[D0, k])
        f1 += to_fixed(w * work[D1, k])
        f2 += to_fixed(w * work[D2, k])
    force[i, 0] += f0
    force[i, 1] += f1
    force[i, 2] += f2
    return not large or _magnitudes(n, work) < CENTER_BOUND


@numba.njit(cache=True, _nrt=False)
def _add_small(i: int, n: int, work: NDArray[np.float64], force: NDArray[np.int64]) -> bool:
    """Does the same unless a force is not `SMALL`: then it adds nothing and returns False."""
    m, limit, scale = work.shape[1], splat(SMALL * SMALL), splat(FORCE_SCALE)
    f0, f1, f2 = no_bits(), no_bits(), no_bits()
    for k in range(0, n, LANES):
        w = load_first(work, SLOPE * m + k, n - k)
        if not all_below(w * w * load(work, R2 * m + k), limit):
            return False
        w = w * scale
        f0 = add_rounded(f0, w * load(work, D0 * m + k))
        f1 = add_rounded(f1, w * load(work, D1 * m + k))
        f2 = add_rounded(f2, w * load(work, D2 * m + k))
    add_lanes(i, (f0, f1, f2), rounding_bits(n), force)
    return True


@numba.njit(cache=True)
def rounding_bits(n: int) -> int:
    """The offset that rounding adds to the bits of the lanes of n edges, modulo 2⁶⁴."""
    return -(-n // LANES) * LANES * ROUNDING_BITS


@numba.njit(cache=True, inline="always")
def add_lanes(i: int, lanes: Any, added: int, force: NDArray[np.int64]) -> None:
    """Adds to the force on center i what has come together in lanes.

    Args:
        i: the center.
        lanes: three vectors of `cpu_neighbors.add_rounded`, one per axis.
        added: offset of all their lanes, see `rounding_bits`.
        force: (n_all, 3) fixed-point units, added to.
    """
    f0, f1, f2 = lanes
    force[i, 0] += sum_of_bits(f0) - added
    force[i, 1] += sum_of_bits(f1) - added
    force[i, 2] += sum_of_bits(f2) - added


@numba.njit(cache=True)
def _magnitudes(n: int, work: NDArray[np.float64]) -> float:
    """Σ |slope| r, eV/Å."""
    total = 0.0
    for k in range(n):
        total += abs(work[SLOPE, k]) * math.sqrt(work[R2, k])
    return total


@numba.njit(cache=True, _nrt=False)
def half_sum(n: int, work: NDArray[np.float64]) -> float:
    """½ Σ φ of the n edges in the work table, eV: a center's share of its pair energies.

    In eight lanes, as all sums over edges here: edge k is in lane k mod 8 on every machine.
    """
    m, total = work.shape[1], splat(0.0)
    for k in range(0, n, LANES):
        total = total + load_first(work, ENERGY * m + k, n - k)
    return 0.5 * sum_of(total)


@numba.njit(cache=True, _nrt=False)
def add_virial(
    row: int, n: int, factor: float, work: NDArray[np.float64], virial: NDArray[np.float64]
) -> None:
    """Stores ``factor · Σ slope d⊗d`` of the n edges in the work table in a row, Voigt order xx yy zz yz xz xy, eV."""
    m, zero = work.shape[1], splat(0.0)
    v0, v1, v2, v3, v4, v5 = zero, zero, zero, zero, zero, zero
    for k in range(0, n, LANES):
        d0, d1 = load_first(work, D0 * m + k, n - k), load_first(work, D1 * m + k, n - k)
        d2, slope = load_first(work, D2 * m + k, n - k), load_first(work, SLOPE * m + k, n - k)
        f0, f1, f2 = slope * d0, slope * d1, slope * d2
        v0, v1, v2 = fma(f0, d0, v0), fma(f1, d1, v1), fma(f2, d2, v2)
        v3, v4, v5 = fma(f1, d2, v3), fma(f0, d2, v4), fma(f0, d1, v5)
    virial[row, 0], virial[row, 1], virial[row, 2] = factor * sum_of(v0), factor * sum_of(v1), factor * sum_of(v2)
    virial[row, 3], virial[row, 4], virial[row, 5] = factor * sum_of(v3), factor * sum_of(v4), factor * sum_of(v5)


@numba.njit(cache=True)
def add_centroid(
    n: int, factor: float, work: NDArray[np.float64], index: NDArray[np.int32], centroid: NDArray[np.int64]
) -> bool:
    """Adds −d ⊗ g, with g = ``factor · slope · d``, of the n edges in the work table to the neighbors' virials.

    Args:
        n: number of edges.
        factor: ½ where the slope is that of a pair energy, of which the center has half.
        work: vectors, and SLOPE (eV/Å²).
        index: (≥ n,) the neighbors.
        centroid: (n_all, 9) int64, fixed-point units of eV, added to.

    Returns:
        False where one is not finite or out of range.
    """
    fine = True
    for k in range(n):
        d0, d1, d2, w = work[D0, k], work[D1, k], work[D2, k], factor * work[SLOPE, k]
        fine &= add_edge(index[k], (d0, d1, d2), (w * d0, w * d1, w * d2), centroid)
    return fine
