"""The tensor sum of a single-layer network over a block of edges: environments, scalars, and the way back.

Components lm of harmonics run over degrees², channels u fastest and in whole vectors (`cpu_vector.LANES`). Arrays and
their shapes: `cpu_single_layer_arrays.Workspace`; a row of radial functions begins with env_lu, then own_lu. Scalars
and their gradient are rows of `network.widths[0]` elements, the first C or d C of which count.
"""

from __future__ import annotations

from typing import Any

import numba
from numpy.typing import NDArray

from allegro_md.kernels.cpu_single_layer_arrays import PackedSingleLayer, Workspace
from allegro_md.kernels.cpu_vector import LANES, fma, load, splat, store, sum_of, times


@numba.njit(cache=True)
def sum_environments(edges: int, network: PackedSingleLayer, work: Workspace) -> None:
    """Adds env_lu Y_lm of each edge to its center."""
    d, c = network.degrees, network.channels
    center, y, row, environment = work.center, work.harmonics, work.row, work.environment
    for e in range(edges):
        at = center[e] * (d * d * c)
        for degree in range(d):
            for u in range(0, c, LANES):
                env = load(row, e * row.shape[1] + degree * c + u)
                for m in range(degree * degree, (degree + 1) * (degree + 1)):
                    place = at + m * c + u
                    store(environment, place, fma(env, splat(y[e, m]), load(environment, place)))


@numba.njit(cache=True)
def make_scalars(edges: int, network: PackedSingleLayer, work: Workspace, scalars: NDArray[Any]) -> None:
    """Computes the scalars (edges, stride) of each edge, and dots_lu = Σ_m Y_lm A[lm, u]."""
    d, c, shared, stride = network.degrees, network.channels, network.shared, network.widths[0]
    center, y, row, environment, dots = work.center, work.harmonics, work.row, work.environment, work.dots
    nothing = splat(y.dtype.type(0.0))
    for e in range(edges):
        at, from_own, to = center[e] * (d * d * c), e * row.shape[1] + d * c, e * stride
        for u in range(0, c, LANES):
            together = nothing
            for degree in range(d):
                dot = nothing
                for m in range(degree * degree, (degree + 1) * (degree + 1)):
                    dot = fma(load(environment, at + m * c + u), splat(y[e, m]), dot)
                store(dots, e * (d * c) + degree * c + u, dot)
                own = load(row, from_own + degree * c + u)
                if shared:
                    together = fma(own, dot, together)
                else:
                    store(scalars, to + degree * c + u, times(own, dot))
            if shared:
                store(scalars, to + u, together)


@numba.njit(cache=True)
def scalars_backward(edges: int, network: PackedSingleLayer, work: Workspace, gradient: NDArray[Any]) -> None:
    """Makes dE/dA, dE/d(fraction) and, in place of dots, dE/d(dots) of dE/dscalars, `gradient` (edges · stride,)."""
    d, c, shared, stride = network.degrees, network.channels, network.shared, network.widths[0]
    center, y, row, slope, dots = work.center, work.harmonics, work.row, work.row_slope, work.dots
    grad_environment, by_fraction = work.grad_environment, work.by_fraction
    nothing = splat(y.dtype.type(0.0))
    for e in range(edges):
        at, from_own, by_own = center[e] * (d * d * c), e * row.shape[1] + d * c, nothing
        for degree in range(d):
            for u in range(0, c, LANES):
                place = degree * c + u
                on_scalars = load(gradient, e * stride + (u if shared else place))
                on_own = times(on_scalars, load(dots, e * (d * c) + place))
                by_own = fma(on_own, load(slope, from_own + place), by_own)
                on_dots = times(on_scalars, load(row, from_own + place))
                store(dots, e * (d * c) + place, on_dots)
                for m in range(degree * degree, (degree + 1) * (degree + 1)):
                    there = at + m * c + u
                    store(grad_environment, there, fma(on_dots, splat(y[e, m]), load(grad_environment, there)))
        by_fraction[e] += sum_of(by_own)


@numba.njit(cache=True)
def environments_backward(edges: int, network: PackedSingleLayer, work: Workspace) -> None:
    """Computes dE/dY of each edge (not of the constant Y_0), and dE/d(fraction) through env."""
    d, c, on_y, by_fraction = network.degrees, network.channels, work.by_harmonics, work.by_fraction
    center, y, row, slope, on_dots = work.center, work.harmonics, work.row, work.row_slope, work.dots
    environment, grad_environment = work.environment, work.grad_environment
    nothing = splat(y.dtype.type(0.0))
    for e in range(edges):
        at, from_env, by_env = center[e] * (d * d * c), e * row.shape[1], nothing
        for degree in range(d):
            for u in range(0, c, LANES):
                on_env = nothing
                for m in range(degree * degree, (degree + 1) * (degree + 1)):
                    on_env = fma(load(grad_environment, at + m * c + u), splat(y[e, m]), on_env)
                by_env = fma(on_env, load(slope, from_env + degree * c + u), by_env)
            for m in range(max(1, degree * degree), (degree + 1) * (degree + 1)):
                sums = nothing
                for u in range(0, c, LANES):
                    sums = fma(load(row, from_env + degree * c + u), load(grad_environment, at + m * c + u), sums)
                    on_dot = load(on_dots, e * (d * c) + degree * c + u)
                    sums = fma(on_dot, load(environment, at + m * c + u), sums)
                on_y[e, m] = sum_of(sums)
        by_fraction[e] += sum_of(by_env)
