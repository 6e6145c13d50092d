"""Activations and their derivatives over whole arrays, in loops that the compiler turns into vector instructions.

The exponential is written out, because a call into the C library keeps a loop scalar. Every operation is elementwise
and correctly rounded, so the lane a number lands in cannot be seen.
"""

from __future__ import annotations

import math
from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic, overload
from numpy.typing import NDArray

SILU, GELU, MISH, NONE = 0, 1, 2, 3
"""Codes of the activations."""

CODES: dict[str | None, int] = {"silu": SILU, "gelu": GELU, "mish": MISH, None: NONE}


@intrinsic  # type: ignore[untyped-decorator]
def _power_of_two(_: Any, x: Any) -> Any:
    """2^x of a whole number x within the range of normal numbers, by its bits."""
    bits, bias, mantissa = (32, 127, 23) if x == types.float32 else (64, 1023, 52)

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        whole = ir.IntType(bits)
        exponent = builder.add(builder.fptosi(arguments[0], whole), ir.Constant(whole, bias))
        return builder.bitcast(builder.shl(exponent, ir.Constant(whole, mantissa)), arguments[0].type)

    return x(x), code


def _exponential(kind: Any, terms: int, bound: float) -> Any:
    """exp for one type: x = k ln 2 + t, the series of exp(t) on |t| ≤ ½ ln 2 to `terms` terms, times 2^k."""
    high = kind(float.fromhex("0x1.62ep-1" if kind is np.float32 else "0x1.62e42feep-1"))  # k · high is exact
    low = kind(math.log(2.0) - float(high) if kind is np.float32 else 1.90821492927058770002e-10)
    inverse, half, limit = kind(1.0 / math.log(2.0)), kind(0.5), kind(bound)
    series = tuple(kind(1.0 / math.factorial(k)) for k in range(terms, -1, -1))

    def code(x: Any) -> Any:
        x = min(max(x, -limit), limit)
        k = np.floor(x * inverse + half)
        t = (x - k * high) - k * low
        p = series[0]
        for n in range(1, len(series)):
            p = p * t + series[n]
        return p * _power_of_two(k)

    return code


_EXP32, _EXP64 = _exponential(np.float32, 7, 87.0), _exponential(np.float64, 13, 708.0)


def exponential(x: float) -> float:
    """exp(x) in the type of x, clamped to the range of normal numbers; to be called from compiled code."""
    return math.exp(x)


@overload(exponential, inline="never")  # type: ignore[untyped-decorator]
def _exponential_of(x: Any) -> Any:
    return _EXP32 if x == types.float32 else _EXP64


@numba.njit(cache=True, error_model="numpy")
def silu(z: NDArray[Any], value: NDArray[Any], slope: NDArray[Any]) -> None:
    """z σ(z) and its derivative; one-dimensional arrays that do not overlap."""
    one = z.dtype.type(1.0)
    for k in range(len(z)):
        x = z[k]
        e = exponential(-x)
        s = one / (one + e)
        h = x * s
        value[k] = h
        slope[k] = s + h * (e * s)  # 1 − σ = e σ, without cancellation


@numba.njit(cache=True, error_model="numpy")
def gelu(z: NDArray[Any], value: NDArray[Any], slope: NDArray[Any]) -> None:
    """z Φ(z), Φ the normal distribution, and its derivative."""
    for k in range(len(z)):
        x = np.float64(z[k])
        phi = 0.5 * (1.0 + math.erf(x * math.sqrt(0.5)))
        value[k] = x * phi
        slope[k] = phi + x * math.exp(-0.5 * x * x) * math.sqrt(0.5 / math.pi)


@numba.njit(cache=True, error_model="numpy")
def mish(z: NDArray[Any], value: NDArray[Any], slope: NDArray[Any]) -> None:
    """z tanh(ln(1 + eᶻ)) and its derivative."""
    for k in range(len(z)):
        x = np.float64(z[k])
        t = math.tanh(max(x, 0.0) + math.log1p(math.exp(-abs(x))))
        value[k] = x * t
        slope[k] = t + x * (1.0 - t * t) / (1.0 + math.exp(-x))


@numba.njit(cache=True)
def activate(code: int, z: NDArray[Any], value: NDArray[Any], slope: NDArray[Any]) -> None:
    """The activation of a code, not `NONE`."""
    if code == SILU:
        silu(z, value, slope)
    elif code == GELU:
        gelu(z, value, slope)
    else:
        mish(z, value, slope)
