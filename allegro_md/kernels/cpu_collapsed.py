"""Collapsed networks (`models.fold`): E_i = shift + Σ_j a(r) + Σ_lmu Γ_lmu Q_lmu, Γ and Q sums over the neighbors.

Γ_lmu = Σ_j env_lu(r_ij) Y_lm(ij), Q_lmu = Σ_j q_lu(r_ij) Y_lm(ij). What an embedded-atom potential costs: the neighbors
of one center at a time, in a work table whose lanes are edges, filled up to whole vectors with edges at the cutoff.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from allegro_md.kernels.blocks import LIMIT
from allegro_md.kernels.cpu_harmonics import harmonics, pull_back
from allegro_md.kernels.cpu_repulsion import repulsion_at
from allegro_md.kernels.cpu_table import locate, total
from allegro_md.kernels.cpu_vector import LANES, fma, load, splat, store, sum_of
from allegro_md.kernels.fixed import FINE, to_fixed
from allegro_md.kernels.pair import D0, D1, D2, R2, gather, packed, widest

_G0, _G1, _G2, _ROWS = R2 + 1, R2 + 2, R2 + 3, R2 + 4  # more rows of the work table: dE/dd, eV/Å


class Sums(NamedTuple):
    """A collapsed network.

    Attributes:
        degrees: l_max + 1.
        channels: C.
        per_spacing: (n, n) float64, 1/Å, inverse spacing of the table of each ordered pair.
        shifts: (n,) float64, eV.
        table: (n · n, intervals, 4, 2 · degrees · C + 1) env, q (eV), a (eV).
    """

    degrees: int
    channels: int
    per_spacing: NDArray[np.float64]
    shifts: NDArray[np.float64]
    table: NDArray[Any]


@numba.njit(cache=True, error_model="numpy")
def collapsed(
    position: NDArray[np.float64],
    shift: NDArray[np.int32],
    species: NDArray[np.int16],
    h: NDArray[np.float64],
    offsets: NDArray[np.int64],
    neighbors: NDArray[np.int32],
    first: int,
    last: int,
    cutoff: float,
    sums: Sums,
    repulsion: NDArray[np.float64],
    force: NDArray[np.int64],
    energy: NDArray[np.float64],
    virial: NDArray[np.float64],
) -> int:
    """Energies, forces and virials of the centers from `first` to before `last`.

    Args:
        position: (n_all, 3) Å.
        shift: (n_all, 3).
        species: (n_all,).
        h: (3, 3) Å, lattice rows.
        offsets: (n_centers + 1,).
        neighbors: (offsets[-1],) held indices.
        first: first center.
        last: the one after the last.
        cutoff: Å, the largest.
        sums: the model.
        repulsion: (3, n, n) of `cpu_repulsion`, or (3, 0, 0).
        force: (n_all, 3) quanta, added to, neighbors' rows too; of this potential alone (`blocks.LIMIT`).
        energy: (last − first,) eV, stored.
        virial: (last − first, 6) eV, stored; (0, 6) when not wanted.

    Returns:
        `FINE`, or the first center whose forces are out of range.
    """
    d, c = sums.degrees, sums.channels
    m, columns = -(-widest(offsets) // LANES) * LANES, 2 * d * c + 1
    work, index = np.empty((_ROWS, m)), np.zeros(m, np.int32)
    values, slopes = np.empty((columns, m), sums.table.dtype), np.empty((columns, m), sums.table.dtype)
    sphere, on_sphere = np.empty((d * d, m), sums.table.dtype), np.empty((d * d, m), sums.table.dtype)
    by_distance = np.empty(m, sums.table.dtype)
    gamma, q = np.empty((d * d, c), sums.table.dtype), np.empty((d * d, c), sums.table.dtype)
    rows = packed(position, shift)
    codes = rows.view(np.int64)
    for i in range(first, last):
        n = gather(i, rows, codes, position, shift, h, offsets, neighbors, cutoff * cutoff, work, index)
        lanes = -(-n // LANES) * LANES
        for k in range(n, lanes):
            work[D0, k], work[D1, k], work[D2, k], work[R2, k] = cutoff, 0.0, 0.0, cutoff * cutoff
            index[k] = 0
        _radial(lanes, species[i], species, index, sums, work, values, slopes, sphere)
        total_energy = total(values[columns - 1], lanes)
        total_energy += _sums(d, c, lanes, values, sphere, gamma, q)
        _pull(d, c, lanes, values, slopes, sphere, gamma, q, by_distance, on_sphere)
        _edge_gradients(d, lanes, by_distance, on_sphere, work)
        energy[i - first] = sums.shifts[species[i]] + total_energy
        if repulsion.shape[1] > 0:
            energy[i - first] += _repel(n, species[i], species, index, repulsion, work)
        if len(virial) > 0:
            _virial(i - first, n, work, virial)
        if not _spread(i, n, work, index, force):
            return i
    return FINE


@numba.njit(cache=True, error_model="numpy")
def _radial(
    lanes: int,
    own: int,
    species: NDArray[np.int16],
    index: NDArray[np.int32],
    sums: Sums,
    work: NDArray[np.float64],
    values: NDArray[Any],
    slopes: NDArray[Any],
    sphere: NDArray[Any],
) -> None:
    """Radial functions (their slopes per Å) and harmonics of the edges."""
    real, n, intervals, columns = sums.table.dtype.type, len(sums.shifts), sums.table.shape[1], sums.table.shape[3]
    table, by_edge = sums.table.reshape(-1), sphere.T
    for e in range(lanes):
        r = np.sqrt(work[R2, e])
        other = species[index[e]] if n > 1 else 0
        pair = own * n + other
        per_spacing = sums.per_spacing[own, other]
        k, fraction = locate(r, per_spacing, intervals)
        p, scale = real(fraction), real(per_spacing)
        p2 = p * p
        p3, two, three = p2 * p, p + p, p * (p + p + p)
        at = (pair * intervals + k) * (4 * columns)
        for c in range(columns):
            c1, c2, c3 = table[at + columns + c], table[at + 2 * columns + c], table[at + 3 * columns + c]
            values[c, e] = (table[at + c] + p * c1) + (p2 * c2 + p3 * c3)
            slopes[c, e] = scale * (c1 + (two * c2 + three * c3))
        inverse = 1.0 / r
        harmonics(work[D0, e] * inverse, work[D1, e] * inverse, work[D2, e] * inverse, sums.degrees, by_edge, e)


@numba.njit(cache=True, error_model="numpy")
def _sums(
    d: int,
    c: int,
    lanes: int,
    values: NDArray[Any],
    sphere: NDArray[Any],
    gamma: NDArray[Any],
    q: NDArray[Any],
) -> float:
    """Γ and Q of a center; returns Σ Γ Q."""
    result, width, nothing = 0.0, values.shape[1], splat(values.dtype.type(0.0))
    for degree in range(d):
        for m in range(degree * degree, (degree + 1) * (degree + 1)):
            for u in range(c):
                env, own = (degree * c + u) * width, ((d + degree) * c + u) * width
                first = second = nothing
                for k in range(0, lanes, LANES):
                    y = load(sphere, m * width + k)
                    first, second = fma(load(values, env + k), y, first), fma(load(values, own + k), y, second)
                gamma[m, u], q[m, u] = sum_of(first), sum_of(second)
                result += np.float64(gamma[m, u]) * np.float64(q[m, u])
    return result


@numba.njit(cache=True, error_model="numpy")
def _pull(
    d: int,
    c: int,
    lanes: int,
    values: NDArray[Any],
    slopes: NDArray[Any],
    sphere: NDArray[Any],
    gamma: NDArray[Any],
    q: NDArray[Any],
    by_distance: NDArray[Any],
    on_sphere: NDArray[Any],
) -> None:
    """dE/dr of the edges (eV/Å), and dE/dY."""
    width, nothing = values.shape[1], splat(values.dtype.type(0.0))
    for k in range(0, lanes, LANES):
        store(by_distance, k, load(slopes, 2 * d * c * width + k))
    for degree in range(d):
        for m in range(degree * degree, (degree + 1) * (degree + 1)):
            for k in range(0, lanes, LANES):
                along, out = nothing, nothing
                for u in range(c):
                    a, b = splat(gamma[m, u]), splat(q[m, u])
                    env, own = (degree * c + u) * width + k, ((d + degree) * c + u) * width + k
                    along = fma(b, load(slopes, env), fma(a, load(slopes, own), along))
                    out = fma(b, load(values, env), fma(a, load(values, own), out))
                store(by_distance, k, fma(load(sphere, m * width + k), along, load(by_distance, k)))
                store(on_sphere, m * width + k, out)


@numba.njit(cache=True, error_model="numpy")
def _edge_gradients(
    d: int, lanes: int, by_distance: NDArray[Any], on_sphere: NDArray[Any], work: NDArray[np.float64]
) -> None:
    """dE/dd of the edges."""
    by_edge = on_sphere.T
    for k in range(lanes):
        inverse = 1.0 / np.sqrt(work[R2, k])
        x, y, z = work[D0, k] * inverse, work[D1, k] * inverse, work[D2, k] * inverse
        g0, g1, g2 = pull_back(x, y, z, d, by_edge, k)
        along = by_distance[k] - (g0 * x + g1 * y + g2 * z) * inverse
        work[_G0, k] = along * x + g0 * inverse
        work[_G1, k] = along * y + g1 * inverse
        work[_G2, k] = along * z + g2 * inverse


@numba.njit(cache=True, error_model="numpy")
def _repel(
    n: int,
    own: int,
    species: NDArray[np.int16],
    index: NDArray[np.int32],
    repulsion: NDArray[np.float64],
    work: NDArray[np.float64],
) -> float:
    """Energy of the nuclear repulsion, eV; adds to the gradients."""
    result = 0.0
    for k in range(n):
        value, slope = repulsion_at(np.sqrt(work[R2, k]), own, species[index[k]], repulsion)
        result += value
        work[_G0, k] += slope * work[D0, k]
        work[_G1, k] += slope * work[D1, k]
        work[_G2, k] += slope * work[D2, k]
    return result


@numba.njit(cache=True)
def _virial(row: int, n: int, work: NDArray[np.float64], virial: NDArray[np.float64]) -> None:
    """Stores −Σ d ⊗ g, symmetric part, order xx yy zz yz xz xy, eV."""
    v0 = v1 = v2 = v3 = v4 = v5 = 0.0
    for k in range(n):
        d0, d1, d2, g0, g1, g2 = work[D0, k], work[D1, k], work[D2, k], work[_G0, k], work[_G1, k], work[_G2, k]
        v0 -= d0 * g0
        v1 -= d1 * g1
        v2 -= d2 * g2
        v3 -= 0.5 * (d1 * g2 + d2 * g1)
        v4 -= 0.5 * (d0 * g2 + d2 * g0)
        v5 -= 0.5 * (d0 * g1 + d1 * g0)
    virial[row, 0], virial[row, 1], virial[row, 2] = v0, v1, v2
    virial[row, 3], virial[row, 4], virial[row, 5] = v3, v4, v5


@numba.njit(cache=True)
def _spread(
    i: int, n: int, work: NDArray[np.float64], index: NDArray[np.int32], force: NDArray[np.int64]
) -> bool:
    """Adds each gradient to the center and its opposite to the neighbor; False when one is out of range."""
    bad = False
    for k in range(n):
        g0, g1, g2 = work[_G0, k], work[_G1, k], work[_G2, k]
        bad |= not g0 * g0 + g1 * g1 + g2 * g2 < LIMIT * LIMIT
    if bad:
        return False
    f0 = f1 = f2 = most = 0
    for k in range(n):
        q0, q1, q2 = to_fixed(work[_G0, k]), to_fixed(work[_G1, k]), to_fixed(work[_G2, k])
        f0 += q0
        f1 += q1
        f2 += q2
        j = np.uint64(index[k])
        force[j, 0] -= q0
        force[j, 1] -= q1
        force[j, 2] -= q2
        most = max(most, abs(f0), abs(f1), abs(f2), abs(force[j, 0]), abs(force[j, 1]), abs(force[j, 2]))
    force[i, 0] += f0
    force[i, 1] += f1
    force[i, 2] += f2
    most = max(most, abs(force[i, 0]), abs(force[i, 1]), abs(force[i, 2]))
    return most <= to_fixed(LIMIT)
