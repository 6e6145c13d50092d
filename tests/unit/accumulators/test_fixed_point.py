"""Fixed-point sums against fractions, and blocks against sums made block by block."""

from __future__ import annotations

import json
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from allegro_md.accumulators.blocks import FEWEST, Blocks, standard_error
from allegro_md.accumulators.counts import Counts, Joint
from allegro_md.accumulators.fixed_point import FixedPointSum
from allegro_md.comm import Comm
from allegro_md.errors import PhysicsError

BITS = 42


def words_of(terms: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Sums of the high words and remainders of terms (n, columns), as a kernel makes them."""
    scaled = terms * 2.0 ** (BITS - 32)
    high = np.floor(scaled)
    return high.astype(np.int64).sum(axis=0), np.rint((scaled - high) * 2.0**32).astype(np.int64).sum(axis=0)


def test_the_sum_is_that_of_the_rounded_terms() -> None:
    """Each term rounded to a quantum, and nothing else: whatever the sign and the size."""
    rng = np.random.default_rng(1)
    terms = rng.normal(size=(5000, 4)) * [1e-9, 1.0, 1e5, 3e7]
    total = FixedPointSum(4, BITS)
    for part in np.array_split(terms, 7):
        total.add_words(slice(None), *words_of(part))
    exact = [sum(Fraction(round(Fraction(t) * 2**BITS), 2**BITS) for t in column) for column in terms.T.tolist()]
    assert total.value().tolist() == [float(x) for x in exact]
    np.testing.assert_allclose(total.value()[1:], terms.sum(axis=0)[1:], rtol=1e-9)


def test_terms_of_columns_that_occur_several_times() -> None:
    """Also where the sum has more quanta than one word holds; terms that are no numbers are faults of their column."""
    rng = np.random.default_rng(5)
    columns, terms = rng.integers(0, 3, 400), rng.uniform(0.0, 2.0**25, 400)
    total = FixedPointSum(4, BITS)
    total.add_at(columns, terms)
    parts = [terms[columns == k].tolist() for k in range(4)]
    exact = [sum(Fraction(round(Fraction(t) * 2**BITS), 2**BITS) for t in part) for part in parts]
    assert total.value().tolist() == [float(x) for x in exact] and exact[0] * 2**BITS > 2**63
    total.add_at(np.array([3, 3]), np.array([np.nan, 1.0]))
    assert total.faults.tolist() == [0, 0, 0, 1]


def test_any_order_of_merging_gives_the_same_bits() -> None:
    rng = np.random.default_rng(2)
    parts = [FixedPointSum(3, BITS) for _ in range(6)]
    for part in parts:
        for _ in range(50):
            part.add_words(np.array([2, 0]), *words_of(rng.normal(size=(90, 2)) * 1e4))
    forwards, backwards = FixedPointSum(3, BITS), FixedPointSum(3, BITS)
    for part in parts:
        forwards.merge(part)
    for part in reversed(parts):
        backwards.merge(part)
    assert forwards.value().tobytes() == backwards.value().tobytes() and forwards.state_dict() == backwards.state_dict()
    assert forwards.value()[1] == 0.0


def test_a_saved_sum_goes_on_with_the_same_bits() -> None:
    total, other = FixedPointSum(2, BITS), FixedPointSum(2, BITS)
    total.add_words(slice(None), *words_of(np.array([[-1.5, 2.0**25], [1e-12, -3.0]])))
    other.load_state_dict(json.loads(json.dumps(total.state_dict())))
    for sums in (total, other):
        sums.add_words(slice(None), *words_of(np.array([[0.1, -7.7]])))
    assert total.value().tobytes() == other.value().tobytes()
    with pytest.raises(ValueError, match="does not fit"):
        FixedPointSum(3, BITS).load_state_dict(total.state_dict())


def test_a_term_beyond_the_range_is_an_error() -> None:
    total = FixedPointSum(1, BITS)
    total.faults[0] += 1
    with pytest.raises(PhysicsError, match="not finite, or beyond 6.7"):
        total.value()


def fed(order: NDArray[np.int64], values: NDArray[np.int64]) -> Blocks[Any]:
    blocks = Blocks(lambda: Joint(sums=Counts(1), samples=Counts(1)))
    for number in order:
        block = blocks.at(int(number))
        block.words()[0][0] += values[number]
        block.words()[1][0] += 1
    return blocks


@pytest.mark.parametrize("n", [1, 5, 31, 32, 33, 1000, 4096])
def test_blocks_are_equal_stretches_of_the_series(n: int) -> None:
    """In any order of samples; there are enough of them, and not too many."""
    rng = np.random.default_rng(n)
    values = rng.integers(-100, 100, n)
    one, other = fed(np.arange(n), values), fed(rng.permutation(n), values)
    assert one.state_dict() == other.state_dict() and one.n_samples == n
    complete = [int(block.words()[0][0]) for block in one.complete()]
    length = one.length
    assert complete == [values[k : k + length].sum() for k in range(0, n - length + 1, length)]
    assert len(complete) <= 2 * FEWEST and (n < FEWEST or len(complete) >= FEWEST)
    assert int(one.whole().words()[0][0]) == values.sum()
    assert one.reduced(Comm.serial()).state_dict() == one.state_dict()


def test_a_saved_series_goes_on() -> None:
    values = np.arange(100)
    half = fed(np.arange(47), values)
    rest = Blocks(lambda: Joint(sums=Counts(1), samples=Counts(1)))
    rest.load_state_dict(json.loads(json.dumps(half.state_dict())))
    for number in range(47, 100):
        block = rest.at(number)
        block.words()[0][0] += values[number]
        block.words()[1][0] += 1
    assert rest.state_dict() == fed(np.arange(100), values).state_dict()


def test_the_error_of_independent_blocks() -> None:
    """It is that of the mean: half of the deviation, of four."""
    assert standard_error(np.array([[1.0], [3.0], [1.0], [3.0]]))[0] == pytest.approx(np.sqrt(4.0 / 3.0) / 2.0)
    assert np.isnan(standard_error(np.ones((1, 2)))).all()
