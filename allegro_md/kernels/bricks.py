"""The bricks, and periodic images of bricks, that are near a brick: a search in the planes, whatever their number."""

from __future__ import annotations

import math

import numba
import numpy as np
from numpy.typing import NDArray

# Planes are searched with this much more than the width, fractional; then the very relation decides.
_SLACK = 1e-9


def find_images(
    planes: tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]],
    periodic: tuple[bool, bool, bool],
    rank: int,
    width: NDArray[np.float64],
) -> NDArray[np.int64]:
    """Finds what `Decomposition.images` returns.

    Args:
        planes: see `decomposition.Planes`.
        periodic: per axis.
        rank: whose brick.
        width: (3,) fractional.
    """
    found = np.empty((_search(planes, periodic, rank, width, np.empty((0, 4), dtype=np.int64)), 4), dtype=np.int64)
    _search(planes, periodic, rank, width, found)
    return found[np.lexsort(found.T[::-1])]


@numba.njit(cache=True)
def _bounds(
    planes: tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]], rank: int
) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
    """Lower and upper bounds of a rank's brick, fractional; `planes` as in `find_images`."""
    x, y, z = planes
    n_y, n_z = y.shape[1] - 1, z.shape[2] - 1
    i, j, k = rank // (n_y * n_z), rank // n_z % n_y, rank % n_z
    return (x[i], y[i, j], z[i, j, k]), (x[i + 1], y[i, j + 1], z[i, j, k + 1])


@numba.njit(cache=True)
def _is_near(
    planes: tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]],
    rank: int,
    other: int,
    shift: tuple[int, int, int],
    width: NDArray[np.float64],
) -> bool:
    """Tells if the image of another rank's brick is less than a width away along each axis.

    The expression is evaluated for the lower rank first, whoever asks: both get the same bits.

    Args:
        planes: as in `find_images`.
        rank: whose brick stays where it is.
        other: whose brick is translated.
        shift: the translation.
        width: (3,) fractional.
    """
    sign = 1
    if other < rank:
        rank, other, sign = other, rank, -1
    lower, upper = _bounds(planes, rank)
    low, high = _bounds(planes, other)
    for axis in range(3):
        moved = sign * shift[axis]
        if not ((low[axis] + moved) - upper[axis] < width[axis] and lower[axis] - (high[axis] + moved) < width[axis]):
            return False
    return True


@numba.njit(cache=True)
def _between(planes: NDArray[np.float64], lower: float, upper: float) -> tuple[int, int]:
    """First interval between `planes` (n + 1,) that reaches into [lower, upper], and the one after the last."""
    first = int(np.searchsorted(planes, lower, side="left")) - 1
    last = int(np.searchsorted(planes, upper, side="right"))
    return max(first, 0), min(last, len(planes) - 1)


@numba.njit(cache=True)
def _translations(lower: float, upper: float, periodic: bool) -> tuple[int, int]:
    """First translation of a box from 0 to 1 that reaches into [lower, upper], and the one after the last."""
    return (math.floor(lower), math.floor(upper) + 1) if periodic else (0, 1)


@numba.njit(cache=True)
def _search(
    planes: tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]],
    periodic: tuple[bool, bool, bool],
    rank: int,
    width: NDArray[np.float64],
    found: NDArray[np.int64],
) -> int:
    """Counts the images, and writes as many as there is room for.

    Args:
        planes: as in `find_images`.
        periodic: per axis.
        rank: whose brick.
        width: (3,) fractional.
        found: (m, 4), written.
    """
    x, y, z = planes
    n_y, n_z = y.shape[1] - 1, z.shape[2] - 1
    (x_low, y_low, z_low), (x_high, y_high, z_high) = _bounds(planes, rank)
    wide = width * (1.0 + _SLACK) + _SLACK
    x_low, x_high = x_low - wide[0], x_high + wide[0]
    y_low, y_high = y_low - wide[1], y_high + wide[1]
    z_low, z_high = z_low - wide[2], z_high + wide[2]
    n = 0
    for a in range(*_translations(x_low, x_high, periodic[0])):
        for i in range(*_between(x, x_low - a, x_high - a)):
            for b in range(*_translations(y_low, y_high, periodic[1])):
                for j in range(*_between(y[i], y_low - b, y_high - b)):
                    for c in range(*_translations(z_low, z_high, periodic[2])):
                        for k in range(*_between(z[i, j], z_low - c, z_high - c)):
                            other = (i * n_y + j) * n_z + k
                            itself = other == rank and a == 0 and b == 0 and c == 0
                            if itself or not _is_near(planes, rank, other, (a, b, c), width):
                                continue
                            if n < len(found):
                                found[n, 0], found[n, 1], found[n, 2], found[n, 3] = other, a, b, c
                            n += 1
    return n
