"""The tensor sum of a single-layer network: scalars of the edges of a tile, and the way back.

Components lm of harmonics run over degrees², channels u fastest and in whole wide vectors. Arrays and their shapes:
`cpu_single_layer_arrays.Workspace`; a row of radial functions begins with own_lu. Scalars and their gradient are rows
of `network.widths[0]` elements, the first C or d C of which count. The sums over the edges of a center, A and dE/dA,
are `cpu_matrix.sum_over_edges`. Tiles are given as their first edge and the one after the last.
"""

from __future__ import annotations

from typing import Any

import numba
from numpy.typing import NDArray

from allegro_md.kernels.cpu_single_layer_arrays import PackedSingleLayer, Workspace
from allegro_md.kernels.cpu_vector import WIDE, fma, load_same, load_wide, splat_as, store, sums_of_wide, times


@numba.njit(cache=True)
def make_scalars(tile: tuple[int, int], network: PackedSingleLayer, work: Workspace, scalars: NDArray[Any]) -> None:
    """Computes the scalars (edges · stride,) of each edge, and dots_lu = Σ_m Y_lm A[lm, u]."""
    d, c, shared, stride = network.degrees, network.channels, network.shared, network.widths[0]
    center, y, row, environment, dots = work.center, work.harmonics, work.row, work.environment, work.dots
    components, columns, (first, last) = d * d, row.shape[1], tile
    nothing = splat_as(0.0, load_wide(row, 0))
    for e in range(first, last):
        at, from_own, to = center[e] * (components * c), (e - first) * columns, (e - first) * stride
        for u in range(0, c, WIDE // row.itemsize):
            together = nothing
            for degree in range(d):
                dot = nothing
                for m in range(degree * degree, (degree + 1) * (degree + 1)):
                    dot = fma(load_wide(environment, at + m * c + u), load_same(y, e * components + m), dot)
                store(dots, e * (d * c) + degree * c + u, dot)
                own = load_wide(row, from_own + degree * c + u)
                if shared:
                    together = fma(own, dot, together)
                else:
                    store(scalars, to + degree * c + u, times(own, dot))
            if shared:
                store(scalars, to + u, together)


@numba.njit(cache=True)
def scalars_backward(
    tile: tuple[int, int], network: PackedSingleLayer, work: Workspace, gradient: NDArray[Any]
) -> None:
    """Makes of dE/dscalars (edges · stride,) dE/d(dots) in place of dots; adds to dE/d(fraction)."""
    d, c, shared, stride = network.degrees, network.channels, network.shared, network.widths[0]
    row, slope, dots, partial = work.row, work.row_slope, work.dots, work.partial
    columns, step, (first, last) = row.shape[1], d * d * (WIDE // row.itemsize), tile
    for e in range(first, last):
        by_own = load_wide(partial, e * step)
        for degree in range(d):
            for u in range(0, c, WIDE // row.itemsize):
                place = degree * c + u
                own, at = (e - first) * columns + place, e * (d * c) + place
                on_scalars = load_wide(gradient, (e - first) * stride + (u if shared else place))
                on_own = times(on_scalars, load_wide(dots, at))
                by_own = fma(on_own, load_wide(slope, own), by_own)
                store(dots, at, times(on_scalars, load_wide(row, own)))
        store(partial, e * step, by_own)


@numba.njit(cache=True)
def environments_backward(edges: int, network: PackedSingleLayer, work: Workspace) -> None:
    """Computes dE/dY of each edge of a block (not of the constant Y_0), and dE/d(fraction) in its place."""
    d, c, partial, sums, env, slope = (
        network.degrees, network.channels, work.partial, work.sums, work.env, work.env_slope,
    )  # fmt: skip
    center, y, on_dots = work.center, work.harmonics, work.dots
    environment, grad_environment = work.environment, work.grad_environment
    lanes, components = WIDE // env.itemsize, d * d
    nothing = splat_as(0.0, load_wide(env, 0))
    for e in range(edges):
        at, from_env, to = center[e] * (components * c), e * (d * c), e * components
        by_env = load_wide(partial, to * lanes)
        for degree in range(d):
            for u in range(0, c, lanes):
                on_env = nothing
                for m in range(degree * degree, (degree + 1) * (degree + 1)):
                    on_env = fma(load_wide(grad_environment, at + m * c + u), load_same(y, to + m), on_env)
                by_env = fma(on_env, load_wide(slope, from_env + degree * c + u), by_env)
            for m in range(max(1, degree * degree), (degree + 1) * (degree + 1)):
                on_y = nothing
                for u in range(0, c, lanes):
                    place = from_env + degree * c + u
                    on_y = fma(load_wide(env, place), load_wide(grad_environment, at + m * c + u), on_y)
                    on_y = fma(load_wide(on_dots, place), load_wide(environment, at + m * c + u), on_y)
                store(partial, (to + m) * lanes, on_y)
        store(partial, to * lanes, by_env)
    for k in range(0, edges * components, lanes):
        store(sums, k, sums_of_wide(partial, k * lanes))
