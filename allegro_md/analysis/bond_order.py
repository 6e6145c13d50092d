"""Sums of spherical harmonics over the bonds of each atom."""

from __future__ import annotations

import math
from typing import NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from allegro_md.analysis.bonds import Near, bond_vectors

Array = NDArray[np.float64]


class Degrees(NamedTuple):
    """Degrees of the spherical harmonics that are summed, and the coefficients of their recursion over l.

    With Π_l^m the associated Legendre function divided by sinᵐθ, normalized such that the squares of the harmonics of
    a degree add up to 2l + 1: Π_l^m = α (z Π_{l−1}^m − β Π_{l−2}^m).

    Attributes:
        start: (l_max + 1,) int64, place of degree l in a row of sums: l + 1 cosines, then l sines; −1: not wanted.
        first: (l_max + 1,) Π_m^m.
        alpha: (l_max + 1, l_max + 1), for l and m.
        beta: likewise.
    """

    start: NDArray[np.int64]
    first: Array
    alpha: Array
    beta: Array


def degrees(wanted: tuple[int, ...]) -> Degrees:
    """Makes the table of the degrees `wanted`; sums have Σ (2l + 1) columns, in their order."""
    l_max = max(wanted)
    start = np.full(l_max + 1, -1, dtype=np.int64)
    column = 0
    for l in wanted:  # noqa: E741
        start[l], column = column, column + 2 * l + 1
    first = np.ones(l_max + 1)
    for m in range(1, l_max + 1):
        first[m] = first[m - 1] * math.sqrt((2 * m + 1) / (2 * m)) * (math.sqrt(2.0) if m == 1 else 1.0)
    alpha, beta = np.zeros((2, l_max + 1, l_max + 1))
    for l in range(1, l_max + 1):  # noqa: E741
        for m in range(l):
            alpha[l, m] = math.sqrt((4 * l * l - 1) / (l * l - m * m))
            beta[l, m] = math.sqrt(((l - 1) ** 2 - m * m) / (4 * (l - 1) ** 2 - 1)) if l > m + 1 else 0.0
    return Degrees(start, first, alpha, beta)


@numba.njit(cache=True)
def bond_sums(
    held: Near, member: NDArray[np.bool_], cutoff: float, nearest: int, table: Degrees, sums: Array
) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """Computes the mean of real spherical harmonics over the bonds of each center, in canonical order.

    Args:
        held: atoms and neighbors.
        member: (n_all,) which atoms may be neighbors.
        cutoff: Å, of bonds.
        nearest: only so many nearest of them, at equal distance the first in canonical order; 0: all.
        table: which harmonics.
        sums: (n_centers, columns), written; zero without a bond.

    Returns:
        Which of `held.neighbors` are bonded (n_pairs,), and number of bonds (n_centers,) of each center.
    """
    bonded = np.zeros(len(held.neighbors), dtype=np.bool_)
    n_bonds = np.zeros(len(sums), dtype=np.int64)
    room = np.max(np.diff(held.offsets)) if len(held.offsets) > 1 else 0
    vectors = np.empty((room, 4))
    for i in range(len(sums)):
        start = held.offsets[i]
        n = bond_vectors(held, i, vectors)
        for a in range(n):
            d = vectors[a, 3]
            bonded[start + a] = member[held.neighbors[start + a]] and 0.0 < d and d < cutoff
        if nearest > 0:
            _keep_nearest(vectors[:n, 3], nearest, bonded[start : start + n])
        sums[i, :] = 0.0
        for a in range(n):
            if bonded[start + a]:
                n_bonds[i] += 1
                d = vectors[a, 3]
                _add_harmonics(vectors[a, 0] / d, vectors[a, 1] / d, vectors[a, 2] / d, table, sums[i])
        sums[i, :] /= max(n_bonds[i], 1)
    return bonded, n_bonds


@numba.njit(cache=True)
def _keep_nearest(distances: Array, nearest: int, bonded: NDArray[np.bool_]) -> None:
    """Keeps the `nearest` bonds of those set in `bonded` (n,), by their `distances` (n,) and then their order."""
    candidates = np.flatnonzero(bonded)
    bonded[:] = False
    for k in np.argsort(distances[candidates], kind="mergesort")[:nearest]:
        bonded[candidates[k]] = True


@numba.njit(cache=True)
def _add_harmonics(x: float, y: float, z: float, table: Degrees, row: Array) -> None:
    """Adds the harmonics of a unit vector to `row` (columns,)."""
    l_max = len(table.start) - 1
    cosine, sine = 1.0, 0.0  # of (x + iy)ᵐ
    for m in range(l_max + 1):
        before, now = 0.0, table.first[m]
        for l in range(m, l_max + 1):  # noqa: E741
            if l > m:
                before, now = now, table.alpha[l, m] * (z * now - table.beta[l, m] * before)
            if table.start[l] >= 0:
                row[table.start[l] + m] += now * cosine
                if m > 0:
                    row[table.start[l] + l + m] += now * sine
        cosine, sine = cosine * x - sine * y, cosine * y + sine * x


@numba.njit(cache=True)
def averaged_over_bonds(held: Near, bonded: NDArray[np.bool_], sums: Array, averaged: Array) -> None:
    """Averages the sums of each local atom and the atoms bonded to it, in canonical order.

    Args:
        held: atoms and neighbors.
        bonded: (n_pairs,) which neighbors are bonded.
        sums: (n_all, columns).
        averaged: (n_local, columns), written.
    """
    for i in range(len(averaged)):
        averaged[i, :] = sums[i, :]
        n = 1
        for a in range(held.offsets[i], held.offsets[i + 1]):
            if bonded[a]:
                averaged[i, :] += sums[held.neighbors[a], :]
                n += 1
        averaged[i, :] /= n


@numba.njit(cache=True)
def parameters(sums: Array, ends: NDArray[np.int64], q: Array) -> None:
    """Computes the lengths of the parts of each row: √(Σ squares / columns), at most 1.

    Args:
        sums: (n, columns).
        ends: (degrees + 1,) where the part of each degree begins.
        q: (n, degrees), written.
    """
    for i in range(len(q)):
        for k in range(q.shape[1]):
            total = 0.0
            for column in range(ends[k], ends[k + 1]):
                total += sums[i, column] * sums[i, column]
            q[i, k] = min(math.sqrt(total / (ends[k + 1] - ends[k])), 1.0)
