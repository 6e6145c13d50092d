"""The loss of a bilinear network as a function of its five radial functions, with its gradient.

    E_i = Σ_j a + D Q + 3 D₁·Q₁,  D = Σ_j e₀,  Q = Σ_j q₀,  D₁ = Σ_j e₁ û,  Q₁ = Σ_j q₁ û

All of it is cheap but the network, and that is a function of the distance alone: it is asked at the knots of a
table, not at every pair.
"""

from __future__ import annotations

from typing import NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Index = NDArray[np.int64]

E0, Q0, E1, Q1, A = range(5)
"""Columns of the table."""


class Labels(NamedTuple):
    """Frames behind one another, sorted by center, and what is wanted of them.

    Attributes:
        vector: (E, 3) Å from center to neighbor.
        center, neighbor: (E,).
        frame: (n,) of each atom.
        size: (F,) atoms.
        volume: (F,) Å³.
        energy: (F,) eV, without the shifts.
        force: (n, 3) eV/Å.
        stress: (F, 3, 3) eV/Å³.
        weight: (F,).
        by_energy, by_stress: weights of errors of 1 eV per atom and of 1 eV/Å³ against one of 1 eV/Å.
    """

    vector: Array
    center: Index
    neighbor: Index
    frame: Index
    size: Index
    volume: Array
    energy: Array
    force: Array
    stress: Array
    weight: Array
    by_energy: float
    by_stress: float


@numba.njit(cache=True)
def _weights(d: Array, knots: int, first: float, spacing: float, w: Array) -> int:
    """Weights (2, 4) of the four knots around |d| in the value and the slope of the cubic through them."""
    x = (np.sqrt(d[0] * d[0] + d[1] * d[1] + d[2] * d[2]) - first) / spacing
    k = min(max(int(x) - 1, 0), knots - 4)
    t = x - k - 1.0
    w[0, 0], w[0, 1] = -t * (t - 1) * (t - 2) / 6, (t + 1) * (t - 1) * (t - 2) / 2
    w[0, 2], w[0, 3] = -(t + 1) * t * (t - 2) / 2, (t + 1) * t * (t - 1) / 6
    w[1, 0], w[1, 1] = -(3 * t * t - 6 * t + 2) / (6 * spacing), (3 * t * t - 4 * t - 1) / (2 * spacing)
    w[1, 2], w[1, 3] = -(3 * t * t - 2 * t - 2) / (2 * spacing), (3 * t * t - 1) / (6 * spacing)
    return k


@numba.njit(cache=True)
def _look_up(table: Array, first: float, spacing: float, b: Labels) -> Array:
    """(E, 2, 5) values and slopes."""
    out, w = np.zeros((len(b.center), 2, 5)), np.empty((2, 4))
    for e in range(len(b.center)):
        k = _weights(b.vector[e], len(table), first, spacing, w)
        for n in range(4):
            for c in range(5):
                out[e, 0, c] += w[0, n] * table[k + n, c]
                out[e, 1, c] += w[1, n] * table[k + n, c]
    return out


@numba.njit(cache=True)
def _sums(b: Labels, values: Array) -> Array:
    """(n, 9): A, D, Q, D₁, Q₁ of every atom."""
    out = np.zeros((len(b.frame), 9))
    for e in range(len(b.center)):
        d, i, v = b.vector[e], b.center[e], values[e, 0]
        r = np.sqrt(d[0] * d[0] + d[1] * d[1] + d[2] * d[2])
        out[i, 0] += v[A]
        out[i, 1] += v[E0]
        out[i, 2] += v[Q0]
        for x in range(3):
            out[i, 3 + x] += v[E1] * d[x] / r
            out[i, 6 + x] += v[Q1] * d[x] / r
    return out


@numba.njit(cache=True)
def predicted(table: Array, first: float, spacing: float, b: Labels) -> tuple[Array, Array, Array, Array, Array]:
    """Energies (F,), forces (n, 3), virials d ⊗ dE/dd (F, 3, 3); values and slopes (E, 2, 5), the sums (n, 9)."""
    values = _look_up(table, first, spacing, b)
    sums = _sums(b, values)
    energy, force, virial = np.zeros(len(b.size)), np.zeros((len(b.frame), 3)), np.zeros((len(b.size), 3, 3))
    for i in range(len(b.frame)):
        p = sums[i]
        energy[b.frame[i]] += p[0] + p[1] * p[2] + 3.0 * (p[3] * p[6] + p[4] * p[7] + p[5] * p[8])
    u, g = np.empty(3), np.empty(3)
    for e in range(len(b.center)):
        d, i, j, v, s = b.vector[e], b.center[e], b.neighbor[e], values[e, 0], values[e, 1]
        r = np.sqrt(d[0] * d[0] + d[1] * d[1] + d[2] * d[2])
        for x in range(3):
            u[x] = d[x] / r
        p = sums[i]
        along_d, along_q = u[0] * p[3] + u[1] * p[4] + u[2] * p[5], u[0] * p[6] + u[1] * p[7] + u[2] * p[8]
        radial = s[A] + s[E0] * p[2] + s[Q0] * p[1] + 3.0 * (s[E1] * along_q + s[Q1] * along_d)
        for x in range(3):
            turning = v[E1] * (p[6 + x] - u[x] * along_q) + v[Q1] * (p[3 + x] - u[x] * along_d)
            g[x] = u[x] * radial + 3.0 * turning / r
            force[i, x] += g[x]
            force[j, x] -= g[x]
        for x in range(3):
            for y in range(3):
                virial[b.frame[i], x, y] += d[x] * g[y]
    return energy, force, virial, values, sums


