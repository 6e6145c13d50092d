"""Real spherical harmonics up to l = 3 with |Y_l|² = 2l + 1, in e3nn's order (y polar), and their pull-back."""

from __future__ import annotations

import math
from typing import Any

import numba
from numpy.typing import NDArray

_R3, _R5, _R7, _R15, _R42, _R70, _R105 = (math.sqrt(n) for n in (3.0, 5.0, 7.0, 15.0, 42.0, 70.0, 105.0))


@numba.njit(cache=True)
def harmonics(x: float, y: float, z: float, degrees: int, out: NDArray[Any]) -> None:
    """Fills out (degrees²) with the harmonics of a unit vector."""
    out[0] = 1.0
    if degrees > 1:
        out[1], out[2], out[3] = _R3 * x, _R3 * y, _R3 * z
    if degrees > 2:
        out[4], out[5], out[7] = _R15 * x * z, _R15 * x * y, _R15 * y * z
        out[6] = _R5 * (y * y - 0.5 * (x * x + z * z))
        out[8] = 0.5 * _R15 * (z * z - x * x)
    if degrees > 3:
        w = x * x + z * z
        out[9] = _R70 / 4.0 * x * (3.0 * z * z - x * x)
        out[10] = _R105 * x * y * z
        out[11] = _R42 / 4.0 * x * (4.0 * y * y - w)
        out[12] = _R7 / 2.0 * y * (2.0 * y * y - 3.0 * w)
        out[13] = _R42 / 4.0 * z * (4.0 * y * y - w)
        out[14] = _R105 / 2.0 * y * (z * z - x * x)
        out[15] = _R70 / 4.0 * z * (z * z - 3.0 * x * x)


@numba.njit(cache=True)
def pull_back(x: float, y: float, z: float, degrees: int, g: NDArray[Any]) -> tuple[float, float, float]:
    """Σ g · ∂Y/∂(x, y, z) of the polynomials at a unit vector; its radial part means nothing."""
    a = b = c = 0.0
    if degrees > 1:
        a, b, c = _R3 * g[1], _R3 * g[2], _R3 * g[3]
    if degrees > 2:
        g4, g5, g6, g7, g8 = _R15 * g[4], _R15 * g[5], _R5 * g[6], _R15 * g[7], _R15 * g[8]
        a += g4 * z + g5 * y - g6 * x - g8 * x
        b += g5 * x + 2.0 * g6 * y + g7 * z
        c += g4 * x + g7 * y - g6 * z + g8 * z
    if degrees > 3:
        w = x * x + z * z
        g9, g15 = 0.75 * _R70 * g[9], 0.75 * _R70 * g[15]
        g10, g14 = _R105 * g[10], _R105 * g[14]
        g11, g12, g13 = _R42 / 4.0 * g[11], _R7 / 2.0 * g[12], _R42 / 4.0 * g[13]
        a += g9 * (z * z - x * x) + g10 * y * z + g11 * (4.0 * y * y - 3.0 * x * x - z * z)
        a -= 6.0 * g12 * x * y + 2.0 * g13 * x * z + g14 * x * y + 2.0 * g15 * x * z
        b += g10 * x * z + 8.0 * g11 * x * y + g12 * (6.0 * y * y - 3.0 * w) + 8.0 * g13 * y * z
        b += 0.5 * g14 * (z * z - x * x)
        c += 2.0 * g9 * x * z + g10 * x * y - 2.0 * g11 * x * z - 6.0 * g12 * y * z
        c += g13 * (4.0 * y * y - x * x - 3.0 * z * z) + g14 * y * z + g15 * (z * z - x * x)
    return a, b, c
