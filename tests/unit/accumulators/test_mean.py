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
    assert np.sqrt((found.mean**2).mean()) == pytest.approx(known, rel=4.0 / np.sqrt(2 * series))


def test_a_series_shorter_than_its_correlation_is_not_converged() -> None:
    mean = Mean(2)
    mean.add(np.column_stack([np.linspace(0.0, 1.0, 200), autoregressive(0.999, 200, seed=3)[:, 0]]))
    found = mean.estimate()
    assert not found.converged.any()
    assert (found.error > np.array([1.0 / np.sqrt(12.0 * 200)])).all()  # more than if samples were independent


def test_no_samples_one_sample_equal_samples() -> None:
    mean = Mean(2)
    assert np.isnan(mean.estimate().mean).all() and mean.estimate().n_samples == 0
    mean.add(np.array([1.5, -2.0]))
    found = mean.estimate()
    assert found.mean.tolist() == [1.5, -2.0] and np.isnan(found.error).all() and not found.converged.any()
    mean.add(np.full((9, 2), [1.5, -2.0]))
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
    saved = Mean(2)
    saved.add(np.zeros((1, 2)))
    with pytest.raises(ValueError, match="2 columns"):
        Mean().load_state_dict(saved.state_dict())


def test_what_is_not_finite_is_told() -> None:
    mean = Mean()
    mean.add(np.array([1.0, np.nan, 2.0]))
    with pytest.raises(PhysicsError, match="not finite"):
        mean.estimate()