@numba.njit(cache=True)
def loss(table: Array, first: float, spacing: float, b: Labels) -> tuple[float, Array]:
    """Weighted mean square of all errors, and its gradient with respect to the table."""
    energy, force, virial, values, sums = predicted(table, first, spacing, b)
    frames = len(b.size)
    to_energy, to_force, to_virial = np.empty(frames), np.empty_like(force), np.empty_like(virial)
    total = 0.0
    for f in range(frames):
        scale = b.weight[f] / frames
        off = b.by_energy * (energy[f] - b.energy[f]) / b.size[f]
        total += scale * off * off
        to_energy[f] = 2.0 * scale * off * b.by_energy / b.size[f]
        error = b.by_stress * (virial[f] / b.volume[f] - b.stress[f])
        total += scale * (error * error).sum() / 9.0
        to_virial[f] = 2.0 / 9.0 * scale * b.by_stress / b.volume[f] * error
    for i in range(len(force)):
        scale = b.weight[b.frame[i]] / (3.0 * frames * b.size[b.frame[i]])
        for x in range(3):
            off = force[i, x] - b.force[i, x]
            total += scale * off * off
            to_force[i, x] = 2.0 * scale * off
    to_sums = _gradient_of_sums(b, values, sums, to_energy, to_force, to_virial)
    return total, _gradient(table, first, spacing, b, sums, to_sums, to_force, to_virial)


@numba.njit(cache=True)
def _push(b: Labels, e: int, to_force: Array, to_virial: Array, u: Array, side: Array) -> float:
    """Derivative with respect to dE/dd of a pair: along the unit vector u (returned), and across it over r (side)."""
    d, i, j = b.vector[e], b.center[e], b.neighbor[e]
    r, along = np.sqrt(d[0] * d[0] + d[1] * d[1] + d[2] * d[2]), 0.0
    virial = to_virial[b.frame[i]]
    for x in range(3):
        u[x] = d[x] / r
        side[x] = to_force[i, x] - to_force[j, x] + d[0] * virial[0, x] + d[1] * virial[1, x] + d[2] * virial[2, x]
        along += u[x] * side[x]
    for x in range(3):
        side[x] = (side[x] - along * u[x]) / r
    return along


@numba.njit(cache=True)
def _gradient_of_sums(
    b: Labels, values: Array, sums: Array, to_energy: Array, to_force: Array, to_virial: Array
) -> Array:
    """Derivative with respect to the sums, given those with respect to energies, forces and virials."""
    out = np.empty_like(sums)
    for i in range(len(sums)):
        p, t = sums[i], to_energy[b.frame[i]]
        out[i, 0], out[i, 1], out[i, 2] = t, t * p[2], t * p[1]
        out[i, 3:6], out[i, 6:9] = 3.0 * t * p[6:9], 3.0 * t * p[3:6]
    u, side = np.empty(3), np.empty(3)
    for e in range(len(b.center)):
        q, v, s = out[b.center[e]], values[e, 0], values[e, 1]
        along = _push(b, e, to_force, to_virial, u, side)
        q[1] += along * s[Q0]
        q[2] += along * s[E0]
        for x in range(3):
            q[3 + x] += 3.0 * (along * s[Q1] * u[x] + v[Q1] * side[x])
            q[6 + x] += 3.0 * (along * s[E1] * u[x] + v[E1] * side[x])
    return out


@numba.njit(cache=True)
def _gradient(
    table: Array, first: float, spacing: float, b: Labels, sums: Array, to_sums: Array,
    to_force: Array, to_virial: Array,
) -> Array:
    """Derivative with respect to the table, given those with respect to sums, forces and virials."""
    out = np.zeros_like(table)
    w, u, side, to_v, to_s = np.empty((2, 4)), np.empty(3), np.empty(3), np.empty(5), np.empty(5)
    for e in range(len(b.center)):
        p, q = sums[b.center[e]], to_sums[b.center[e]]
        along = _push(b, e, to_force, to_virial, u, side)
        to_s[A], to_s[E0], to_s[Q0] = along, along * p[2], along * p[1]
        to_s[E1] = 3.0 * along * (u[0] * p[6] + u[1] * p[7] + u[2] * p[8])
        to_s[Q1] = 3.0 * along * (u[0] * p[3] + u[1] * p[4] + u[2] * p[5])
        to_v[A], to_v[E0], to_v[Q0] = q[0], q[1], q[2]
        to_v[E1] = to_v[Q1] = 0.0
        for x in range(3):
            to_v[E1] += q[3 + x] * u[x] + 3.0 * side[x] * p[6 + x]
            to_v[Q1] += q[6 + x] * u[x] + 3.0 * side[x] * p[3 + x]
        k = _weights(b.vector[e], len(table), first, spacing, w)
        for n in range(4):
            for c in range(5):
                out[k + n, c] += w[0, n] * to_v[c] + w[1, n] * to_s[c]
    return out
