"""Counter-based random numbers: a pure function of seed, stream, step, substep and atom id.

Philox4x32-10: Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC'11,
doi:10.1145/2063384.2063405.

Normal deviates: Box, Muller, Ann. Math. Stat. 29, 610 (1958), doi:10.1214/aoms/1177706645. Logarithm, sine and cosine
are Taylor series in + − × / and sqrt, each rounded on its own: a C library's may differ from machine to machine. Reals
are made of bits and taken apart into bits, because that is exact and keeps the loops vectorized.
"""

from __future__ import annotations

import math
from enum import IntEnum
from typing import NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from allegro_md.kernel_files import one_file_per_kernel

one_file_per_kernel()


class Stream(IntEnum):
    """Every use of random numbers has its own stream."""

    VELOCITIES = 1
    RATTLE = 2
    WAVE_VECTORS = 3
    LANGEVIN = 4


class Draw(NamedTuple):
    """Key of the numbers of all atoms, beside the atom's id.

    Attributes:
        seed: non-negative (below 2⁶³).
        stream: of `Stream`, as a whole number.
        step: time step (below 2³²).
        substep: part of the step (below 2¹⁵).
    """

    seed: int
    stream: int
    step: int
    substep: int = 0


@numba.njit(cache=True, inline="always")
def _philox(c0: int, c1: int, c2: int, c3: int, k0: int, k1: int) -> tuple[np.uint64, np.uint64, np.uint64, np.uint64]:
    mask = np.uint64(0xFFFFFFFF)
    x0, x1, x2, x3 = np.uint64(c0), np.uint64(c1), np.uint64(c2), np.uint64(c3)
    key0, key1 = np.uint64(k0), np.uint64(k1)
    for _ in range(10):
        p0 = np.uint64(0xD2511F53) * x0
        p1 = np.uint64(0xCD9E8D57) * x2
        x0, x1, x2, x3 = (
            (p1 >> np.uint64(32)) ^ x1 ^ key0,
            p1 & mask,
            (p0 >> np.uint64(32)) ^ x3 ^ key1,
            p0 & mask,
        )
        key0 = (key0 + np.uint64(0x9E3779B9)) & mask
        key1 = (key1 + np.uint64(0xBB67AE85)) & mask
    return x0, x1, x2, x3


