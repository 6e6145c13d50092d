"""Exponentials of vectors (`cpu_vector`), written out: a call into the C library would keep a loop scalar, and its last
bits differ between machines.

exp(x) = 2^k exp(t), where k is the whole number next to x / ln 2 and t = x − k ln 2, |t| ≤ ½ ln 2, goes into the series
Σ tⁿ / n!. Every operation rounds once, and none depends on another lane. What k is comes from an addition: a number as
large as `magic` is whole, and the lowest bits of the sum are k plus the bias of exponents, which is all that 2^k needs.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import types
from numba.extending import overload

from allegro_md.kernels.cpu_vector import by_mantissa, fma, least, minus, most, splat_as, times

LN2 = (0.6931471805599453, 2.3190468138462996e-17)
"""ln 2 rounded to float64, and what is left of it."""


def _exponential(real: Any, sign: float, terms: int, bound: float, logarithm: tuple[float, ...]) -> Any:
    """Code for exp(sign · x) of vectors of one type.

    Args:
        real: the type.
        sign: 1 or −1.
        terms: last power of the series.
        bound: x beyond ± this counts as this.
        logarithm: parts of ln 2, largest first. The error of their sum is multiplied by k.
    """
    mantissa, bias = (23, 127) if real is np.float32 else (52, 1023)
    inverse, magic = sign / LN2[0], 1.5 * 2.0**mantissa + bias
    parts = tuple(-sign * part for part in logarithm)
    series = tuple(sign**n / math.factorial(n) for n in range(terms, -1, -1))

    def code(x: Any) -> Any:
        x = most(splat_as(-bound, x), least(splat_as(bound, x), x))  # NaN stays
        biased = fma(x, splat_as(inverse, x), splat_as(magic, x))
        k, t = minus(biased, splat_as(magic, x)), x
        for n in range(len(parts)):
            t = fma(k, splat_as(parts[n], x), t)
        p = splat_as(series[0], x)
        for n in range(1, len(series)):
            p = fma(p, t, splat_as(series[n], x))
        return times(p, by_mantissa(biased))

    return code


_EXP = _exponential(np.float64, 1.0, 13, 709.0, LN2)  # exponent bits of k = −1023 are none: 2^k is 0
_FALLING32 = _exponential(np.float32, -1.0, 6, 87.0, LN2[:1])
_FALLING64 = _exponential(np.float64, -1.0, 13, 708.0, LN2[:1])


def exponential(x: Any) -> Any:
    """exp(x) of a float64 vector, to a unit in the last place; for compiled code.

    It is 0 below −708.74, where the result is no normal number, and exp(709) above 709.
    """
    raise NotImplementedError


@overload(exponential, inline="never")  # type: ignore[untyped-decorator]
def _exponential_of(x: Any) -> Any:
    return _EXP


def falling(x: Any) -> Any:
    """exp(−x) of a vector, clamped to the range of normal numbers; for compiled code.

    For sums with numbers near 1: the relative error grows with |x|, to 10⁻⁷ (float32) and 10⁻¹³ (float64) at the ends.
    """
    raise NotImplementedError


@overload(falling, inline="never")  # type: ignore[untyped-decorator]
def _falling(x: Any) -> Any:
    return _FALLING32 if x.real == types.float32 else _FALLING64
