"""Means, errors and drift of series whose values are known."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from allegro_md.report.plots import MOST_POINTS, thinned
from allegro_md.report.record import Dynamics
from allegro_md.report.series import Series, target_temperature

N_ATOMS = 100


def series(conserved: NDArray[np.float64], spacing: float = 10.0) -> Series:
    """`conserved` (rows,) eV per atom, every 10 fs."""
    time = spacing * np.arange(len(conserved), dtype=np.float64)
    columns: dict[str, NDArray[np.float64]] = {"step": time / 2.0, "time_fs": time, "wall_s": time / 1e3}
    columns["conserved_eV"] = N_ATOMS * conserved
    return Series(columns, N_ATOMS)


def test_drift_and_its_error_cover_the_truth() -> None:
    """Of many series of correlated noise about a line, most have a slope within two errors of it, and not all."""
    rng = np.random.default_rng(5)
    truth, within, rows = 3.0, 0, 2048  # meV per atom and ns
    for _ in range(100):
        noise = np.convolve(rng.normal(size=rows + 9), np.ones(10) / 10.0, mode="valid") * 1e-6
        line = 1e-3 * truth * np.arange(rows) * 10.0 / 1e6
        found = series(noise + line).drift()
        assert found is not None
        within += abs(found.slope - truth) < 2.0 * found.error
    assert 85 <= within <= 99


def test_drift_is_the_slope_of_numpy() -> None:
    values = np.random.default_rng(1).normal(size=50)
    found = series(values).drift()
    assert found is not None
    expected = np.polyfit(10.0 * np.arange(50) / 1e6, 1e3 * values, 1)[0]
    assert found.slope == pytest.approx(expected, rel=1e-9)


def test_correlation_time() -> None:
    """An exponentially correlated series: the sum over its correlation function is the correlation time."""
    rng, tau = np.random.default_rng(2), 8.0
    factor, values = np.exp(-1.0 / tau), np.zeros(1 << 16)
    for k, noise in enumerate(rng.normal(size=len(values)), start=1):
        if k < len(values):
            values[k] = factor * values[k - 1] + noise
    found = series(values).average(values)
    integral = 0.5 * (1.0 + factor) / (1.0 - factor)  # in rows
    assert found.correlation_time == pytest.approx(10.0 * integral, rel=0.25)
    assert found.converged


def test_rows_that_are_no_numbers() -> None:
    values = np.array([1.0, np.nan, 3.0, np.inf])
    found = series(np.zeros(4)).average(values)
    assert (found.mean, found.n_rows) == (2.0, 2)
    assert series(np.full(4, np.nan)).drift() is None


def test_target_of_a_ramp() -> None:
    ramp = Dynamics(ensemble="nvt", timestep=1.0, steps=100, temperature=(100.0, 300.0))
    found = target_temperature([(0, ramp)], np.array([0.0, 50.0, 100.0, 150.0]))
    assert found is not None
    assert found.tolist() == [100.0, 200.0, 300.0, 300.0]
    free = Dynamics(ensemble="nve", timestep=1.0, steps=1)
    assert target_temperature([(0, free)], np.zeros(1)) is None
    stages = target_temperature([(0, free), (100, ramp), (200, free)], np.array([0.0, 100.0, 150.0, 200.0, 250.0]))
    assert stages is not None
    np.testing.assert_equal(stages, [np.nan, 100.0, 200.0, 300.0, np.nan])


@pytest.mark.parametrize("rows", [10, MOST_POINTS, 10 * MOST_POINTS + 7])
def test_thinned_plots_keep_mean_and_extremes(rows: int) -> None:
    values = np.random.default_rng(3).normal(size=rows)
    time, mean, low, high = thinned(np.arange(rows, dtype=np.float64), values)
    assert len(time) <= MOST_POINTS
    assert (low.min(), high.max()) == (values.min(), values.max())
    counts = np.diff(np.append(np.linspace(0, rows, len(time), endpoint=False).astype(int), rows))
    assert np.average(mean, weights=counts) == pytest.approx(values.mean(), abs=1e-12)
