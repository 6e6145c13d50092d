"""Exact sums against rational arithmetic."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from allegro_md.accumulators import Total, total
from allegro_md.errors import PhysicsError

SMALLEST, LARGEST = 5e-324, 1.7976931348623157e308
anything = st.lists(st.floats(allow_nan=False, allow_infinity=False), max_size=40)


def summed(values: list[float]) -> Total:
    made = Total()
    made.add(np.array(values, dtype=np.float64))
    return made


@settings(max_examples=300, deadline=None)
@given(anything)
def test_no_bit_is_lost(values: list[float]) -> None:
    assert summed(values).fractions() == [sum(map(Fraction, values), Fraction(0))]


@settings(max_examples=200, deadline=None)
@given(st.lists(st.floats(-1e300, 1e300), max_size=40))
def test_correctly_rounded(values: list[float]) -> None:
    assert summed(values).value()[0] == math.fsum(values)


def test_the_ends_of_the_range() -> None:
    values = [SMALLEST, -SMALLEST, LARGEST, LARGEST, SMALLEST, -LARGEST, 0.0, -0.0]
    assert summed(values).fractions() == [Fraction(SMALLEST) + Fraction(LARGEST)]
    assert summed([-LARGEST] * 5).fractions() == [-5 * Fraction(LARGEST)]


@settings(max_examples=100, deadline=None)
@given(anything)
def test_round_trip_of_the_state(values: list[float]) -> None:
    saved = summed(values)
    again = Total()
    again.load_state_dict(saved.state_dict())
    for one in (saved, again):
        one.add(np.array([0.1, -3e-320]))
    assert again.fractions() == saved.fractions() and again.state_dict() == saved.state_dict()


def test_order_and_division_do_not_matter(same_in_any_order: Callable[..., None]) -> None:
    values = np.random.default_rng(1).normal(size=(300, 3)) * 10.0 ** np.arange(-100, 200)[:, None]
    whole = Total(3)
    whole.add(values)
    same_in_any_order(lambda: Total(3), [lambda t, k=k: t.add(values[::-1][k::7]) for k in range(7)], whole)
    assert whole.value().tolist() == [math.fsum(column) for column in values.T]
    values = np.random.default_rng(1).normal(size=1000)
    assert values.cumsum()[-1] != values[::-1].cumsum()[-1]  # it does in floating point


def test_carries_are_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every few terms instead of every 2²⁹, with words as full as they get."""
    monkeypatch.setattr(total, "MOST_TERMS", 3)
    values = [math.ldexp(2.0**53 - 1, k % 40) * (-1) ** (k % 5 == 0) for k in range(200)]
    made = Total()
    for start in range(0, 200, 7):
        made.add(np.array(values[start : start + 7]))
    assert made.fractions() == [sum(map(Fraction, values), Fraction(0))]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_told_when_the_sum_is_asked_for(bad: float) -> None:
    """On all ranks then, not on one that waits alone."""
    made = Total(2)
    made.add(np.array([[1.0, 2.0], [3.0, bad]]))
    other = Total(2)
    other.merge(made)
    other.load_state_dict(other.state_dict())
    with pytest.raises(PhysicsError, match="1 samples .* not finite .* column 1"):
        other.value()


def test_words_of_many_are_added_without_loss() -> None:
    """As they are summed over a thousand ranks: full words, negative sums, and terms that come afterwards."""
    values = [math.ldexp(1.0 - 2.0**53, -20), 1e300, -5e-324, math.ldexp(2.0**53 - 1.0, 11)]
    part, made = summed(values), Total()
    for mine, theirs in zip(made.words(), part.words(), strict=True):
        mine += 1000 * theirs
    made.add(np.array(values))
    assert made.fractions() == [1001 * sum(map(Fraction, values), Fraction(0))]


def test_a_sum_beyond_the_range_of_float64_is_named() -> None:
    made = Total(2)
    made.add(np.array([[1.0, 1e308], [2.0, 1e308]]))
    with pytest.raises(PhysicsError, match="sum in column 1 is beyond the range of float64 .* larger unit"):
        made.value()
    made.add(np.array([[0.0, -1e308]]))
    assert made.value().tolist() == [3.0, 1e308]


@pytest.mark.parametrize("shape", [(3, 2), (6,), (2, 1, 3), (1, 6), ()])
def test_other_shapes_are_refused(shape: tuple[int, ...]) -> None:
    """Also where the number of values is a multiple of the columns."""
    made = Total(3)
    with pytest.raises(ValueError, match=rf"shape \({', '.join(map(str, shape))},?\).*shape \(m, 3\)"):
        made.add(np.ones(shape))
    assert made.value().tolist() == [0.0, 0.0, 0.0]


def test_other_columns_are_refused() -> None:
    with pytest.raises(ValueError, match="a Total with columns = 3 does not fit one with columns = 2"):
        Total(2).merge(Total(3))
    with pytest.raises(ValueError, match="a Total with columns = 3 does not fit one with columns = 2"):
        Total(2).load_state_dict(Total(3).state_dict())
