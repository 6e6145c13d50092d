"""Real spherical harmonics up to l = 3 with |Y_l|² = 2l + 1, in e3nn's order (y polar), and their pull-back."""

from __future__ import annotations

import math
from typing import Any

import numba
from numpy.typing import NDArray

_R3, _R5, _R7, _R15, _R42, _R70, _R105 = (math.sqrt(n) for n in (3.0, 5.0, 7.0, 15.0, 42.0, 70.0, 105.0))


@numba.njit(cache=True)
def harmonics(x: float, y: float, z: float, degrees: int, out: NDArray[Any], e: int) -> None:
    """Fills row e of out (edges, degrees²) with the harmonics of a unit vector; a view of the row would cost more."""
    out[e, 0] = 1.0
    if degrees > 1:
        out[e, 1], out[e, 2], out[e, 3] = _R3 * x, _R3 * y, _R3 * z
    if degrees > 2:
        out[e, 4], out[e, 5], out[e, 7] = _R15 * x * z, _R15 * x * y, _R15 * y * z
        out[e, 6] = _R5 * (y * y - 0.5 * (x * x + z * z))
        out[e, 8] = 0.5 * _R15 * (z * z - x * x)
    if degrees > 3:
        w = x * x + z * z
        out[e, 9] = _R70 / 4.0 * x * (3.0 * z * z - x * x)
        out[e, 10] = _R105 * x * y * z
        out[e, 11] = _R42 / 4.0 * x * (4.0 * y * y - w)
        out[e, 12] = _R7 / 2.0 * y * (2.0 * y * y - 3.0 * w)
        out[e, 13] = _R42 / 4.0 * z * (4.0 * y * y - w)
        out[e, 14] = _R105 / 2.0 * y * (z * z - x * x)
        out[e, 15] = _R70 / 4.0 * z * (z * z - 3.0 * x * x)


@numba.njit(cache=True)
def pull_back(x: float, y: float, z: float, degrees: int, g: NDArray[Any], e: int) -> tuple[float, float, float]:
    """Σ g[e] · ∂Y/∂(x, y, z) of the polynomials at a unit vector; its radial part means nothing."""
    a = b = c = 0.0
    if degrees > 1:
        a, b, c = _R3 * g[e, 1], _R3 * g[e, 2], _R3 * g[e, 3]
    if degrees > 2:
        g4, g5, g6, g7, g8 = _R15 * g[e, 4], _R15 * g[e, 5], _R5 * g[e, 6], _R15 * g[e, 7], _R15 * g[e, 8]
        a += g4 * z + g5 * y - g6 * x - g8 * x
        b += g5 * x + 2.0 * g6 * y + g7 * z
        c += g4 * x + g7 * y - g6 * z + g8 * z
    if degrees > 3:
        w = x * x + z * z
        g9, g15 = 0.75 * _R70 * g[e, 9], 0.75 * _R70 * g[e, 15]
        g10, g14 = _R105 * g[e, 10], _R105 * g[e, 14]
        g11, g12, g13 = _R42 / 4.0 * g[e, 11], _R7 / 2.0 * g[e, 12], _R42 / 4.0 * g[e, 13]
        a += g9 * (z * z - x * x) + g10 * y * z + g11 * (4.0 * y * y - 3.0 * x * x - z * z)
        a -= 6.0 * g12 * x * y + 2.0 * g13 * x * z + g14 * x * y + 2.0 * g15 * x * z
        b += g10 * x * z + 8.0 * g11 * x * y + g12 * (6.0 * y * y - 3.0 * w) + 8.0 * g13 * y * z
        b += 0.5 * g14 * (z * z - x * x)
        c += 2.0 * g9 * x * z + g10 * x * y - 2.0 * g11 * x * z - 6.0 * g12 * y * z
        c += g13 * (4.0 * y * y - x * x - 3.0 * z * z) + g14 * y * z + g15 * (z * z - x * x)
    return a, b, c
