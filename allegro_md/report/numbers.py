"""Numbers for people: rounded to their error, with a typographic minus and powers of ten."""

from __future__ import annotations

import math

DIGITS = 5
"""Significant digits of a value whose error is not known."""

_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def number(value: float | None, digits: int = DIGITS) -> str:
    """A value with so many significant digits; “–” for one that is not there, or is no number."""
    if value is None or not math.isfinite(value):
        return "–"
    if value == 0.0:
        return "0"
    exponent = math.floor(math.log10(abs(value)))
    return _fixed(value, digits - 1 - exponent, _scale(exponent))


def with_error(value: float | None, error: float | None) -> tuple[str, str]:
    """A value and its error, both rounded to two significant digits of the error.

    Where there is no error, or it is zero or larger than the value by much, the value has `DIGITS` digits of its own.
    """
    if value is None or error is None or not (math.isfinite(value) and math.isfinite(error)) or error <= 0.0:
        return number(value), number(error, 2)
    last = 1 - _exponent_of_rounded(error)  # decimals that are shown
    largest = max(abs(value), error)
    scale = _scale(math.floor(math.log10(largest)))
    return _fixed(value, last, scale), _fixed(error, last, scale)


def integer(value: int) -> str:
    """A whole number with thin groups of three digits."""
    return f"{value:,}".replace(",", "\N{NARROW NO-BREAK SPACE}")


def duration(fs: float) -> str:
    """A time in fs, ps or ns, whichever reads best."""
    for unit, factor in (("ns", 1e6), ("ps", 1e3)):
        if abs(fs) >= factor:
            return f"{number(fs / factor, 4)} {unit}"
    return f"{number(fs, 4)} fs"


def _exponent_of_rounded(error: float) -> int:
    """The power of ten of the first digit, after rounding to two digits (0.0996 becomes 0.10)."""
    return int(f"{error:.1e}".split("e")[1])


def _scale(exponent: int) -> int:
    """The power of ten that is written apart: none for numbers of a usual size."""
    return 0 if -4 <= exponent <= 6 else exponent


def _fixed(value: float, decimals: int, scale: int) -> str:
    """`value` rounded to a number of decimals, as a multiple of 10^scale."""
    shown = max(0, decimals + scale)
    rounded = round(value, decimals) * 10.0**-scale
    text = f"{rounded:.{shown}f}".replace("-", "−")
    return text if scale == 0 else f"{text}·10{str(scale).translate(_SUPERSCRIPT)}"
