"""Bilinear networks (`models.fused.fold`): E_i = shift + Σ_j a(r) + Σ_lmu Γ_lmu Q_lmu, Γ and Q sums over the neighbors.

Γ_lmu = Σ_j env_lu(r_ij) Y_lm(ij), Q_lmu = Σ_j q_lu(r_ij) Y_lm(ij). What an embedded-atom potential costs: the edges of
a block of centers lie one after the other in a work table that stays in the cache.

Arguments: position (n_all, 3) float64 Å, shift (n_all, 3) int32, h (3, 3) float64 Å, offsets (n_centers + 1,) int64,
neighbors (pairs,) int32, species (n_all,) int16; force (n_all, 3) int64 in fixed-point units, energy (n_centers,)
float64 eV and virial (n_centers, 6) float64 eV are written.
"""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

from allegro_md.exact import FORCE_SCALE
from allegro_md.kernels.arguments import Atoms, Lists, Out
from allegro_md.kernels.blocks import LIMIT
from allegro_md.kernels.centroid import add_edge
from allegro_md.kernels.cpu_bilinear_lanes import (
    CENTERS,
    PackedBilinear,
    Workspace,
    allocate,
    couple,
    gradients,
    places,
    radial,
)
from allegro_md.kernels.cpu_repulsion import repulsion_of_eight
from allegro_md.kernels.cpu_vector import (
    LANES,
    all_below,
    difference,
    load,
    rounded,
    same_three,
    splat,
    store,
    store_first,
    sum_of,
)
from allegro_md.kernels.fixed import CENTER_BOUND, FINE, to_fixed
from allegro_md.kernels.geometry import pair_vector
from allegro_md.kernels.no_refcount import no_refcount

EDGES = 640
"""List entries a block has room for (a single center may have more)."""

_TERMS = 4096
"""Most neighbors within the cutoff."""

SMALL = CENTER_BOUND / (4 * _TERMS)
"""Edge gradients below this cannot fill more than half of `CENTER_BOUND` on all copies of an atom, eV/Å; where all of
a block are, what they add up to is not looked at. After larger ones it is, against half of `LIMIT`."""

_1, _2 = np.uint64(1), np.uint64(2)


@numba.njit(cache=True, error_model="numpy")
def bilinear(
    atoms: Atoms,
    lists: Lists,
    centers: tuple[int, int],
    cutoff: float,
    sums: PackedBilinear,
    repulsion: NDArray[np.float64],
    out: Out,
) -> int:
    """Computes energies, forces and virials of a range of centers.

    Args:
        atoms, lists: see `arguments`.
        centers: the first, and the one after the last.
        cutoff: Å, the largest.
        sums: the model.
        repulsion: (3, n, n) float64, of `cpu_repulsion`, or (3, 0, 0).
        out: see `arguments`; forces on neighbors, too (`blocks.LIMIT`).

    Returns:
        `FINE`, or the first center whose forces are out of range.
    """
    atoms, lists, out = no_refcount(atoms), no_refcount(lists), no_refcount(out)
    first, last = centers
    offsets, species, force, energy, virial = lists.offsets, atoms.species, out.force, out.energy, out.virial
    widest = EDGES
    for i in range(first, last):
        widest = max(widest, offsets[i + 1] - offsets[i])
    work = allocate(widest, sums)
    i = first
    while i < last:
        taken = _take(i, min(last, i + CENTERS), widest, atoms, lists, cutoff * cutoff, work)
        edges = work.starts[taken]
        if len(sums.shifts) > 1:
            _pairs(i, taken, species, sums, work)
        places(edges, sums, work)
        radial(edges, sums, work)
        for k in range(taken):
            if work.starts[k + 1] - work.starts[k] > _TERMS:
                return i + k
            energy[i + k - first] = sums.shifts[species[i + k]]
        couple(taken, sums, work, energy[i - first :])
        gradients(edges, sums, work)
        if repulsion.shape[1] > 0:
            _repel(i, taken, species, repulsion, work, energy[i - first :])
        if len(virial) > 0:
            _virial(taken, work, virial[i - first :])
        if len(out.centroid) > 0:
            status = _centroid(i, taken, work, out.centroid)
            if status != FINE:
                return status
        if _to_fixed(edges, work):
            _spread(i, taken, work, force)
        else:
            status = _spread_large(i, taken, work, force)
            if status != FINE:
                return status
        i += taken
    return FINE


