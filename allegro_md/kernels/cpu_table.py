"""Rows of radial tables: all functions of an ordered pair at one distance, and what a gradient says of the distance.

A table is (pairs, intervals, 4, columns): per interval the coefficients of cubics in its fraction p, lowest power
first. An interval is named by the offset of its first coefficient; runs of columns are whole vectors.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from allegro_md.kernels.cpu_vector import WIDE, fma, load_wide, splat_as, store


@numba.njit(cache=True)
def locate(r: float, per_spacing: float, intervals: int) -> tuple[int, float]:
    """Interval and fraction (1 beyond the end) of a distance; a NaN becomes no index."""
    t = r * per_spacing
    k = min(max(int(t), 0), intervals - 1)
    return k, min(t - k, 1.0)


@numba.njit(cache=True)
def evaluate(
    table: NDArray[Any],
    edges: int,
    interval: NDArray[np.int64],
    fraction: NDArray[np.float64],
    value: NDArray[Any],
    slope: NDArray[Any],
) -> None:
    """Writes f(p) and df/dp of all columns (whole wide vectors), row by row.

    Args:
        table: (pairs, intervals, 4, columns) float32 or float64.
        edges: number of edges.
        interval: (edges,) offsets of intervals.
        fraction: (edges,) p, in the interval.
        value: (edges, columns), written.
        slope: (edges, columns), written, per interval.
    """
    columns = table.shape[3]
    for e in range(edges):
        at, p = interval[e], fraction[e]
        for c in range(0, columns, WIDE // table.itemsize):
            cubic = load_wide(table, at + 3 * columns + c)
            place = splat_as(p, cubic)
            square = fma(cubic, place, load_wide(table, at + 2 * columns + c))
            linear = fma(square, place, load_wide(table, at + columns + c))
            store(value, e * columns + c, fma(linear, place, load_wide(table, at + c)))
            store(slope, e * columns + c, fma(fma(cubic, place, square), place, linear))
