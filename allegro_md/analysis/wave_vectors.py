"""Wave vectors that fit into a periodic cell, and the amplitudes exp(iq·r) of atoms at them, summed exactly."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray

from allegro_md.cell import Cell
from allegro_md.rng import Stream, vector_word

Array = NDArray[np.float64]

BITS = 40
"""Amplitudes are added up in units of 2⁻⁴⁰, or coarser ones for more than four million atoms."""

_STREAM = int(Stream.WAVE_VECTORS)
_ATOMS = 128  # at a time: their tables of exponentials stay in the cache


@dataclass(frozen=True, eq=False)
class WaveVectors:
    """Vectors q = 2π (h a* + k b* + l c*), one of each pair ±q.

    Attributes:
        indices: (n, 3) int64, h, k and l, in ascending order.
        lengths: (n,) |q|, Å⁻¹.
        shells: (n,) int64, number of the shell, floor(|q| / dq).
        available: (shells,) int64, how many there are in each shell, of which those above were chosen.
    """

    indices: NDArray[np.int64]
    lengths: Array
    shells: NDArray[np.int64]
    available: NDArray[np.int64]


def wave_vectors(cell: Cell, n_shells: int, dq: float, most: int) -> WaveVectors:
    """Chooses the wave vectors of a cell, always the same.

    Args:
        cell: periodic along all axes.
        n_shells: shells of width `dq`, the first from 0.
        dq: Å⁻¹.
        most: of each shell, chosen by random numbers of (h, k, l); 0: all.
    """
    reciprocal = 2.0 * np.pi * cell.inverse.T  # rows
    shells = np.arange(n_shells)
    # Half of all: the vectors in a shell, times V / (2π)³.
    expected = cell.volume * ((shells + 1) ** 3 - shells**3) * dq**3 / (12.0 * np.pi**2)
    share = np.minimum((2.0 * most + 30.0) / np.maximum(expected, 1e-9), 1.0) if most else np.ones(n_shells)
    limits = (share * 2.0**32).astype(np.uint64)
    reach = np.floor(n_shells * dq * np.linalg.norm(cell.matrix, axis=1) / (2.0 * np.pi) + 1e-9).astype(np.int64)
    available = np.zeros(n_shells, np.int64)
    size = int(_search(reciprocal, reach, dq, limits, available, np.empty((0, 3), np.int64), np.empty(0)))
    indices, lengths = np.empty((size, 3), np.int64), np.empty(size)
    _search(reciprocal, reach, dq, limits, available, indices, lengths)
    kept = np.arange(size)
    if most:
        places, words = _shells(lengths, dq), _words(indices)
        order = np.lexsort((kept, words, places))
        sorted_places = places[order]
        rank = np.arange(size) - np.searchsorted(sorted_places, sorted_places)
        kept = np.sort(order[rank < most])
    return WaveVectors(indices[kept], lengths[kept], _shells(lengths[kept], dq), available)


def _shells(lengths: Array, dq: float) -> NDArray[np.int64]:
    """(n,) numbers of the shells of width `dq` of vectors; `lengths` (n,) Å⁻¹."""
    return np.floor(lengths / dq).astype(np.int64)


@numba.njit(cache=True)
def _search(
    reciprocal: Array,
    reach: NDArray[np.int64],
    dq: float,
    limits: NDArray[np.uint64],
    available: NDArray[np.int64],
    indices: NDArray[np.int64],
    lengths: Array,
) -> int:
    """Goes through all vectors in the shells, and keeps those whose random number is below the limit of their shell.

    Args:
        reciprocal: (3, 3) Å⁻¹, rows 2π a*, 2π b*, 2π c*.
        reach: (3,) largest h, k, l.
        dq: Å⁻¹.
        limits: (shells,) of random numbers, at most 2³².
        available: (shells,), written.
        indices: (n, 3), written as far as there is room.
        lengths: (n,) Å⁻¹, likewise.

    Returns:
        How many are kept.
    """
    available[:] = 0
    n = 0
    for h in range(0, reach[0] + 1):
        for k in range(-reach[1] if h > 0 else 0, reach[1] + 1):
            for l in range(-reach[2] if h > 0 or k > 0 else 1, reach[2] + 1):  # noqa: E741
                x = h * reciprocal[0, 0] + k * reciprocal[1, 0] + l * reciprocal[2, 0]
                y = h * reciprocal[0, 1] + k * reciprocal[1, 1] + l * reciprocal[2, 1]
                z = h * reciprocal[0, 2] + k * reciprocal[1, 2] + l * reciprocal[2, 2]
                length = math.sqrt(x * x + y * y + z * z)
                shell = int(math.floor(length / dq))
                if shell >= len(limits):
                    continue
                available[shell] += 1
                if limits[shell] >> np.uint64(32) or vector_word(h, k, l, _STREAM) < limits[shell]:
                    if n < len(lengths):
                        indices[n, 0], indices[n, 1], indices[n, 2] = h, k, l
                        lengths[n] = length
                    n += 1
    return n


@numba.njit(cache=True)
def _words(indices: NDArray[np.int64]) -> NDArray[np.uint64]:
    """The random number of each vector: `indices` (n, 3)."""
    words = np.empty(len(indices), dtype=np.uint64)
    for n in range(len(indices)):
        words[n] = vector_word(indices[n, 0], indices[n, 1], indices[n, 2], _STREAM)
    return words


def bits_for(n_total: int) -> int:
    """Units of 2^−bits in which the amplitudes of so many atoms, each at most 1, do not overflow an int64."""
    return min(BITS, 62 - (max(n_total, 1) - 1).bit_length())


def amplitudes(fractions: Array, indices: NDArray[np.int64], bits: int) -> NDArray[np.int64]:
    """Sums exp(iq·r) over atoms: exact sums of terms that depend on one atom and one vector each.

    Args:
        fractions: (n, 3) of the cell.
        indices: (m, 3) wave vectors, fastest in ascending order.
        bits: as of `bits_for`.

    Returns:
        (2, m) int64, real and imaginary parts in units of 2^−bits.
    """
    totals = np.zeros((2, len(indices)), np.int64)
    if len(fractions) and len(indices):
        most = np.abs(indices).max(axis=0)
        _add_amplitudes(np.ascontiguousarray(fractions.T), indices, most, math.ldexp(1.5, 52 - bits), totals)
    return totals


@numba.njit(cache=True)
def _add_amplitudes(
    fractions: Array, indices: NDArray[np.int64], most: NDArray[np.int64], rounder: float, totals: NDArray[np.int64]
) -> None:
    """Adds the amplitudes of all atoms.

    A term t is rounded by adding a number whose last bit is one unit: the difference of the bits of ``t + rounder``
    and ``rounder``, read as whole numbers, is t in units.

    Args:
        fractions: (3, n).
        indices: (m, 3) wave vectors.
        most: (3,) largest of the absolute indices.
        rounder: 1.5 · 2^(52 − bits).
        totals: (2, m), added to.
    """
    zero = np.array([rounder]).view(np.int64)[0]
    n_atoms = fractions.shape[1]
    room = np.max(most) + 1
    table = np.empty((3, 2, room, _ATOMS))
    plane, term = np.empty((2, _ATOMS)), np.empty((2, _ATOMS))
    for start in range(0, n_atoms, _ATOMS):
        n = min(_ATOMS, n_atoms - start)
        for axis in range(3):
            for a in range(n):
                _powers(2.0 * math.pi * fractions[axis, start + a], most[axis], table[axis, :, :, a])
        h, k = indices[0, 0] - 1, 0
        for q in range(len(indices)):
            if indices[q, 0] != h or indices[q, 1] != k:
                h, k = indices[q, 0], indices[q, 1]
                _multiply(table[0, :, abs(h)], h, table[1, :, abs(k)], k, n, 0.0, plane)
            l = indices[q, 2]  # noqa: E741
            _multiply(plane, 1, table[2, :, abs(l)], l, n, rounder, term)
            for part in range(2):
                units, total = term[part].view(np.int64), np.int64(0)
                for a in range(n):
                    total += units[a] - zero
                totals[part, q] += total


@numba.njit(cache=True)
def _powers(angle: float, most: int, table: Array) -> None:
    """Writes cosines and sines of 0, 1, … `most` times an angle into `table` (2, room)."""
    cosine, sine = math.cos(angle), math.sin(angle)
    table[0, 0], table[1, 0] = 1.0, 0.0
    for m in range(1, most + 1):
        table[0, m] = table[0, m - 1] * cosine - table[1, m - 1] * sine
        table[1, m] = table[1, m - 1] * cosine + table[0, m - 1] * sine


@numba.njit(cache=True)
def _multiply(a: Array, of_a: int, b: Array, of_b: int, n: int, added: float, product: Array) -> None:
    """Writes the complex products a · b + added of the first n atoms.

    Args:
        a: (2, atoms) real and imaginary parts.
        of_a: negative: the conjugate of a.
        b: (2, atoms) likewise.
        of_b: likewise, of b.
        n: number of atoms.
        added: to real and imaginary part.
        product: (2, atoms), written.
    """
    sign_a, sign_b = -1.0 if of_a < 0 else 1.0, -1.0 if of_b < 0 else 1.0
    for i in range(n):
        imaginary_a, imaginary_b = sign_a * a[1, i], sign_b * b[1, i]
        product[0, i] = (a[0, i] * b[0, i] - imaginary_a * imaginary_b) + added
        product[1, i] = (a[0, i] * imaginary_b + imaginary_a * b[0, i]) + added
