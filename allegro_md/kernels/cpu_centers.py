"""Edges of a block with what belongs to their centers: sums over edges, products with them, and the way back.

Arguments, float32 or float64: y (edges, degrees²) harmonics of the edges; env and other values of edges (edges,
degrees, channels); a, b and other values of centers (centers, degrees², channels). Channels are whole wide vectors.
Arrays of edges need `ROWS` more rows than there are edges. bounds (≥ centers + 1,) int64 is the first edge of each
center. Sums run in ascending order, in a lane of their own.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from numpy.typing import NDArray

from allegro_md.kernels.cpu_matrix import BYTES, ROWS, panel_of
from allegro_md.kernels.cpu_vector import WIDE, call, form_of, lanes_of, pointer

_sum_0, _sum_1, _sum_2, _sum_3 = (panel_of(2 * degree + 1, 1) for degree in range(4))
_product = panel_of(ROWS, 1)


@numba.njit(cache=True)
def sum_edges(
    degrees: int, y: NDArray[Any], env: NDArray[Any], bounds: NDArray[np.int64], centers: int, out: NDArray[Any]
) -> None:
    """Writes Σ_e y[e, lm] env[e, l, u] over the edges of each center to out (centers, degrees², channels)."""
    components, channels, lanes = degrees * degrees, out.shape[2], lanes_of(out) * BYTES // WIDE
    pitch = degrees * channels
    for i in range(centers):
        edge, n = bounds[i], bounds[i + 1] - bounds[i]
        for u in range(0, channels, lanes):
            at, start, to = edge * components, edge * pitch + u, i * components * channels + u
            _sum_0(y, env, out, (at, 1, components, start, pitch, n, to, channels))
            if degrees > 1:
                at, start, to = at + 1, start + channels, to + channels
                _sum_1(y, env, out, (at, 1, components, start, pitch, n, to, channels))
            if degrees > 2:
                at, start, to = at + 3, start + channels, to + 3 * channels
                _sum_2(y, env, out, (at, 1, components, start, pitch, n, to, channels))
            if degrees > 3:
                at, start, to = at + 5, start + channels, to + 5 * channels
                _sum_3(y, env, out, (at, 1, components, start, pitch, n, to, channels))


@numba.njit(cache=True)
def multiply_edges(
    degrees: int, y: NDArray[Any], a: NDArray[Any], bounds: NDArray[np.int64], centers: int, out: NDArray[Any]
) -> None:
    """Writes Σ_m y[e, lm] a[i, lm, u], i the center of e, to out (edges, degrees, channels) and a few rows beyond."""
    components, channels, lanes = degrees * degrees, a.shape[2], lanes_of(out) * BYTES // WIDE
    pitch = degrees * channels
    for i in range(centers):
        for edge in range(bounds[i], bounds[i + 1], ROWS):
            for degree in range(degrees):
                first, n = degree * degree, 2 * degree + 1
                for u in range(0, channels, lanes):
                    at, to = (i * components + first) * channels + u, edge * pitch + degree * channels + u
                    _product(y, a, out, (edge * components + first, components, 1, at, channels, n, to, pitch))


def _components(degree: int, fresh: bool) -> Any:
    """For the 2l + 1 components of a degree and one wide vector of channels: env · a + other · b, lane by lane."""
    count = 2 * degree + 1

    @intrinsic  # type: ignore[untyped-decorator]
    def products(_: Any, env: Any, other: Any, a: Any, b: Any, out: Any, places: Any) -> Any:
        """`places`, in elements: of env, first and from edge to edge; of a, first and from component to component; how
        many edges; of out, first and from edge to edge.
        """
        lanes, align = WIDE * 8 // env.dtype.bitwidth, env.dtype.bitwidth // 8
        form = form_of(env.dtype, lanes)

        def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            at, pitch, start, step, n, to, width = cgutils.unpack_tuple(builder, arguments[5], 7)

            def place(k: int, offset: Any) -> Any:
                return pointer(context, builder, signature.args[k], arguments[k], offset, lanes)

            def moved(first: Any, by: Any, times: Any) -> Any:
                return builder.add(first, builder.mul(by, times))

            starts = [moved(start, step, ir.Constant(n.type, m)) for m in range(count)]
            of_a, of_b = ([builder.load(place(k, x), align=align) for x in starts] for k in (2, 3))
            with cgutils.for_range(builder, n) as loop:
                row, target = moved(at, pitch, loop.index), moved(to, width, loop.index)
                first, second = (builder.load(place(k, row), align=align) for k in (0, 1))
                for m in range(count):
                    there = place(4, builder.add(target, ir.Constant(n.type, m * lanes)))
                    total = ir.Constant(form, [0.0] * lanes) if fresh else builder.load(there, align=align)
                    total = call(builder, "fma", form, first, of_a[m], total)
                    builder.store(call(builder, "fma", form, second, of_b[m], total), there, align=align)
            return context.get_dummy_value()

        return types.void(env, other, a, b, out, types.UniTuple(types.intp, 7)), code

    return products


_first_1, _first_2, _first_3 = (_components(degree, True) for degree in (1, 2, 3))
_further_1, _further_2, _further_3 = (_components(degree, False) for degree in (1, 2, 3))


@numba.njit(cache=True)
def components_backward(
    degrees: int, env: NDArray[Any], other: NDArray[Any], a: NDArray[Any], b: NDArray[Any],
    bounds: NDArray[np.int64], centers: int, out: NDArray[Any]
) -> None:
    """Writes Σ_u env[e, l, u] a[i, lm, u] + other[e, l, u] b[i, lm, u] to out (edges, degrees², lanes), l > 0.

    The lanes of a wide vector of channels are still to be added up.
    """
    components, channels, lanes = degrees * degrees, a.shape[2], lanes_of(out)
    pitch, width = degrees * channels, components * lanes
    for i in range(centers):
        edge, n = bounds[i], bounds[i + 1] - bounds[i]
        for degree in range(1, degrees):
            first = degree * degree
            for u in range(0, channels, lanes):
                at, to = edge * pitch + degree * channels + u, edge * width + first * lanes
                places = (at, pitch, (i * components + first) * channels + u, channels, n, to, width)
                if degree == 1 and u == 0:
                    _first_1(env, other, a, b, out, places)
                elif degree == 1:
                    _further_1(env, other, a, b, out, places)
                elif degree == 2 and u == 0:
                    _first_2(env, other, a, b, out, places)
                elif degree == 2:
                    _further_2(env, other, a, b, out, places)
                elif u == 0:
                    _first_3(env, other, a, b, out, places)
                else:
                    _further_3(env, other, a, b, out, places)
