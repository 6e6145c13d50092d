"""Rows of radial tables: all functions of an ordered pair at one distance, and what a gradient says of the distance.

A table is (pairs, intervals, 4, columns): per interval the coefficients of cubics in its fraction p, lowest power
first. An interval is named by the offset of its first coefficient; runs of columns are whole vectors.
"""

from __future__ import annotations

from typing import Any

import numba
from numpy.typing import NDArray

from allegro_md.kernels.cpu_vector import LANES, fma, load, splat, store, sum_of


@numba.njit(cache=True)
def locate(r: float, per_spacing: float, intervals: int) -> tuple[int, float]:
    """Interval and fraction (1 beyond the end) of a distance; a NaN becomes no index."""
    t = r * per_spacing
    k = min(max(int(t), 0), intervals - 1)
    return k, min(t - k, 1.0)


@numba.njit(cache=True)
def fresh(table: NDArray[Any], at: int, width: int, p: Any, out: NDArray[Any], to: int) -> None:
    """out[to + c] = f_c(p) of `width` columns."""
    columns = table.shape[3]
    first, second, third = splat(p), splat(p * p), splat(p * p * p)
    for c in range(0, width, LANES):
        v = fma(load(table, at + columns + c), first, load(table, at + c))
        v = fma(load(table, at + 2 * columns + c), second, v)
        store(out, to + c, fma(load(table, at + 3 * columns + c), third, v))


@numba.njit(cache=True)
def values(table: NDArray[Any], at: int, width: int, p: Any, scale: Any, out: NDArray[Any], to: int) -> None:
    """out[to + c] = f_c(p) + scale · out[to + c] of `width` columns."""
    columns = table.shape[3]
    first, second, third, factor = splat(p), splat(p * p), splat(p * p * p), splat(scale)
    for c in range(0, width, LANES):
        v = fma(load(table, at + columns + c), first, load(table, at + c))
        v = fma(load(table, at + 2 * columns + c), second, v)
        v = fma(load(table, at + 3 * columns + c), third, v)
        store(out, to + c, fma(load(out, to + c), factor, v))


@numba.njit(cache=True)
def slope(table: NDArray[Any], at: int, width: int, p: Any, gradient: NDArray[Any], start: int) -> Any:
    """Σ_c gradient[start + c] · df_c/dp of `width` columns."""
    columns = table.shape[3]
    second, third = splat(p + p), splat(p * p + p * p + p * p)
    result = splat(p - p)
    for c in range(0, width, LANES):
        v = fma(load(table, at + 2 * columns + c), second, load(table, at + columns + c))
        v = fma(load(table, at + 3 * columns + c), third, v)
        result = fma(load(gradient, start + c), v, result)
    return sum_of(result)


@numba.njit(cache=True)
def lone_value(table: NDArray[Any], at: int, p: Any) -> Any:
    """f(p) of one column."""
    flat, columns = table.reshape(-1), table.shape[3]
    return flat[at] + p * (flat[at + columns] + p * (flat[at + 2 * columns] + p * flat[at + 3 * columns]))


@numba.njit(cache=True)
def lone_slope(table: NDArray[Any], at: int, p: Any) -> Any:
    """df/dp of one column."""
    flat, columns = table.reshape(-1), table.shape[3]
    cubic = flat[at + 3 * columns]
    return flat[at + columns] + p * (flat[at + 2 * columns] + flat[at + 2 * columns] + p * (cubic + cubic + cubic))


@numba.njit(cache=True)
def dot(x: NDArray[Any], start: int, y: NDArray[Any], other: int, width: int) -> Any:
    """Σ x[start + k] y[other + k], k < width."""
    result = splat(x.dtype.type(0.0))
    for k in range(0, width, LANES):
        result = fma(load(x, start + k), load(y, other + k), result)
    return sum_of(result)


@numba.njit(cache=True)
def total(numbers: NDArray[Any], n: int) -> Any:
    """Sum of the first n numbers, n a whole number of vectors."""
    result = splat(numbers.dtype.type(0.0))
    one = splat(numbers.dtype.type(1.0))
    for k in range(0, n, LANES):
        result = fma(load(numbers, k), one, result)
    return sum_of(result)
