"""Rows of radial tables: all functions of an ordered pair at one distance, and what a gradient says of the distance.

A table is (pairs, intervals, 4, columns): per interval the coefficients of cubics in its fraction p, lowest power
first.
"""

from __future__ import annotations

from typing import Any

import numba
from numpy.typing import NDArray


@numba.njit(cache=True)
def locate(r: float, per_spacing: float, intervals: int) -> tuple[int, float]:
    """Interval and fraction (1 beyond the end) of a distance; a NaN becomes no index."""
    t = r * per_spacing
    k = min(max(int(t), 0), intervals - 1)
    return k, min(t - k, 1.0)


@numba.njit(cache=True)
def row(interval: NDArray[Any], start: int, stop: int, p: Any, scale: Any, out: NDArray[Any]) -> None:
    """out[c] = f_c(p) + scale · out[c] for the columns start … stop of an interval (4, columns)."""
    p2 = p * p
    p3 = p2 * p
    c0, c1, c2, c3 = interval[0, start:stop], interval[1, start:stop], interval[2, start:stop], interval[3, start:stop]
    for c in range(stop - start):
        out[c] = ((c0[c] + p * c1[c]) + (p2 * c2[c] + p3 * c3[c])) + scale * out[c]


@numba.njit(cache=True)
def fresh_row(interval: NDArray[Any], start: int, stop: int, p: Any, out: NDArray[Any]) -> None:
    """out[c] = f_c(p)."""
    p2 = p * p
    p3 = p2 * p
    c0, c1, c2, c3 = interval[0, start:stop], interval[1, start:stop], interval[2, start:stop], interval[3, start:stop]
    for c in range(stop - start):
        out[c] = (c0[c] + p * c1[c]) + (p2 * c2[c] + p3 * c3[c])


@numba.njit(cache=True)
def slope(interval: NDArray[Any], start: int, stop: int, p: Any, gradient: NDArray[Any], work: NDArray[Any]) -> Any:
    """Σ_c gradient[c] · df_c/dp of the columns start … stop."""
    two = p + p
    three = p * (two + p)
    c1, c2, c3 = interval[1, start:stop], interval[2, start:stop], interval[3, start:stop]
    for c in range(stop - start):
        work[c] = gradient[c] * (c1[c] + (two * c2[c] + three * c3[c]))
    return total(work, stop - start)


@numba.njit(cache=True)
def total(values: NDArray[Any], n: int) -> Any:
    """Sum of the first n values: eight partial sums, always in the same order."""
    a0 = a1 = a2 = a3 = a4 = a5 = a6 = a7 = values.dtype.type(0.0)
    whole = n - n % 8
    for k in range(0, whole, 8):
        a0 += values[k]
        a1 += values[k + 1]
        a2 += values[k + 2]
        a3 += values[k + 3]
        a4 += values[k + 4]
        a5 += values[k + 5]
        a6 += values[k + 6]
        a7 += values[k + 7]
    for k in range(whole, n):
        a0 += values[k]
    return ((a0 + a4) + (a1 + a5)) + ((a2 + a6) + (a3 + a7))


@numba.njit(cache=True)
def dot(x: NDArray[Any], y: NDArray[Any], work: NDArray[Any]) -> Any:
    """Σ x y of two rows."""
    for k in range(len(x)):
        work[k] = x[k] * y[k]
    return total(work, len(x))
