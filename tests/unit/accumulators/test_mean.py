"""Mean and standard error against numpy, rational arithmetic and processes whose error is known."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.signal import lfilter

from allegro_md.accumulators import Mean
from allegro_md.errors import PhysicsError


def autoregressive(phi: float, n: int, seed: int, series: int = 1) -> NDArray[np.float64]:
    """Stationary AR(1) with variance 1, (n, series): its correlation at a lag k is φᵏ."""
    noise = np.random.default_rng(seed).normal(size=(n, series))
    noise[1:] *= np.sqrt(1.0 - phi**2)
    return np.asarray(lfilter([1.0], [1.0, -phi], noise, axis=0))


def error_of_mean(phi: float, n: int) -> float:
    """√⟨(x̄ − μ)²⟩ of n samples of that process: the double sum over its correlation function."""
    lag = np.arange(1, n)
    return float(np.sqrt((1.0 + 2.0 * ((1.0 - lag / n) * phi**lag).sum()) / n))


def test_independent_samples() -> None:
    values = np.random.default_rng(0).normal(3.0, 2.0, size=(5000, 4))
    mean = Mean(4)
    mean.add(values)
    found = mean.estimate()
    assert found.n_samples == 5000 and found.converged.all()
    np.testing.assert_allclose(found.mean, values.mean(axis=0), rtol=1e-13)
    np.testing.assert_allclose(found.error, values.std(axis=0, ddof=1) / np.sqrt(5000), rtol=0.15)


def test_blocks_are_those_of_numpy() -> None:
    """The error at the block length chosen, from blocks made by numpy."""
    values = autoregressive(0.8, 3001, seed=1)[:, 0]
    mean = Mean()
    mean.add(values)
    found = mean.estimate()
    block = int(found.block[0])
    assert block > 8
    blocks = values[: len(values) // block * block].reshape(-1, block).mean(axis=1)
    np.testing.assert_allclose(found.error[0], blocks.std(ddof=1) / np.sqrt(len(blocks)), rtol=1e-12)


@pytest.mark.parametrize("phi", [0.0, 0.5, 0.9, 0.98])
def test_error_of_correlated_samples_is_the_known_one(phi: float) -> None:
    """On average over series; and the means scatter by as much."""
    n, series = 1 << 14, 64
    mean = Mean(series)
    mean.add(autoregressive(phi, n, seed=2, series=series))
    found = mean.estimate()
    known = error_of_mean(phi, n)
    assert found.converged.all()
    assert np.sqrt((found.error**2).mean()) == pytest.approx(known, rel=0.1)
    assert found.inefficiency.mean() == pytest.approx((1.0 + phi) / (1.0 - phi), rel=0.2)
    assert np.sqrt((found.mean**2).mean()) == pytest.approx(known, rel=4.0 / np.sqrt(2 * series))


def test_a_series_shorter_than_its_correlation_is_not_converged() -> None:
    mean = Mean(2)
    mean.add(np.column_stack([np.linspace(0.0, 1.0, 200), autoregressive(0.999, 200, seed=3)[:, 0]]))
    found = mean.estimate()
    assert not found.converged.any()
    assert (found.error > np.array([1.0 / np.sqrt(12.0 * 200)])).all()  # more than if samples were independent


@pytest.mark.parametrize(("phi", "n"), [(0.9, 16), (0.9, 64), (0.98, 128), (0.98, 512)])
def test_short_series_are_rarely_called_converged(phi: float, n: int) -> None:
    """Of many series with less than ten correlation times; the error taken for good is not half the true one."""
    series = 500
    mean = Mean(series)
    mean.add(autoregressive(phi, n, seed=8, series=series))
    found = mean.estimate()
    too_small = found.converged & (found.error < 0.5 * error_of_mean(phi, n))
    assert found.converged.mean() < 0.05 and too_small.mean() < 0.02


def test_long_series_are_called_converged() -> None:
    """With 50 correlation times nearly all, and few of them with half the true error."""
    phi, n, series = 0.9, 1024, 500
    mean = Mean(series)
    mean.add(autoregressive(phi, n, seed=9, series=series))
    found = mean.estimate()
    too_small = found.converged & (found.error < 0.5 * error_of_mean(phi, n))
    assert found.converged.mean() > 0.9 and too_small.mean() < 0.03


def test_no_samples_one_sample_equal_samples() -> None:
    mean = Mean(2)
    assert np.isnan(mean.estimate().mean).all() and mean.estimate().n_samples == 0
    mean.add(np.array([1.5, -2.0]))
    found = mean.estimate()
    assert found.mean.tolist() == [1.5, -2.0] and np.isnan(found.error).all() and not found.converged.any()
    mean.add(np.full((5, 2), [1.5, -2.0]))
    assert not mean.estimate().converged.any()
    mean.add(np.full((4, 2), [1.5, -2.0]))
    found = mean.estimate()
    assert found.error.tolist() == [0.0, 0.0] and found.converged.all()


def test_small_fluctuations_of_a_large_number() -> None:
    """A total energy that fluctuates in its tenth digit; squares in floating point would hold nothing of that."""
    small = np.random.default_rng(4).integers(-1000, 1000, 4096) * 2.0**-20
    values = -(2.0**25) + small
    mean, plain = Mean(), Mean()
    mean.add(values)
    plain.add(small)
    assert mean.estimate().error[0] == pytest.approx(plain.estimate().error[0], rel=1e-9)
    exact = sum(map(Fraction, values), Fraction(0)) / 4096
    assert mean.estimate().mean[0] == float(exact)
    blurred = np.mean(values**2) - np.mean(values) ** 2
    assert abs(blurred / small.var() - 1.0) > 0.01


@pytest.mark.parametrize("cuts", [[0, 1000], [0, 1, 2, 3, 500, 501, 1000], [0, 333, 334, 712, 1000]])
def test_parts_of_a_series_give_the_bits_of_the_whole(same_in_any_order: Callable[..., None], cuts: list[int]) -> None:
    values = autoregressive(0.7, 1000, seed=5, series=3) + 7.3
    whole = Mean(3)
    whole.add(values)

    def part(first: int, last: int) -> Callable[[Mean], None]:
        return lambda mean: mean.add(values[first:last], first=first)

    parts = [part(*limits) for limits in zip(cuts, cuts[1:], strict=False)]
    same_in_any_order(lambda: Mean(3), parts, whole)
    one_by_one = Mean(3)
    for row in values:
        one_by_one.add(row)
    assert one_by_one.state_dict() == whole.state_dict()


def test_frames_dealt_out_to_ranks(same_in_any_order: Callable[..., None]) -> None:
    """Every third sample to one of three accumulators."""
    values = autoregressive(0.7, 50, seed=6)[:, 0]

    def deal(rank: int) -> Callable[[Mean], None]:
        def fill(mean: Mean) -> None:
            for k in range(rank, 50, 3):
                mean.add(values[k : k + 1], first=k)

        return fill

    whole = Mean()
    whole.add(values)
    same_in_any_order(Mean, [deal(rank) for rank in range(3)], whole)


@pytest.mark.parametrize("saved_at", [0, 1, 77, 128])
def test_continued_after_saving(saved_at: int) -> None:
    values = autoregressive(0.7, 300, seed=7, series=2)
    whole, first, again = Mean(2), Mean(2), Mean(2)
    whole.add(values)
    first.add(values[:saved_at])
    again.add(values[:5])  # is replaced
    again.load_state_dict(first.state_dict())
    again.add(values[saved_at:])
    assert again.state_dict() == whole.state_dict()
    assert np.array_equal(again.estimate().error, whole.estimate().error)


def test_samples_given_twice_and_other_columns_are_refused() -> None:
    mean, other = Mean(), Mean()
    mean.add(np.arange(3.0))
    other.add(np.arange(1.0), first=2)
    with pytest.raises(ValueError, match="samples 2 to 2 are there already"):
        mean.merge(other)
    with pytest.raises(ValueError, match="2 columns"):
        mean.merge(Mean(2))


@pytest.mark.parametrize(("first", "last"), [(0, 1), (0, 2), (3, 4), (3, 9), (1, 2), (6, 9), (8, 12), (0, 20), (-1, 0)])
def test_no_sample_counts_twice(first: int, last: int) -> None:
    """Samples 0 to 3 and 6 to 8 are there; the sums are what they were when more is refused."""
    mean, part, values = Mean(), Mean(), autoregressive(0.7, 40, seed=10)[:, 0]
    mean.add(values[:4])
    mean.add(values[6:9], first=6)
    before, more = mean.state_dict(), values[first : max(last, first + 1)]
    with pytest.raises(ValueError, match="are there already|begin at 0"):
        mean.add(np.resize(more, last - first), first=first)
    assert mean.state_dict() == before
    if first >= 0:
        part.add(more, first=first)
        part.add(values[30:31], first=30)
        with pytest.raises(ValueError, match="are there already"):
            mean.merge(part)
    assert mean.state_dict() == before


@pytest.mark.parametrize("seed", range(5))
def test_numbers_that_are_refused_are_those_of_a_set(seed: int) -> None:
    """Random intervals, against a set of all numbers; what is kept has the bits of the same samples one by one."""
    random, there, mean = np.random.default_rng(seed), set[int](), Mean()
    for _ in range(200):
        first, length = int(random.integers(0, 300)), int(random.integers(0, 6))
        wanted = set(range(first, first + length))
        if wanted & there:
            with pytest.raises(ValueError, match="are there already"):
                mean.add(np.sin(range(first, first + length)), first=first)
        else:
            mean.add(np.sin(range(first, first + length)), first=first)
            there |= wanted
    single = Mean()
    for number in random.permutation(sorted(there)):
        single.add(np.sin([number]), first=int(number))
    assert single.state_dict() == mean.state_dict() and mean.n_samples == len(there)
    gaps = sum(number + 1 not in there for number in there)
    assert len(mean.state_dict()["covered"]) == gaps
    mean.add(np.zeros(1))  # follows the last one
    assert mean.state_dict()["covered"][-1][1] == max(there) + 2


@pytest.mark.parametrize("shape", [(), (3, 1), (3, 3), (2, 3, 1), (6,), (1, 3), (0,)])
def test_other_shapes_are_refused(shape: tuple[int, ...]) -> None:
    """Also where the number of values is a multiple of the columns."""
    mean = Mean(2)
    with pytest.raises(ValueError, match=rf"shape \({', '.join(map(str, shape))},?\).*shape \(m, 2\)"):
        mean.add(np.zeros(shape))
    assert mean.state_dict() == Mean(2).state_dict()


@pytest.mark.parametrize("samples", [0, 3])
def test_a_state_of_other_columns_is_refused(samples: int) -> None:
    saved, mean = Mean(2), Mean()
    saved.add(np.zeros((samples, 2)))
    with pytest.raises(ValueError, match="a state of 2 columns for a series of 1"):
        mean.load_state_dict(saved.state_dict())


def test_what_is_not_finite_is_told() -> None:
    mean = Mean()
    mean.add(np.array([1.0, np.nan, 2.0]))
    with pytest.raises(PhysicsError, match="not finite"):
        mean.estimate()


def test_samples_whose_squares_are_too_large_are_named() -> None:
    """They are finite, and the message says so, with a remedy; smaller ones are no fault."""
    mean = Mean(2)
    mean.add(np.array([[1e153, 1e308], [2e153, 1e308], [3e153, 1.5e308]]))
    with pytest.raises(PhysicsError, match="larger than 1e154 in column 1: .* larger unit") as caught:
        mean.estimate()
    assert "not finite" not in str(caught.value)
    mean = Mean()
    mean.add(np.array([1e153, 2e153, 3e153]))
    assert mean.estimate().error[0] == pytest.approx(1e153 / np.sqrt(3.0))
