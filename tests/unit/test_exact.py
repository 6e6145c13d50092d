"""Exact sums against rational arithmetic."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from allegro_md.comm import Comm
from allegro_md.errors import PhysicsError
from allegro_md.exact import FORCE_RANGE, FORCE_SCALE, GLOBAL_BITS, ExactSum

QUANTUM = Fraction(1, 2 ** GLOBAL_BITS["energy"])
LIMIT = 2.0**68 * float(QUANTUM)

terms = st.lists(st.floats(-1e6, 1e6, allow_nan=False), max_size=60)


def total(values: list[float]) -> float:
    return float(ExactSum.of(np.array(values, dtype=np.float64), "energy").value()[0])


@settings(max_examples=200, deadline=None)
@given(terms)
def test_within_half_a_quantum_per_term(values: list[float]) -> None:
    error = abs(Fraction(total(values)) - sum(map(Fraction, values), Fraction(0)))
    rounding = Fraction(np.spacing(abs(total(values)))) / 2
    assert error <= QUANTUM * Fraction(51, 100) * len(values) + rounding


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(-(2**50), 2**50), max_size=60))
def test_correctly_rounded(integers: list[int]) -> None:
    """Terms that are whole fixed-point units are summed without any error but the last rounding."""
    values = [float(QUANTUM * n) for n in integers]
    assert total(values) == math.fsum(values)


@settings(max_examples=100, deadline=None)
@given(terms, st.randoms(use_true_random=False), st.integers(1, 5))
def test_order_and_splitting_do_not_matter(values: list[float], random: object, parts: int) -> None:
    shuffled = list(values)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    limbs = np.sum([ExactSum.of(np.array(shuffled[k::parts]), "energy").limbs for k in range(parts)], axis=0)
    assert ExactSum(limbs, "energy").value()[0] == total(values)


def test_order_matters_in_floating_point() -> None:
    """The test above would be empty if it did not."""
    values = np.random.default_rng(0).normal(size=1000)
    assert values.sum() != values[np.random.default_rng(1).permutation(1000)].cumsum()[-1]


def test_columns() -> None:
    values = np.random.default_rng(2).normal(size=(300, 6))
    expected = [math.fsum(column) for column in values.T]
    np.testing.assert_allclose(ExactSum.of(values, "virial").value(), expected, rtol=0, atol=300 * float(QUANTUM))
    assert ExactSum.of(np.zeros((0, 6)), "virial").value().tolist() == [0.0] * 6


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, LIMIT, -LIMIT, 1e300])
def test_out_of_range_is_an_error(bad: float) -> None:
    with pytest.raises(PhysicsError, match="row 1 "):
        ExactSum.of(np.array([1.0, bad]), "energy").value()


@pytest.mark.parametrize("kind", GLOBAL_BITS)
def test_largest_terms(kind: str) -> None:
    largest = np.nextafter(2.0**68 / 2.0 ** GLOBAL_BITS[kind], 0.0)
    for sign in (1.0, -1.0):
        assert ExactSum.of(np.full(8, sign * largest), kind).value()[0] == sign * 8 * largest


class _ManyRanks(Comm):
    """As if this many ranks had the same part."""

    def sum(self, values: np.ndarray) -> np.ndarray:
        return values * 2**20


def test_sum_over_a_million_full_ranks_does_not_wrap() -> None:
    """Each rank holds as much as its words can: (2³⁶ − 1)·2²⁷ in the high one."""
    high = (2**36 - 1) * 2**27
    part = ExactSum(np.array([[high >> 32, high & 0xFFFFFFFF, 0xFFFFFFFF]]), "energy")
    expected = float(Fraction((high << 32) + 0xFFFFFFFF) * QUANTUM) * 2**20
    ranks = _ManyRanks()
    ranks.size = 2**20
    assert ranks.reduce(part)[0] == expected


def test_force_format() -> None:
    assert FORCE_SCALE == 2.0**44 and FORCE_RANGE == pytest.approx(5.24288e5)
