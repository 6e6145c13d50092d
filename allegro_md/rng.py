"""Counter-based random numbers: a pure function of (seed, stream, step, atom id), blind to the layout of ranks.

Philox4x32-10: Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC'11,
doi:10.1145/2063384.2063405.
"""

from __future__ import annotations

from enum import IntEnum

import numba
import numpy as np
from numpy.typing import NDArray


class Stream(IntEnum):
    """Every use of random numbers has its own stream."""

    VELOCITIES = 1
    RATTLE = 2
    WAVE_VECTORS = 3


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


@numba.njit(cache=True)
def _fill_normals(ids: NDArray[np.int64], step: int, seed: int, stream: int, out: NDArray[np.float64]) -> None:
    """Writes three standard normal deviates per atom into `out` (n, 3); `ids` (n,) are global ids."""
    low = np.int64(0xFFFFFFFF)
    for i in range(len(ids)):
        # Word 3 of the counter: stream (high half) and block number (low half).
        for block in range(2):
            a, b, c, d = _philox(
                ids[i] & low, ids[i] >> 32, step & low, (stream << 16) | block, seed & low, (seed >> 32) & low
            )
            u = ((a << np.uint64(20)) ^ (b >> np.uint64(12))) & np.uint64((1 << 52) - 1)
            w = ((c << np.uint64(20)) ^ (d >> np.uint64(12))) & np.uint64((1 << 52) - 1)
            radius = np.sqrt(-2.0 * np.log((np.float64(u) + 0.5) * 2.0**-52))
            angle = 2.0 * np.pi * (np.float64(w) + 0.5) * 2.0**-52
            if block == 0:
                out[i, 0] = radius * np.cos(angle)
                out[i, 1] = radius * np.sin(angle)
            else:
                out[i, 2] = radius * np.cos(angle)


def normals(ids: NDArray[np.int64], step: int, seed: int, stream: Stream) -> NDArray[np.float64]:
    """Three standard normal deviates per atom by Box–Muller.

    Args:
        ids: (n,) global atom ids.
        step: time step (below 2³²).
        seed: non-negative seed (below 2⁶³).
        stream: what the numbers are for.

    Returns:
        (n, 3) float64.
    """
    out = np.empty((len(ids), 3))
    _fill_normals(np.ascontiguousarray(ids), step, seed, int(stream), out)
    return out
