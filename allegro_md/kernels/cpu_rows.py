"""Operations on the rows of a block between its matrix products; rows are whole wide vectors, one after the other.

Each function runs over all edges of a block: one that is called for every edge would count references to its arrays.

Arguments, float32 or float64: x, y and out (edges, width), factor (edges,), slopes and gradient (edges, width),
row_slope (edges, columns).
"""

from __future__ import annotations

from typing import Any

import numba
from numpy.typing import NDArray

from allegro_md.kernels.cpu_vector import fma, lanes_of, load_wide, plus, splat_as, store, sums_of_wide, times


@numba.njit(cache=True)
def scale(edges: int, width: int, z: NDArray[Any], row: NDArray[Any], column: int) -> None:
    """Multiplies each row of z with the number that a column of `row` (edges, columns) holds for its edge."""
    for e in range(edges):
        for k in range(e * width, (e + 1) * width, lanes_of(z)):
            value = load_wide(z, k)
            store(z, k, times(value, splat_as(row[e, column], value)))


@numba.njit(cache=True)
def add_columns(edges: int, width: int, z: NDArray[Any], row: NDArray[Any], start: int) -> None:
    """Adds to each row of z the columns of `row` (edges, columns) from `start` on."""
    columns = row.shape[1]
    for e in range(edges):
        for k in range(0, width, lanes_of(z)):
            store(z, e * width + k, plus(load_wide(z, e * width + k), load_wide(row, e * columns + start + k)))


@numba.njit(cache=True)
def dots(
    edges: int, x: NDArray[Any], y: NDArray[Any], stride: int, lanes: NDArray[Any], out: NDArray[Any]
) -> None:
    """Dot products (edges,) of rows of x with rows of y, `stride` apart; 0 for the same row each time.

    `lanes` (edges filled up to whole wide vectors, each a wide vector) is lent; `out` is filled up to there, too.
    """
    width, n = len(y) if stride == 0 else stride, lanes_of(x)
    for e in range(edges):
        total = splat_as(0.0, load_wide(x, 0))
        for k in range(0, width, n):
            total = fma(load_wide(x, e * width + k), load_wide(y, e * stride + k), total)
        store(lanes, e * n, total)
    for e in range(0, edges, n):
        store(out, e, sums_of_wide(lanes, e * n))


@numba.njit(cache=True)
def spread(edges: int, factor: NDArray[Any], x: NDArray[Any], out: NDArray[Any]) -> None:
    """Fills `out` (edges, width) with multiples, by factor (edges,), of one row x (width,)."""
    width = len(x)
    for e in range(edges):
        for k in range(0, width, lanes_of(x)):
            value = load_wide(x, k)
            store(out, e * width + k, times(value, splat_as(factor[e], value)))


@numba.njit(cache=True)
def activation_backward(
    tile: tuple[int, int],
    width: int,
    slopes: NDArray[Any],
    gradient: NDArray[Any],
    row_slope: NDArray[Any],
    start: int,
    partial: NDArray[Any],
) -> None:
    """From dE/doutput of a level to dE/dz, in place (edges, width), for a tile; `partial` (all edges, n, lanes).

    Adds dE/d(fraction) through its f(r), start ≥ 0, to the first vector of each edge, lane by lane.
    """
    columns, lanes, (first, last) = row_slope.shape[1], lanes_of(partial), tile
    step = partial.shape[1] * lanes
    for e in range(last - first):
        total = load_wide(partial, (first + e) * step)
        for k in range(0, width, lanes):
            at = e * width + k
            on_z = times(load_wide(gradient, at), load_wide(slopes, at))
            store(gradient, at, on_z)
            if start >= 0:
                total = fma(on_z, load_wide(row_slope, e * columns + start + k), total)
        store(partial, (first + e) * step, total)