@numba.njit(cache=True, _nrt=False)
def _take(
    first: int,
    last: int,
    room: int,
    atoms: Atoms,
    lists: Lists,
    cutoff2: float,
    work: Workspace,
) -> int:
    """Collects the neighbors within the cutoff (Å²), in list order, of as many centers as there is room for.

    Returns:
        How many centers. A distance that is NaN counts as within, for the range check to find.
    """
    position, shift, offsets, neighbors = atoms.position, atoms.shift, lists.offsets, lists.neighbors
    m, vector, other = len(work.other), work.vector.reshape(-1), work.other
    n = 0
    for i in range(first, last):
        if n + offsets[i + 1] - offsets[i] > room:
            return i - first
        for slot in range(offsets[i], offsets[i + 1]):
            j = np.int64(neighbors[np.uint64(slot)])  # unsigned: no test for a negative index
            e = np.uint64(n)
            if same_three(shift, 3 * j, 3 * i):  # adding S·h would add zeros
                r2 = difference(position, 3 * j, 3 * i, vector, n, m)
            else:
                d0, d1, d2 = pair_vector(position, shift, atoms.cell, i, j)
                vector[e], vector[np.uint64(m + n)], vector[np.uint64(2 * m + n)] = d0, d1, d2
                r2 = d0 * d0 + d1 * d1 + d2 * d2
            other[e] = j
            n += not r2 >= cutoff2
        work.starts[i - first + 1] = n
    return last - first


@numba.njit(cache=True, _nrt=False)
def _pairs(first: int, taken: int, species: NDArray[np.int16], sums: PackedBilinear, work: Workspace) -> None:
    """Finds the tables of the edges' ordered pairs; species (n_all,) int16."""
    n, intervals = len(sums.shifts), sums.table.shape[1]
    for k in range(taken):
        own = species[first + k]
        for e in range(work.starts[k], work.starts[k + 1]):
            kind = species[work.other[e]]
            work.pair[e] = (own * n + kind) * intervals
            work.per_spacing[e] = sums.per_spacing[own, kind]


@numba.njit(cache=True, _nrt=False)
def _repel(
    first: int,
    taken: int,
    species: NDArray[np.int16],
    repulsion: NDArray[np.float64],
    work: Workspace,
    energy: NDArray[np.float64],
) -> None:
    """Adds the nuclear repulsion, of (3, n, n) float64, to the energies (taken,) float64, eV, and the gradients."""
    m, several, kinds = len(work.other), repulsion.shape[1] > 1, work.kinds
    a, b, c = splat(repulsion[0, 0, 0]), splat(repulsion[1, 0, 0]), splat(repulsion[2, 0, 0])
    for k in range(taken):
        end, total = work.starts[k + 1], splat(0.0)
        for e in range(work.starts[k], end, LANES):
            if several:
                for lane in range(LANES):
                    kind = species[work.other[e + lane]]
                    for row in range(3):
                        kinds[row, lane] = repulsion[row, species[first + k], kind]
                a, b, c = load(kinds, 0), load(kinds, LANES), load(kinds, 2 * LANES)
            value, slope = repulsion_of_eight(load(work.distance, e), (a, b, c), end - e)
            total = total + value
            for at in range(e, 3 * m, m):
                store_first(work.gradient, at, load(work.gradient, at) + slope * load(work.vector, at), end - e)
        energy[k] += sum_of(total)


