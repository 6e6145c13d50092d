"""Histograms against numpy's."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from allegro_md.accumulators import Histogram
from allegro_md.errors import PhysicsError


def make() -> Histogram:
    return Histogram(-1.0, 2.0, 37)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_counts_are_those_of_numpy(dtype: str) -> None:
    """Samples on edges among them."""
    values = np.random.default_rng(0).normal(size=(1000, 5)).astype(dtype)
    histogram = make()
    values[:38, 0] = histogram.edges
    for part in np.array_split(values, 9):
        histogram.add(part)
    expected, edges = np.histogram(values.astype(np.float64), 37, (-1.0, 2.0))
    assert np.array_equal(histogram.edges, edges)
    assert histogram.counts.dtype == np.int64 and np.array_equal(histogram.counts, expected)
    assert histogram.below == (values < -1.0).sum() > 0 and histogram.above == (values > 2.0).sum() > 0
    assert histogram.counts.sum() + histogram.below + histogram.above == values.size


def test_merged_in_any_order_and_continued(same_in_any_order: Callable[..., None]) -> None:
    values = np.random.default_rng(1).normal(size=700)
    whole = make()
    whole.add(values)
    same_in_any_order(make, [lambda h, k=k: h.add(values[k::5]) for k in range(5)], whole)
    again, first = make(), make()
    first.add(values[:100])
    again.load_state_dict(first.state_dict())
    again.add(values[100:])
    assert again.state_dict() == whole.state_dict()


def test_what_is_no_number_is_told() -> None:
    histogram = make()
    histogram.add(np.array([0.5, np.nan, np.inf, -np.inf]))
    assert (histogram.below, histogram.above) == (1, 1)
    with pytest.raises(PhysicsError, match="1 samples"):
        _ = histogram.counts


def test_bins_that_do_not_fit_are_refused() -> None:
    for other in (Histogram(-1.0, 2.0, 36), Histogram(-1.0, 2.5, 37), Histogram(-2.0, 2.0, 37)):
        fault = "a Histogram with .* does not fit one with low = -1.0, high = 2.0, bins = 37"
        with pytest.raises(ValueError, match=fault):
            make().merge(other)
        with pytest.raises(ValueError, match=fault):
            make().load_state_dict(other.state_dict())
    for low, high, bins in ((0.0, 0.0, 3), (1.0, 0.0, 3), (0.0, 1.0, 0), (0.0, np.nan, 3), (0.0, np.inf, 3)):
        with pytest.raises(ValueError, match="a histogram of"):
            Histogram(low, high, bins)
