"""Rows of radial tables: all functions of an ordered pair at one distance, and what a gradient says of the distance.

A table is (pairs, intervals, 4, columns): per interval the coefficients of cubics in its fraction p, lowest power
first. An interval is named by the offset of its first coefficient; runs of columns are whole vectors.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from allegro_md.kernels.cpu_vector import fma, lanes_of, load_wide, splat_as, store


@numba.njit(cache=True)
def locate(r: float, per_spacing: float, intervals: int) -> tuple[int, float]:
    """Interval and fraction (1 beyond the end) of a distance; a NaN becomes no index."""
    t = r * per_spacing
    k = min(max(int(t), 0), intervals - 1)
    return k, min(t - k, 1.0)


@numba.njit(cache=True)
def evaluate(
    table: NDArray[Any],
    columns: tuple[int, int],
    edges: tuple[int, int],
    interval: NDArray[np.int64],
    fraction: NDArray[np.float64],
    value: NDArray[Any],
    slope: NDArray[Any],
) -> None:
    """Writes f(p) and df/dp of some columns (whole wide vectors) of some edges, row by row.

    Args:
        table: (pairs, intervals, 4, all columns) float32 or float64.
        columns: the first, and the one after the last.
        edges: the first, and the one after the last.
        interval: (≥ edges,) offsets of intervals.
        fraction: (≥ edges,) p, in the interval.
        value: (edges, columns), written.
        slope: (edges, columns), written, per interval.
    """
    power, (first, last), width = table.shape[3], edges, columns[1] - columns[0]
    for e in range(first, last):
        at, to, p = interval[e] + columns[0], (e - first) * width, fraction[e]
        for c in range(0, width, lanes_of(table)):
            cubic = load_wide(table, at + 3 * power + c)
            place = splat_as(p, cubic)
            square = fma(cubic, place, load_wide(table, at + 2 * power + c))
            linear = fma(square, place, load_wide(table, at + power + c))
            store(value, to + c, fma(linear, place, load_wide(table, at + c)))
            store(slope, to + c, fma(fma(cubic, place, square), place, linear))
