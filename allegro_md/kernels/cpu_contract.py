"""The loops of `contract`: one wide vector of channels of four edges at a time, held in registers.

Each element of a result is a sum over its terms in the order of `Loop.terms`, in a lane and of an edge of its own, so a
row's bits depend on nothing but its own data. Rows of the result that edges share (`ro` is not empty) are added to, in
edge order.

Where fewer than four edges are left, copies of the last one keep them company and are not stored.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from allegro_md.kernels.cpu_vector import fma, lanes_of, load_first, load_same, plus, splat_as, store_first, sum_of

Index = NDArray[np.int64]
Reals = NDArray[Any]

BLOCK_ROWS = 32
"""Edges that are taken through one vector of channels of all coefficients while these lie in the first cache."""


class Loop(NamedTuple):
    """The terms of a contraction and the rows of its operands; an empty array of rows stands for the edges themselves.

    Attributes:
        n_edges: number of edges.
        starts: (components + 1,) uint64; the terms of component k of the result are those from starts[k] to before
            starts[k + 1].
        terms: (terms, 3) int64, places of coefficient, component of x, and component of y, in elements.
        rx, ry, ro: (n_edges,) int64, row of x, y and the result for each edge.
    """

    n_edges: int
    starts: NDArray[np.uint64]
    terms: Index
    rx: Index
    ry: Index
    ro: Index


@numba.njit(cache=True, inline="always")
def _row(index: Index, e: int) -> int:
    """The row of edge e; an empty index stands for the edges themselves."""
    return index[e] if len(index) else e


@numba.njit(cache=True, inline="always")
def _rows(index: Index, e: int, n_edges: int, size: int) -> tuple[int, int, int, int]:
    """First elements of the rows of four edges; an empty index stands for the edges themselves."""
    last = n_edges - 1
    e0, e1, e2, e3 = e, min(e + 1, last), min(e + 2, last), min(e + 3, last)
    if len(index):
        e0, e1, e2, e3 = index[e0], index[e1], index[e2], index[e3]
    return e0 * size, e1 * size, e2 * size, e3 * size


@numba.njit(cache=True, inline="always")
def _put(out, at, total, count, add):  # type: ignore[no-untyped-def]  # vectors have no type in Python
    """Stores a sum, or adds it to what is there."""
    store_first(out, at, plus(load_first(out, at, count), total) if add else total, count)


@numba.njit(cache=True)
def multiply(coefficient: Reals, x: Reals, y: Reals, loop: Loop, out: Reals) -> None:
    """out[o, u] (+)= Σ coefficient[n, u] · x[a, u] · y[b, u]."""
    n_edges, starts, terms, rx, ry, ro = loop
    channels, add = x.shape[2], len(ro) > 0
    nothing = splat_as(0.0, load_first(x, 0, 0))
    for first in range(0, n_edges, BLOCK_ROWS):
        for u in range(0, channels, lanes_of(x)):
            count = channels - u
            for e in range(first, min(first + BLOCK_ROWS, n_edges), 4):
                x0, x1, x2, x3 = _rows(rx, e, n_edges, x.shape[1] * channels)
                y0, y1, y2, y3 = _rows(ry, e, n_edges, y.shape[1] * channels)
                o0, o1, o2, o3 = _rows(ro, e, n_edges, out.shape[1] * channels)
                for k in range(len(starts) - 1):
                    t0 = t1 = t2 = t3 = nothing
                    for n in range(starts[k], starts[k + 1]):
                        c, i, j = load_first(coefficient, terms[n, 0] + u, count), terms[n, 1] + u, terms[n, 2] + u
                        t0 = fma(c * load_first(x, x0 + i, count), load_first(y, y0 + j, count), t0)
                        t1 = fma(c * load_first(x, x1 + i, count), load_first(y, y1 + j, count), t1)
                        t2 = fma(c * load_first(x, x2 + i, count), load_first(y, y2 + j, count), t2)
                        t3 = fma(c * load_first(x, x3 + i, count), load_first(y, y3 + j, count), t3)
                    at = k * channels + u
                    _put(out, o0 + at, t0, count, add)
                    if e + 1 < n_edges:
                        _put(out, o1 + at, t1, count, add)
                    if e + 2 < n_edges:
                        _put(out, o2 + at, t2, count, add)
                    if e + 3 < n_edges:
                        _put(out, o3 + at, t3, count, add)


@numba.njit(cache=True)
def weight(x: Reals, y: Reals, loop: Loop, out: Reals) -> None:
    """out[o, u] (+)= Σ x[a, u] · y[b]."""
    n_edges, starts, terms, rx, ry, ro = loop
    channels, add = x.shape[2], len(ro) > 0
    nothing = splat_as(0.0, load_first(x, 0, 0))
    for e in range(n_edges):
        x0, y0 = _row(rx, e) * x.shape[1] * channels, _row(ry, e) * y.shape[1]
        o0 = _row(ro, e) * out.shape[1] * channels
        for k in range(len(starts) - 1):
            for u in range(0, channels, lanes_of(x)):
                count, total = channels - u, nothing
                for n in range(starts[k], starts[k + 1]):
                    total = fma(load_first(x, x0 + terms[n, 1] + u, count), load_same(y, y0 + terms[n, 2]), total)
                _put(out, o0 + k * channels + u, total, count, add)


@numba.njit(cache=True)
def trace(x: Reals, y: Reals, loop: Loop, out: Reals) -> None:
    """out[o] += Σ x[a, u] · y[b, u], over the channels too."""
    n_edges, starts, terms, rx, ry, ro = loop
    channels = x.shape[2]
    nothing = splat_as(0.0, load_first(x, 0, 0))
    for e in range(n_edges):
        x0, y0 = _row(rx, e) * x.shape[1] * channels, _row(ry, e) * y.shape[1] * channels
        for k in range(len(starts) - 1):
            total = nothing
            for n in range(starts[k], starts[k + 1]):
                for u in range(0, channels, lanes_of(x)):
                    first, second = x0 + terms[n, 1] + u, y0 + terms[n, 2] + u
                    total = fma(load_first(x, first, channels - u), load_first(y, second, channels - u), total)
            out[_row(ro, e), k] += sum_of(total)


@numba.njit(cache=True)
def coefficients_backward(grad: Reals, x: Reals, y: Reals, loop: Loop, out: Reals) -> None:
    """out[n, u] += Σ_edges grad[o, u] · x[a, u] · y[b, u]."""
    n_edges, starts, terms, rx, ry, ro = loop
    channels = x.shape[2]
    nothing = splat_as(0.0, load_first(x, 0, 0))
    for first in range(0, n_edges, BLOCK_ROWS):
        for u in range(0, channels, lanes_of(x)):
            count = channels - u
            for e in range(first, min(first + BLOCK_ROWS, n_edges), 4):
                x0, x1, x2, x3 = _rows(rx, e, n_edges, x.shape[1] * channels)
                y0, y1, y2, y3 = _rows(ry, e, n_edges, y.shape[1] * channels)
                o0, o1, o2, o3 = _rows(ro, e, n_edges, grad.shape[1] * channels)
                for k in range(len(starts) - 1):
                    at = k * channels + u
                    g0, g1, g2, g3 = load_first(grad, o0 + at, count), nothing, nothing, nothing
                    if e + 1 < n_edges:
                        g1 = load_first(grad, o1 + at, count)
                    if e + 2 < n_edges:
                        g2 = load_first(grad, o2 + at, count)
                    if e + 3 < n_edges:
                        g3 = load_first(grad, o3 + at, count)
                    for n in range(starts[k], starts[k + 1]):
                        at, i, j = terms[n, 0] + u, terms[n, 1] + u, terms[n, 2] + u
                        t = fma(g0 * load_first(x, x0 + i, count), load_first(y, y0 + j, count), nothing)
                        t = fma(g1 * load_first(x, x1 + i, count), load_first(y, y1 + j, count), t)
                        t = fma(g2 * load_first(x, x2 + i, count), load_first(y, y2 + j, count), t)
                        t = fma(g3 * load_first(x, x3 + i, count), load_first(y, y3 + j, count), t)
                        _put(out, at, t, count, True)
