"""Real spherical harmonics up to l = 3 with |Y_l|² = 2l + 1, in e3nn's order (y polar), and their gradients.

The polynomials of each degree take numbers or vectors (`cpu_vector`).
"""

from __future__ import annotations

import math
from typing import Any

import numba
from numpy.typing import NDArray

R3, _R5, _R7, _R15, _R42, _R70, _R105 = (math.sqrt(n) for n in (3.0, 5.0, 7.0, 15.0, 42.0, 70.0, 105.0))


@numba.njit(cache=True)
def second(x: Any, y: Any, z: Any) -> Any:
    """The five of degree 2 of a unit vector."""
    return (
        _R15 * x * z, _R15 * x * y, _R5 * (y * y - 0.5 * (x * x + z * z)), _R15 * y * z,
        0.5 * _R15 * (z * z - x * x),
    )


@numba.njit(cache=True)
def third(x: Any, y: Any, z: Any) -> Any:
    """The seven of degree 3 of a unit vector."""
    w = x * x + z * z
    return (
        _R70 / 4.0 * x * (3.0 * z * z - x * x),
        _R105 * x * y * z,
        _R42 / 4.0 * x * (4.0 * y * y - w),
        _R7 / 2.0 * y * (2.0 * y * y - 3.0 * w),
        _R42 / 4.0 * z * (4.0 * y * y - w),
        _R105 / 2.0 * y * (z * z - x * x),
        _R70 / 4.0 * z * (z * z - 3.0 * x * x),
    )


@numba.njit(cache=True)
def second_backward(x: Any, y: Any, z: Any, g: Any) -> Any:
    """Σ g · ∂Y/∂(x, y, z) of the five polynomials of degree 2."""
    g4, g5, g6, g7, g8 = _R15 * g[0], _R15 * g[1], _R5 * g[2], _R15 * g[3], _R15 * g[4]
    a = g4 * z + g5 * y - g6 * x - g8 * x
    b = g5 * x + 2.0 * g6 * y + g7 * z
    return a, b, g4 * x + g7 * y - g6 * z + g8 * z


@numba.njit(cache=True)
def third_backward(x: Any, y: Any, z: Any, g: Any) -> Any:
    """Σ g · ∂Y/∂(x, y, z) of the seven polynomials of degree 3."""
    w = x * x + z * z
    g9, g15 = 0.75 * _R70 * g[0], 0.75 * _R70 * g[6]
    g10, g14 = _R105 * g[1], _R105 * g[5]
    g11, g12, g13 = _R42 / 4.0 * g[2], _R7 / 2.0 * g[3], _R42 / 4.0 * g[4]
    a = g9 * (z * z - x * x) + g10 * y * z + g11 * (4.0 * y * y - 3.0 * x * x - z * z)
    a = a - (6.0 * g12 * x * y + 2.0 * g13 * x * z + g14 * x * y + 2.0 * g15 * x * z)
    b = g10 * x * z + 8.0 * g11 * x * y + g12 * (6.0 * y * y - 3.0 * w) + 8.0 * g13 * y * z
    b = b + 0.5 * g14 * (z * z - x * x)
    c = 2.0 * g9 * x * z + g10 * x * y - 2.0 * g11 * x * z - 6.0 * g12 * y * z
    return a, b, c + g13 * (4.0 * y * y - x * x - 3.0 * z * z) + g14 * y * z + g15 * (z * z - x * x)


@numba.njit(cache=True, inline="always")
def harmonics(x: float, y: float, z: float, degrees: int, out: NDArray[Any], e: int) -> None:
    """Fills row e of out (edges, degrees²) with the harmonics of a unit vector; a view of the row would cost more."""
    out[e, 0] = 1.0
    if degrees > 1:
        out[e, 1], out[e, 2], out[e, 3] = R3 * x, R3 * y, R3 * z
    if degrees > 2:
        out[e, 4], out[e, 5], out[e, 6], out[e, 7], out[e, 8] = second(x, y, z)
    if degrees > 3:
        out[e, 9], out[e, 10], out[e, 11], out[e, 12], out[e, 13], out[e, 14], out[e, 15] = third(x, y, z)


@numba.njit(cache=True, inline="always")
def harmonics_backward(
    x: float, y: float, z: float, degrees: int, g: NDArray[Any], e: int
) -> tuple[float, float, float]:
    """Σ g[e] · ∂Y/∂(x, y, z) of the polynomials at a unit vector; its radial part means nothing."""
    a = b = c = 0.0
    if degrees > 1:
        a, b, c = R3 * g[e, 1], R3 * g[e, 2], R3 * g[e, 3]
    if degrees > 2:
        a2, b2, c2 = second_backward(x, y, z, (g[e, 4], g[e, 5], g[e, 6], g[e, 7], g[e, 8]))
        a, b, c = a + a2, b + b2, c + c2
    if degrees > 3:
        g3 = (g[e, 9], g[e, 10], g[e, 11], g[e, 12], g[e, 13], g[e, 14], g[e, 15])
        a3, b3, c3 = third_backward(x, y, z, g3)
        a, b, c = a + a3, b + b3, c + c3
    return a, b, c
