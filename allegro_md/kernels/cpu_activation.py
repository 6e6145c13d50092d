"""Activations and their derivatives over whole arrays, in loops that the compiler turns into vector instructions.

The exponential of SiLU is written out, because a call into the C library keeps a loop scalar. Every operation is
elementwise and correctly rounded, so the lane a number lands in cannot be seen.

Arguments, float32 or float64: z, value and slope (n,), n a whole number of wide vectors; value and slope are written.
"""

from __future__ import annotations

import math
from typing import Any

import numba
import numpy as np
from numba import types
from numba.extending import overload
from numpy.typing import NDArray

from allegro_md.kernels.cpu_vector import (
    by_mantissa,
    divide,
    fma,
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

SILU, GELU, MISH, NONE = 0, 1, 2, 3
"""Codes of the activations."""

CODES: dict[str | None, int] = {"silu": SILU, "gelu": GELU, "mish": MISH, None: NONE}


def _exponential(real: Any, terms: int, bound: float) -> Any:
    """exp(−x) for vectors of one type: x = t − k ln 2 with |t| ≤ ½ ln 2, 2^k times the series of exp(−t) to `terms`."""
    mantissa, bias = (23, 127) if real is np.float32 else (52, 1023)
    inverse, two = -1.0 / math.log(2.0), math.log(2.0)
    magic = 1.5 * 2.0**mantissa + bias  # a number this large is whole: its lowest bits are k plus the exponent's bias
    series = tuple((-1.0) ** k / math.factorial(k) for k in range(terms, -1, -1))

    def code(x: Any) -> Any:
        x = most(splat_as(-bound, x), least(splat_as(bound, x), x))  # NaN stays
        biased = fma(x, splat_as(inverse, x), splat_as(magic, x))
        t = fma(minus(biased, splat_as(magic, x)), splat_as(two, x), x)
        p = splat_as(series[0], x)
        for n in range(1, len(series)):
            p = fma(p, t, splat_as(series[n], x))
        return times(p, by_mantissa(biased))

    return code


_EXP32, _EXP64 = _exponential(np.float32, 6, 87.0), _exponential(np.float64, 13, 708.0)


def falling(x: Any) -> Any:
    """exp(−x) of a vector, clamped to the range of normal numbers; for compiled code."""
    raise NotImplementedError


@overload(falling, inline="never")  # type: ignore[untyped-decorator]
def _falling(x: Any) -> Any:
    return _EXP32 if x.real == types.float32 else _EXP64


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


@numba.njit(cache=True, error_model="numpy")
def gelu(z: NDArray[Any], value: NDArray[Any], slope: NDArray[Any]) -> None:
    """Computes z Φ(z), Φ the normal distribution, and its derivative; all (n,) float32 or float64."""
    for k in range(len(z)):
        x = np.float64(z[k])
        phi = 0.5 * (1.0 + math.erf(x * math.sqrt(0.5)))
        value[k] = x * phi
        slope[k] = phi + x * math.exp(-0.5 * x * x) * math.sqrt(0.5 / math.pi)


@numba.njit(cache=True, error_model="numpy")
def mish(z: NDArray[Any], value: NDArray[Any], slope: NDArray[Any]) -> None:
    """Computes z tanh(ln(1 + eᶻ)) and its derivative; all (n,) float32 or float64."""
    for k in range(len(z)):
        x = np.float64(z[k])
        t = math.tanh(max(x, 0.0) + math.log1p(math.exp(-abs(x))))
        value[k] = x * t
        slope[k] = t + x * (1.0 - t * t) / (1.0 + math.exp(-x))


@numba.njit(cache=True)
def activate(code: int, z: NDArray[Any], value: NDArray[Any], slope: NDArray[Any]) -> None:
    """Applies the activation of a code, not `NONE`; all (n,) float32 or float64, whole wide vectors."""
    if code == SILU:
        silu(z, value, slope)
    elif code == GELU:
        gelu(z, value, slope)
    else:
        mish(z, value, slope)