@numba.njit(cache=True)
def philox_words(counter: NDArray[np.uint32], key: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """One Philox4x32-10 block: counter (4,), key (2,) → four words; exists for the known-answer test."""
    a, b, c, d = _philox(counter[0], counter[1], counter[2], counter[3], key[0], key[1])
    return np.array([a, b, c, d], dtype=np.uint64).astype(np.uint32)


@numba.njit(cache=True)
def vector_word(h: int, k: int, l: int, stream: int) -> np.uint64:  # noqa: E741
    """A number of 32 random bits for a vector of three whole numbers, each of at most 31 bits."""
    low = np.int64(0xFFFFFFFF)
    return _philox(h & low, k & low, l & low, stream << 16, 0, 0)[0]


_TILE = 512
"""Atoms whose numbers are drawn together: their words and reals stay in the cache."""

_FRACTION = (1 << 52) - 1
_WHOLE, _WHOLE_BITS = 1.5 * 2.0**52, 0x4338 << 48
"""A real whose last bit counts 1, and its bits: a whole number n in [−2⁵¹, 2⁵¹) is the real of bits + n, less it."""
_HALF_ROOT_BITS = int(np.float64(math.sqrt(0.5)).view(np.int64))
_LN2 = 0.6931471805599453
_ANGLE = 2.0 * math.pi * 2.0**-52

_ARTANH = tuple(1.0 / (2 * k + 1) for k in range(12, -1, -1))
_SINE = tuple((-1.0) ** k / math.factorial(2 * k + 1) for k in range(8, -1, -1))
_COSINE = tuple((-1.0) ** k / math.factorial(2 * k) for k in range(9, -1, -1))
"""Coefficients of the powers of a square, the highest first."""


@numba.njit(cache=True, error_model="numpy")
def radii(uniform: NDArray[np.int64], out: NDArray[np.float64]) -> None:
    """Writes sqrt(−2 ln x), x = (u + ½)/2⁵², into `out` (n,); `uniform` (n,) holds u, of 52 bits.

    x = 2ᵏ m with m from sqrt(½) to sqrt(2); ln m = 2 artanh((m − 1)/(m + 1)).
    """
    for i in range(len(uniform)):
        centered = np.int64(uniform[i] - (1 << 51) + _WHOLE_BITS).view(np.float64) - _WHOLE
        x = (centered + (2.0**51 + 0.5)) * 2.0**-52
        bits = np.float64(x).view(np.int64) - _HALF_ROOT_BITS
        k = np.int64((bits >> 52) + _WHOLE_BITS).view(np.float64) - _WHOLE
        m = np.int64((bits & _FRACTION) + _HALF_ROOT_BITS).view(np.float64)
        s = (m - 1.0) / (m + 1.0)
        square, series = s * s, _ARTANH[0]
        for n in range(1, len(_ARTANH)):
            series = series * square + _ARTANH[n]
        out[i] = np.sqrt(-2.0 * (k * _LN2 + 2.0 * s * series))


@numba.njit(cache=True)
def directions(uniform: NDArray[np.int64], cosine: NDArray[np.float64], sine: NDArray[np.float64]) -> None:
    """Writes cos and sin of 2π(w + ½)/2⁵² into `cosine` and `sine` (n,); `uniform` (n,) holds w, of 52 bits.

    The angle is that of a whole number of quarter turns and a rest of at most an eighth.
    """
    for i in range(len(uniform)):
        quarters = (uniform[i] + (1 << 49)) >> 50
        rest = np.int64(uniform[i] - (quarters << 50) + _WHOLE_BITS).view(np.float64) - _WHOLE
        y = (rest + 0.5) * _ANGLE
        square, s, c = y * y, _SINE[0], _COSINE[0]
        for n in range(1, len(_SINE)):
            s = s * square + _SINE[n]
        for n in range(1, len(_COSINE)):
            c = c * square + _COSINE[n]
        s = s * y
        along, across = (s, c) if quarters & 1 else (c, s)
        cosine[i] = -along if (quarters + 1) & 2 else along
        sine[i] = -across if quarters & 2 else across


@numba.njit(cache=True)
def fill_normals(ids: NDArray[np.int64], draw: Draw, out: NDArray[np.float64]) -> None:
    """Writes three standard normal deviates per atom, by Box–Muller, the same bits on every machine.

    Args:
        ids: (n,) global atom ids.
        draw: which numbers.
        out: (n, 3), written.
    """
    low, key = np.int64(0xFFFFFFFF), draw.seed
    first, second = np.empty(_TILE, np.int64), np.empty(_TILE, np.int64)
    radius, cosine, sine = np.empty(_TILE), np.empty(_TILE), np.empty(_TILE)
    for start in range(0, len(ids), _TILE):
        n = min(_TILE, len(ids) - start)
        for block in range(2):
            last = (draw.stream << 16) | (draw.substep << 1) | block
            for i in range(n):
                atom = ids[start + i]
                a, b, c, d = _philox(atom & low, atom >> 32, draw.step & low, last, key & low, (key >> 32) & low)
                first[i] = ((a << np.uint64(20)) ^ (b >> np.uint64(12))) & np.uint64(_FRACTION)
                second[i] = ((c << np.uint64(20)) ^ (d >> np.uint64(12))) & np.uint64(_FRACTION)
            radii(first[:n], radius)
            directions(second[:n], cosine, sine)
            for i in range(n):
                out[start + i, 2 * block] = radius[i] * cosine[i]
            if block == 0:
                for i in range(n):
                    out[start + i, 1] = radius[i] * sine[i]


def normals(ids: NDArray[np.int64], draw: Draw) -> NDArray[np.float64]:
    """Three standard normal deviates per atom, (n, 3) float64; `ids` (n,) int64 are global atom ids."""
    out = np.empty((len(ids), 3))
    fill_normals(np.ascontiguousarray(ids), draw, out)
    return out
