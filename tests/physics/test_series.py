"""The statistics that judge the physics, against series whose drift and error are known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import series

LENGTH, TRIALS = 2048, 200


def white(rng: Any) -> Any:
    return rng.normal(size=LENGTH)


def correlated(rng: Any) -> Any:
    """Ornstein–Uhlenbeck, correlated over 50 samples."""
    from scipy.signal import lfilter

    return lfilter([1.0], [1.0, -0.98], rng.normal(size=LENGTH))


def walk(rng: Any) -> Any:
    return np.cumsum(rng.normal(size=LENGTH))


@pytest.mark.parametrize(("make", "which"), [(white, "error"), (correlated, "error"), (walk, "wandering")])
def test_standard_error_of_the_drift_is_that_of_repetitions(make: Any, which: str) -> None:
    rng, time = np.random.default_rng(0), np.arange(0.0, 0.5 * LENGTH, 0.5)
    drifts = [series.drift(time, make(rng) + 3.0 * time) for _ in range(TRIALS)]
    true = np.std([d.slope for d in drifts])
    assert np.mean([d.slope for d in drifts]) == pytest.approx(3.0, abs=4 * true / np.sqrt(TRIALS))
    assert 0.75 < np.median([getattr(d, which) for d in drifts]) / true < 1.5


def test_a_fit_to_all_points_would_not_do() -> None:
    """What the blocks are for: the textbook error of correlated data is several times too small."""
    rng, time = np.random.default_rng(1), np.arange(LENGTH) * 1.0
    slopes, naive = [], []
    for _ in range(TRIALS):
        fit, covariance = np.polyfit(time, correlated(rng), 1, cov=True)
        slopes.append(fit[0])
        naive.append(np.sqrt(covariance[0, 0]))
    assert np.std(slopes) > 5.0 * np.median(naive)


def test_error_of_the_mean() -> None:
    rng = np.random.default_rng(2)
    means = [series.mean(correlated(rng)) for _ in range(TRIALS)]
    assert 0.75 < np.median([error for _, error in means]) / np.std([value for value, _ in means]) < 1.5


def test_order_and_fluctuation_about_a_line() -> None:
    steps = np.array([0.5, 1.0, 2.0, 4.0])
    assert series.order(steps, 3e-7 * steps**2) == pytest.approx(2.0)
    time = np.arange(1000.0)
    assert series.detrended_rms(time, 5.0 - 2.0 * time + np.sin(2 * np.pi * time / 10)) == pytest.approx(
        np.sqrt(0.5), rel=1e-3
    )
