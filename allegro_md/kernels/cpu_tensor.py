"""The tensor sum of a folded network over a block of edges: environments, scalars, and the way back.

Components lm of harmonics run over degrees², channels u fastest and in whole vectors; a tensor row holds env_lu, then
own_lu. Shapes: y (rows, d²), tensor and its gradient (rows, 2 d C), dots (rows, d C), scalars (rows, C or d C),
environment and pulled (centers, d², C).
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from allegro_md.kernels.cpu_vector import LANES, fma, load, splat, store, sum_of, times


@numba.njit(cache=True)
def sum_environments(
    used: int,
    d: int,
    c: int,
    center: NDArray[np.int64],
    y: NDArray[Any],
    tensor: NDArray[Any],
    environment: NDArray[Any],
) -> None:
    """Adds env_lu Y_lm of each edge to its center."""
    for e in range(used):
        at = center[e] * (d * d * c)
        for degree in range(d):
            for u in range(0, c, LANES):
                env = load(tensor, e * (2 * d * c) + degree * c + u)
                for m in range(degree * degree, (degree + 1) * (degree + 1)):
                    place = at + m * c + u
                    store(environment, place, fma(env, splat(y[e, m]), load(environment, place)))


@numba.njit(cache=True)
def make_scalars(
    used: int,
    d: int,
    c: int,
    shared: bool,
    center: NDArray[np.int64],
    y: NDArray[Any],
    tensor: NDArray[Any],
    environment: NDArray[Any],
    dots: NDArray[Any],
    scalars: NDArray[Any],
) -> None:
    """The scalars of each edge, and dots_lu = Σ_m Y_lm A[lm, u]."""
    nothing = splat(y.dtype.type(0.0))
    for e in range(used):
        at, row = center[e] * (d * d * c), e * (2 * d * c) + d * c
        for u in range(0, c, LANES):
            together = nothing
            for degree in range(d):
                dot = nothing
                for m in range(degree * degree, (degree + 1) * (degree + 1)):
                    dot = fma(load(environment, at + m * c + u), splat(y[e, m]), dot)
                store(dots, e * (d * c) + degree * c + u, dot)
                own = load(tensor, row + degree * c + u)
                if shared:
                    together = fma(own, dot, together)
                else:
                    store(scalars, e * (d * c) + degree * c + u, times(own, dot))
            if shared:
                store(scalars, e * c + u, together)


@numba.njit(cache=True)
def pull_scalars(
    used: int,
    d: int,
    c: int,
    shared: bool,
    center: NDArray[np.int64],
    y: NDArray[Any],
    tensor: NDArray[Any],
    gradient: NDArray[Any],
    dots: NDArray[Any],
    on_tensor: NDArray[Any],
    pulled: NDArray[Any],
) -> None:
    """From dE/dscalars (`gradient`): dE/down into `on_tensor`, dE/dA into `pulled`; dots become dE/d(dots)."""
    for e in range(used):
        at, row = center[e] * (d * d * c), e * (2 * d * c) + d * c
        for degree in range(d):
            for u in range(0, c, LANES):
                on_scalars = load(gradient, e * c + u if shared else e * (d * c) + degree * c + u)
                place = e * (d * c) + degree * c + u
                store(on_tensor, row + degree * c + u, times(on_scalars, load(dots, place)))
                on_dots = times(on_scalars, load(tensor, row + degree * c + u))
                store(dots, place, on_dots)
                for m in range(degree * degree, (degree + 1) * (degree + 1)):
                    there = at + m * c + u
                    store(pulled, there, fma(on_dots, splat(y[e, m]), load(pulled, there)))


@numba.njit(cache=True)
def pull_environments(
    used: int,
    d: int,
    c: int,
    center: NDArray[np.int64],
    y: NDArray[Any],
    tensor: NDArray[Any],
    on_dots: NDArray[Any],
    environment: NDArray[Any],
    pulled: NDArray[Any],
    on_tensor: NDArray[Any],
    on_y: NDArray[Any],
) -> None:
    """dE/denv of each edge into `on_tensor`, and dE/dY (not of the constant Y_0)."""
    nothing = splat(y.dtype.type(0.0))
    for e in range(used):
        at, row = center[e] * (d * d * c), e * (2 * d * c)
        for degree in range(d):
            for u in range(0, c, LANES):
                on_env = nothing
                for m in range(degree * degree, (degree + 1) * (degree + 1)):
                    on_env = fma(load(pulled, at + m * c + u), splat(y[e, m]), on_env)
                store(on_tensor, row + degree * c + u, on_env)
            for m in range(max(1, degree * degree), (degree + 1) * (degree + 1)):
                sums = nothing
                for u in range(0, c, LANES):
                    sums = fma(load(tensor, row + degree * c + u), load(pulled, at + m * c + u), sums)
                    on_dot = load(on_dots, e * (d * c) + degree * c + u)
                    sums = fma(on_dot, load(environment, at + m * c + u), sums)
                on_y[e, m] = sum_of(sums)
