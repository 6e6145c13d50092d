"""The tensor sum of a folded network, edge by edge: environments, scalars, and the way back.

Components lm of harmonics run over degrees², channels u fastest; a tensor row holds env_lu and then own_lu.
"""

from __future__ import annotations

from typing import Any

import numba
from numpy.typing import NDArray

from allegro_md.kernels.cpu_table import total


@numba.njit(cache=True)
def environment_row(d: int, c: int, y: NDArray[Any], tensor: NDArray[Any], environment: NDArray[Any]) -> None:
    """Adds an edge to the environment (degrees², C) of its center."""
    for degree in range(d):
        env = tensor[degree * c : (degree + 1) * c]
        for m in range(degree * degree, (degree + 1) * (degree + 1)):
            out, factor = environment[m], y[m]
            for u in range(c):
                out[u] += env[u] * factor


@numba.njit(cache=True)
def scalars_row(
    d: int,
    c: int,
    shared: bool,
    y: NDArray[Any],
    tensor: NDArray[Any],
    environment: NDArray[Any],
    dots: NDArray[Any],
    scalars: NDArray[Any],
) -> None:
    """The scalars of an edge, and dots_lu = Σ_m Y_lm A[lm, u]."""
    for degree in range(d):
        dot = dots[degree * c : (degree + 1) * c]
        dot[:] = 0.0
        for m in range(degree * degree, (degree + 1) * (degree + 1)):
            row, factor = environment[m], y[m]
            for u in range(c):
                dot[u] += row[u] * factor
        own = tensor[(d + degree) * c : (d + degree + 1) * c]
        if shared and degree > 0:
            for u in range(c):
                scalars[u] += own[u] * dot[u]
        else:
            out = scalars[degree * c : (degree + 1) * c]
            for u in range(c):
                out[u] = own[u] * dot[u]


@numba.njit(cache=True)
def pulled_row(
    d: int,
    c: int,
    shared: bool,
    y: NDArray[Any],
    tensor: NDArray[Any],
    gradient: NDArray[Any],
    dots: NDArray[Any],
    tensor_gradient: NDArray[Any],
    pulled: NDArray[Any],
) -> None:
    """From dE/dscalars of an edge: dE/down into its row, dE/denvironment into its center; dots become dE/d(dots)."""
    for degree in range(d):
        dot, own = dots[degree * c : (degree + 1) * c], tensor[(d + degree) * c : (d + degree + 1) * c]
        on_own = tensor_gradient[(d + degree) * c : (d + degree + 1) * c]
        on_scalars = gradient[:c] if shared else gradient[degree * c : (degree + 1) * c]
        for u in range(c):
            on_own[u] = on_scalars[u] * dot[u]
            dot[u] = on_scalars[u] * own[u]
        for m in range(degree * degree, (degree + 1) * (degree + 1)):
            out, factor = pulled[m], y[m]
            for u in range(c):
                out[u] += dot[u] * factor


@numba.njit(cache=True)
def tensor_gradient(
    d: int,
    c: int,
    y: NDArray[Any],
    tensor: NDArray[Any],
    on_dots: NDArray[Any],
    environment: NDArray[Any],
    pulled: NDArray[Any],
    gradient: NDArray[Any],
    on_harmonics: NDArray[Any],
    work: NDArray[Any],
) -> None:
    """dE/denv of an edge into its row, and dE/dY (degrees²; not of the constant Y_0)."""
    for degree in range(d):
        env, on_dot = tensor[degree * c : (degree + 1) * c], on_dots[degree * c : (degree + 1) * c]
        on_env = gradient[degree * c : (degree + 1) * c]
        on_env[:] = 0.0
        for m in range(degree * degree, (degree + 1) * (degree + 1)):
            row, back, factor = environment[m], pulled[m], y[m]
            for u in range(c):
                on_env[u] += back[u] * factor
            if degree > 0:
                for u in range(c):
                    work[u] = env[u] * back[u] + on_dot[u] * row[u]
                on_harmonics[m] = total(work, c)
