"""The multiple-tau correlator against direct sums, block averages by numpy, and known correlation functions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.signal import lfilter

from allegro_md.accumulators import Correlator, correlator
from allegro_md.errors import PhysicsError

CHANNEL = np.array([0, 2, 0, 2, 2])
LONGEST = 200


def series(n: int, items: int = 5, components: int = 3, seed: int = 0) -> NDArray[np.float64]:
    """Correlated samples (n, items, components)."""
    noise = np.random.default_rng(seed).normal(size=(n, items, components))
    return np.asarray(lfilter([1.0], [1.0, -0.8], noise, axis=0))


def filled(samples: NDArray[np.float64], channel: Any = CHANNEL, channels: int = 3, **options: Any) -> Correlator:
    made = Correlator(channel, channels, samples.shape[2], options.pop("longest", LONGEST), **options)
    for sample in samples:
        made.add(sample)
    return made


def direct(samples: NDArray[np.float64], lag: int) -> NDArray[np.float64]:
    """⟨a(t) · a(t + lag)⟩ of each item (items,), over all pairs there are."""
    n = len(samples)
    return np.einsum("tic,tic->i", samples[: n - lag], samples[lag:]) / (n - lag)


@pytest.mark.parametrize(("points", "averaged"), [(16, 2), (8, 4), (9, 3)])
def test_equals_direct_sums_of_block_averages(points: int, averaged: int) -> None:
    """At every lag; of single samples where lags are short."""
    samples = series(700)
    table = filled(samples, points=points, averaged=averaged).correlation.table()
    assert (np.diff(table.lag) > 0).all() and table.lag[0] == 0
    assert table.lag[table.block == 1].tolist() == list(range(points))
    assert table.lag[-1] >= LONGEST and table.block.max() > 8
    for lag, block, value, products in zip(*table[:1], table.block, table.value, table.products, strict=True):
        whole = len(samples) // block
        averages = samples[: whole * block].reshape(whole, block, 5, 3).mean(axis=1)
        expected = direct(averages, lag // block)
        np.testing.assert_allclose(value[[0, 2]], [expected[[0, 2]].mean(), expected[[1, 3, 4]].mean()], rtol=1e-12)
        assert np.isnan(value[1])
        assert products.tolist() == [2 * (whole - lag // block), 0, 3 * (whole - lag // block)]


def test_beyond_the_exact_lags_the_error_is_the_stated_one() -> None:
    """(B² − 1)/12 · C″, of a vector that turns: C(τ) = cos ωτ, C″ = −ω² C; next order (B ω)⁴."""
    n, omega = 40_000, 2.0 * np.pi / 400.0
    angle = omega * np.arange(n)
    samples = np.stack([np.cos(angle), np.sin(angle)], axis=1)[:, None]
    table = filled(samples, np.zeros(1, int), 1).correlation.table()
    beyond = table.block > 1
    assert beyond.sum() > 20
    exact = np.cos(omega * table.lag)
    difference = table.value[:, 0] - exact
    np.testing.assert_allclose(difference[~beyond], 0.0, atol=1e-12)
    block = table.block.astype(float)
    stated = -((block**2 - 1.0) / 12.0) * omega**2 * exact
    assert (np.abs(difference - stated) < 0.01 * (block * omega) ** 4 + 1e-12).all()
    assert (np.abs(difference) <= (2.0 * table.lag / 16.0) ** 2 / 12.0 * omega**2 + 1e-12).all()
    assert np.abs(difference[beyond]).max() > 1e-3  # there is something to be stated


def test_known_correlation_of_a_random_process() -> None:
    """AR(1) of many items: φᵏ; where samples are averaged, with triangular weights."""
    phi, n, items = 0.95, 6_000, 200
    noise = np.random.default_rng(3).normal(size=(n, items, 1))
    noise[1:] *= np.sqrt(1.0 - phi**2)
    samples = np.asarray(lfilter([1.0], [1.0, -phi], noise, axis=0))
    table = filled(samples, np.zeros(items, int), 1, longest=60).correlation.table()
    for lag, block, value in zip(table.lag, table.block, table.value[:, 0], strict=True):
        apart = lag + np.subtract.outer(np.arange(block), np.arange(block))
        known = (phi ** np.abs(apart)).mean()
        # Bartlett: the variance of a correlation is at most (1 + φ²)/(1 − φ²) · 2/n for each item
        assert abs(value - known) < 4.0 * np.sqrt(2.0 * (1.0 + phi**2) / (1.0 - phi**2) / (n * items))


def test_items_divided_over_ranks_give_the_same_bits(same_in_any_order: Callable[..., None]) -> None:
    """The sums that are merged over ranks; and of correlators merged whole, what follows."""
    samples = series(150)
    whole = filled(samples)
    groups: tuple[list[int], ...] = ([3], [0, 4], [], [2, 1])

    def part(items: list[int]) -> Correlator:
        return filled(samples[:100, items], CHANNEL[items])

    def share(items: list[int]) -> Callable[[Any], None]:
        return lambda empty: empty.merge(filled(samples[:, items], CHANNEL[items]).correlation)

    empty = lambda: Correlator(CHANNEL[:0], 3, 3, LONGEST).correlation  # noqa: E731
    same_in_any_order(empty, [share(items) for items in groups], whole.correlation)
    together = part(groups[0])
    for items in groups[1:]:
        together.merge(part(items))
    for sample in samples[100:, [3, 0, 4, 2, 1]]:
        together.add(sample)
    assert together.correlation.state_dict() == whole.correlation.state_dict()


@pytest.mark.parametrize("saved_at", [0, 1, 31, 96])
def test_continued_after_saving(saved_at: int) -> None:
    samples = series(200)
    whole, first, again = filled(samples), filled(samples[:saved_at]), filled(samples[:7])
    state = first.state_dict()
    first.add(samples[0])  # the state does not change with its source
    again.load_state_dict(state)
    for sample in samples[saved_at:]:
        again.add(sample)
    assert again.correlation.state_dict() == whole.correlation.state_dict()
    for name in ("history", "partial"):
        for mine, theirs in zip(again.state_dict()[name], whole.state_dict()[name], strict=True):
            assert mine.tobytes() == theirs.tobytes()


def test_independent_runs_are_averaged() -> None:
    """Sums of series of different lengths, as of several runs."""
    one, two = series(300, seed=1), series(500, seed=2)
    both = filled(one).correlation
    both.merge(filled(two).correlation)
    table = both.table()
    lag = 5
    expected = (direct(one, lag) * (300 - lag) + direct(two, lag) * (500 - lag)) / (800 - 2 * lag)
    np.testing.assert_allclose(table.value[lag, 0], expected[[0, 2]].mean(), rtol=1e-12)


def test_few_samples() -> None:
    made = filled(series(3))
    assert made.correlation.table().lag.tolist() == [0, 1, 2]
    assert Correlator(CHANNEL, 3, 3, 10).correlation.table().value.shape == (0, 3)


def test_products_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """As of more items than an exact sum takes between two carries."""
    whole = filled(series(40))
    monkeypatch.setattr(correlator, "MOST_TERMS", 2)
    assert filled(series(40)).correlation.state_dict() == whole.correlation.state_dict()


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e200])
def test_what_is_not_finite_is_told(value: float) -> None:
    """A product that is too large included, which is no fault of the sample; the message names the channel."""
    samples = series(20)
    samples[3, 1, 0] = value
    with pytest.raises(PhysicsError, match="products .* channel 2 are not finite: .* larger than 1e154 — "):
        filled(samples).correlation.table()


def test_sums_may_be_larger_than_float64() -> None:
    samples = np.full((8, 5, 1), 1e154)
    assert filled(samples).correlation.table().value[0, 0] == pytest.approx(1e308)


def test_what_does_not_fit_is_refused() -> None:
    for options in ({"points": 15}, {"averaged": 1}, {"points": 2, "averaged": 4}, {"longest": 0}):
        with pytest.raises(ValueError, match="must be a multiple"):
            Correlator(CHANNEL, 3, 3, **({"longest": 10} | options))
    for channel in ([0, 3], [-1, 0]):
        with pytest.raises(ValueError, match="channels .* of 3"):
            Correlator(np.array(channel), 3, 3, 10)
    made = filled(series(20))
    before = made.correlation.state_dict()
    for shape in ((3, 5), (15,), (1, 5, 3), (5, 2)):
        with pytest.raises(ValueError, match=r"shape \(.*\), where \(items, components\) = \(5, 3\)"):
            made.add(np.ones(shape))
    assert made.n_samples == 20 and made.correlation.state_dict() == before
    with pytest.raises(ValueError, match="19 samples"):
        made.merge(filled(series(19)))
    with pytest.raises(ValueError, match="levels = 14, .* does not fit one with .* levels = 5"):
        made.merge(filled(series(20), longest=100_000))
    with pytest.raises(ValueError, match=r"items \(4, 16, 3\)"):
        made.load_state_dict(filled(series(20, items=4), CHANNEL[:4]).state_dict())
    with pytest.raises(ValueError, match="levels = 14, .* does not fit one with .* levels = 5"):
        made.correlation.load_state_dict(filled(series(20), longest=100_000).correlation.state_dict())
