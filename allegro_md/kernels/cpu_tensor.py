"""The tensor sum of a single-layer network over a block of edges: environments, scalars, and the way back.

Components lm of harmonics run over degrees², channels u fastest and in whole vectors (`cpu_vector.LANES`). Shapes: y
(rows, d²); row, and slope of it (rows, columns), begins with env_lu, then own_lu; dots (rows, d C); environment and
grad_environment (centers, d², C); scalars and their gradient are rows of `stride` elements, the first C or d C of which
count.

Further: center (rows,) int64, on_dots (rows, d C), on_y (rows, d²) eV, scalars and gradient (rows, stride); by_fraction
(rows,) float64 eV, dE/d(fraction of the table's interval). All without a dtype are float32 or float64, as the table.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from allegro_md.kernels.cpu_vector import LANES, fma, load, splat, store, sum_of, times


@numba.njit(cache=True)
def sum_environments(
    edges: int, d: int, c: int, center: NDArray[np.int64], y: NDArray[Any], row: NDArray[Any], environment: NDArray[Any]
) -> None:
    """Adds env_lu Y_lm of each edge to its center."""
    for e in range(edges):
        at = center[e] * (d * d * c)
        for degree in range(d):
            for u in range(0, c, LANES):
                env = load(row, e * row.shape[1] + degree * c + u)
                for m in range(degree * degree, (degree + 1) * (degree + 1)):
                    place = at + m * c + u
                    store(environment, place, fma(env, splat(y[e, m]), load(environment, place)))


@numba.njit(cache=True)
def make_scalars(
    edges: int,
    d: int,
    c: int,
    shared: bool,
    center: NDArray[np.int64],
    y: NDArray[Any],
    row: NDArray[Any],
    environment: NDArray[Any],
    dots: NDArray[Any],
    scalars: NDArray[Any],
    stride: int,
) -> None:
    """The scalars of each edge, and dots_lu = Σ_m Y_lm A[lm, u]."""
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
def scalars_backward(
    edges: int,
    d: int,
    c: int,
    shared: bool,
    center: NDArray[np.int64],
    y: NDArray[Any],
    row: NDArray[Any],
    slope: NDArray[Any],
    gradient: NDArray[Any],
    stride: int,
    dots: NDArray[Any],
    grad_environment: NDArray[Any],
    by_fraction: NDArray[np.float64],
) -> None:
    """From dE/dscalars (`gradient`): dE/dA into `grad_environment`, dE/d(fraction) into own; dots become dE/d(dots)."""
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
def environments_backward(
    edges: int,
    d: int,
    c: int,
    center: NDArray[np.int64],
    y: NDArray[Any],
    row: NDArray[Any],
    slope: NDArray[Any],
    on_dots: NDArray[Any],
    environment: NDArray[Any],
    grad_environment: NDArray[Any],
    on_y: NDArray[Any],
    by_fraction: NDArray[np.float64],
) -> None:
    """dE/dY of each edge (not of the constant Y_0), and what env says of the fraction."""
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
