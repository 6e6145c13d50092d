"""Activations and their derivatives over whole arrays, in wide vectors.

Nothing calls the C library (`exponential` says why). Every operation is elementwise and correctly rounded, so the lane
a number lands in cannot be seen. Values are exact to some units in the last place of max(1, |z|), slopes to some of 1.

Arguments, float32 or float64: z, value and slope (n,), n a whole number of wide vectors; value and slope are written.
"""

from __future__ import annotations

import math
from typing import Any

import numba
from numba import types
from numba.extending import overload
from numpy.typing import NDArray

from allegro_md.kernels.cpu_vector import (
    divide,
    fma,
    if_positive,
    lanes_of,
    least,
    load_wide,
    minus,
    most,
    plus,
    splat_as,
    store,
    times,
)
from allegro_md.kernels.exponential import falling

SILU, GELU, MISH, NONE = 0, 1, 2, 3
"""Codes of the activations."""

CODES: dict[str | None, int] = {"silu": SILU, "gelu": GELU, "mish": MISH, None: NONE}

_END = 12.5  # of |z|: Φ is 0 or 1 from there on, to 10⁻³⁵
_MIDDLE = 5.0  # a of `tail`
_DENSITY = math.sqrt(0.5 / math.pi)

_TAIL32 = (
    0.0003593960981315309, -0.0010853891030757326, -0.003036792250118449, 0.020893101370553932, -0.06908745306032764,
    0.16500897351968052, -0.31353689229548726, 0.49530611484717507, -0.665382401390655, 0.7691930453303072,
)  # fmt: skip
_TAIL64 = (
    -1.0298978053431174e-08, -3.019925375502174e-08, 1.0629932678338196e-07, 4.6581198771898827e-07,
    -3.579626933661595e-07, -2.798988930796388e-06, 3.97672920219401e-06, 1.6689231067086938e-05,
    -4.975972266823459e-05, -5.9376675732580895e-05, 0.0005448984523269273, -0.0007978693552802577,
    -0.0029933767114418064, 0.02079506680034029, -0.06911863870924083, 0.16502036617030016, -0.3135331566712377,
    0.4953056159699779, -0.6653825028900572, 0.769193049750063,
)  # fmt: skip
"""Coefficients of the polynomial of `tail`, highest power first."""


def _polynomial(coefficients: tuple[float, ...]) -> Any:
    def code(w: Any) -> Any:
        t = fma(splat_as(-2.0 * _MIDDLE, w), w, splat_as(1.0, w))
        p = splat_as(coefficients[0], w)
        for n in range(1, len(coefficients)):
            p = fma(p, t, splat_as(coefficients[n], w))
        return times(p, w)

    return code


_POLYNOMIAL32, _POLYNOMIAL64 = _polynomial(_TAIL32), _polynomial(_TAIL64)


def tail(w: Any) -> Any:
    """exp(y²/2) (1 − Φ(y)) of a vector w = 1 / (y + a), 0 ≤ y ≤ `_END` and a = `_MIDDLE`; for compiled code.

    Times y + a, it is a polynomial in (y − a) / (y + a): M. M. Shepherd, J. G. Laframboise, Math. Comp. 36, 249 (1981).
    Its coefficients come from the values at Chebyshev's nodes.
    """
    raise NotImplementedError


@overload(tail, inline="never")  # type: ignore[untyped-decorator]
def _tail(w: Any) -> Any:
    return _POLYNOMIAL32 if w.real == types.float32 else _POLYNOMIAL64


@numba.njit(cache=True)
def silu(z: NDArray[Any], value: NDArray[Any], slope: NDArray[Any]) -> None:
    """Computes z σ(z) and its derivative; all (n,) float32 or float64, whole wide vectors."""
    for k in range(0, len(z), lanes_of(z)):
        x = load_wide(z, k)
        one = splat_as(1.0, x)
        e = falling(x)
        s = divide(one, plus(one, e))
        h = times(x, s)
        store(value, k, h)
        store(slope, k, fma(h, times(e, s), s))  # 1 − σ = e σ, without cancellation


@numba.njit(cache=True)
def gelu(z: NDArray[Any], value: NDArray[Any], slope: NDArray[Any]) -> None:
    """Computes z Φ(z), Φ of the normal distribution, and its derivative; all (n,), types and length as for `silu`."""
    for k in range(0, len(z), lanes_of(z)):
        x = load_wide(z, k)
        zero, one = splat_as(0.0, x), splat_as(1.0, x)
        near = most(splat_as(-_END, x), least(splat_as(_END, x), x))  # NaN stays
        y = most(near, minus(zero, near))
        e = falling(0.5 * times(y, y))
        beyond = times(e, tail(divide(one, plus(y, splat_as(_MIDDLE, x)))))  # 1 − Φ(y)
        store(value, k, fma(minus(zero, y), beyond, most(x, zero)))
        density = times(e, splat_as(_DENSITY, x))
        store(slope, k, fma(near, density, if_positive(x, minus(one, beyond), beyond)))


@numba.njit(cache=True)
def mish(z: NDArray[Any], value: NDArray[Any], slope: NDArray[Any]) -> None:
    """Computes z tanh(ln(1 + eᶻ)) and its derivative; all (n,), types and length as for `silu`.

    With e = eᶻ, tanh is (e² + 2e) / (e² + 2e + 2) and its derivative 4 e (e + 1) / (e² + 2e + 2)².
    """
    for k in range(0, len(z), lanes_of(z)):
        x = load_wide(z, k)
        one, two = splat_as(1.0, x), splat_as(2.0, x)
        x = most(splat_as(-80.0, x), x)  # tanh is below 10⁻³⁴ there
        near = least(splat_as(22.0, x), x)  # and 1 from here on
        e = falling(minus(splat_as(0.0, x), near))
        above = times(e, plus(e, two))
        w = divide(one, plus(above, two))
        t = times(above, w)
        store(value, k, times(x, t))
        bend = times(times(4.0 * e, w), times(plus(e, one), w))
        store(slope, k, fma(near, bend, t))


@numba.njit(cache=True)
def activate(code: int, z: NDArray[Any], value: NDArray[Any], slope: NDArray[Any]) -> None:
    """Applies the activation of a code, not `NONE`; all (n,) float32 or float64, whole wide vectors."""
    if code == SILU:
        silu(z, value, slope)
    elif code == GELU:
        gelu(z, value, slope)
    else:
        mish(z, value, slope)
