"""Numbers are rounded to their error, so that no digit says more than is known."""

from __future__ import annotations

import math

import pytest

from allegro_md.report.numbers import duration, integer, number, with_error


@pytest.mark.parametrize(
    ("value", "error", "expected"),
    [
        (836.04, 1.23, ("836.0", "1.2")),
        (-0.123456, 0.00234, ("−0.1235", "0.0023")),
        (0.5, 0.0996, ("0.50", "0.10")),  # the error rounds up to another power of ten
        (1.2345e-5, 1.04e-6, ("1.23·10⁻⁵", "0.10·10⁻⁵")),
        (1234.5, 151.0, ("1230", "150")),
        (0.0, 0.1, ("0.00", "0.10")),
        (3.0, 0.0, ("3.0000", "0")),
        (3.0, None, ("3.0000", "–")),
        (math.nan, 1.0, ("–", "1.0")),
        (None, None, ("–", "–")),
    ],
)
def test_with_error(value: float | None, error: float | None, expected: tuple[str, str]) -> None:
    assert with_error(value, error) == expected


def test_number() -> None:
    assert number(6028.568) == "6028.6"
    assert number(-3.21e-9, 3) == "−3.21·10⁻⁹"
    assert number(math.inf) == "–"
    assert integer(1234567) == "1\N{NARROW NO-BREAK SPACE}234\N{NARROW NO-BREAK SPACE}567"
    assert (duration(12.0), duration(2400.0), duration(3.5e7)) == ("12.00 fs", "2.400 ps", "35.00 ns")