@numba.njit(cache=True, _nrt=False)
def _virial(taken: int, work: Workspace, virial: NDArray[np.float64]) -> None:
    """Stores −Σ d ⊗ g of each center, symmetric part, order xx yy zz yz xz xy, (taken, 6) float64, eV."""
    d, g = work.vector, work.gradient
    for k in range(taken):
        v0 = v1 = v2 = v3 = v4 = v5 = 0.0
        for e in range(work.starts[k], work.starts[k + 1]):
            v0 -= d[0, e] * g[0, e]
            v1 -= d[1, e] * g[1, e]
            v2 -= d[2, e] * g[2, e]
            v3 -= 0.5 * (d[1, e] * g[2, e] + d[2, e] * g[1, e])
            v4 -= 0.5 * (d[0, e] * g[2, e] + d[2, e] * g[0, e])
            v5 -= 0.5 * (d[0, e] * g[1, e] + d[1, e] * g[0, e])
        virial[k, 0], virial[k, 1], virial[k, 2] = v0, v1, v2
        virial[k, 3], virial[k, 4], virial[k, 5] = v3, v4, v5


@numba.njit(cache=True, _nrt=False)
def _centroid(first: int, taken: int, work: Workspace, centroid: NDArray[np.int64]) -> int:
    """Adds −d ⊗ g of each edge at the neighbor; returns the first center with one out of range.

    `centroid` (n_all, 9) int64, fixed-point units of eV.
    """
    d, g = work.vector, work.gradient
    for k in range(taken):
        for e in range(work.starts[k], work.starts[k + 1]):
            vector, gradient = (d[0, e], d[1, e], d[2, e]), (g[0, e], g[1, e], g[2, e])
            if not add_edge(work.other[e], vector, gradient, centroid):
                return first + k
    return FINE


@numba.njit(cache=True, _nrt=False)
def _to_fixed(edges: int, work: Workspace) -> bool:
    """Gradients in fixed-point units (`fixed.to_fixed`), unless one is not small."""
    m, scale, limit = len(work.other), splat(FORCE_SCALE), splat(SMALL * SMALL)
    for k in range(0, edges, LANES):
        g0, g1, g2 = load(work.gradient, k), load(work.gradient, m + k), load(work.gradient, 2 * m + k)
        if not all_below(g0 * g0 + g1 * g1 + g2 * g2, limit):
            return False
        store(work.fixed, k, rounded(g0 * scale))
        store(work.fixed, m + k, rounded(g1 * scale))
        store(work.fixed, 2 * m + k, rounded(g2 * scale))
    return True


@numba.njit(cache=True, _nrt=False)
def _spread(first: int, taken: int, work: Workspace, force: NDArray[np.int64]) -> None:
    """Adds each gradient to the center and its opposite to the neighbor; force (n_all, 3) int64, fixed-point units."""
    m, other, fixed, f = len(work.other), work.other, work.fixed.reshape(-1), force.reshape(-1)
    for k in range(taken):
        f0 = f1 = f2 = 0
        for e in range(work.starts[k], work.starts[k + 1]):
            j = np.uint64(3 * other[np.uint64(e)])
            q0, q1, q2 = fixed[np.uint64(e)], fixed[np.uint64(m + e)], fixed[np.uint64(2 * m + e)]
            f0 += q0
            f1 += q1
            f2 += q2
            f[j] -= q0
            f[j + _1] -= q1
            f[j + _2] -= q2
        force[first + k, 0] += f0
        force[first + k, 1] += f1
        force[first + k, 2] += f2


@numba.njit(cache=True)
def _spread_large(first: int, taken: int, work: Workspace, force: NDArray[np.int64]) -> int:
    """Does the same and checks each number; returns the first center with one out of range."""
    limit = to_fixed(0.5 * LIMIT)
    for k in range(taken):
        i = first + k
        for e in range(work.starts[k], work.starts[k + 1]):
            j = work.other[e]
            for axis in range(3):
                g = work.gradient[axis, e]
                if not abs(g) < LIMIT:
                    return i
                fixed = to_fixed(g)
                force[i, axis] += fixed
                force[j, axis] -= fixed
                if max(abs(force[i, axis]), abs(force[j, axis])) > limit:
                    return i
    return FINE
