"""Diffusion coefficients and their errors: random walks with a given D, and motion that has none."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import chi2

from allegro_md.accumulators.blocks import FEWEST
from allegro_md.analysis.brownian import covariance, variances
from allegro_md.analysis.diffusion import FEWEST_BLOCKS, Displacements, diffusion, finite_size_correction
from allegro_md.analysis.lags import Logarithmic
from allegro_md.cell import Cell
from allegro_md.units import A2_PER_FS_IN_CM2_PER_S

Array = NDArray[np.float64]


def displacements(
    walks: Array, interval: float, longest: int | None = None, dimensions: int = 3
) -> Displacements:
    """Of `walks` (samples, atoms · dimensions), with blocks as `Blocks` makes them."""
    n = len(walks)
    length = 1
    while n > 2 * FEWEST * length:
        length *= 2
    length *= max(1, n // length // FEWEST_BLOCKS)
    choice = Logarithmic()
    lags, strides = choice.table(n), choice.strides(n)
    kept = lags <= (n if longest is None else longest)
    lags, strides = lags[kept], strides[kept]
    msd, blocks = np.zeros(len(lags)), np.full((n // length, len(lags)), np.nan)
    for k, (lag, stride) in enumerate(zip(lags.tolist(), strides.tolist(), strict=True)):
        ends = np.arange(lag, n, stride)
        moved = walks[lag::stride] - walks[: n - lag : stride]
        square = dimensions * np.einsum("ij,ij->i", moved, moved) / walks.shape[1]
        msd[k] = square.mean()
        of = ends // length
        with np.errstate(invalid="ignore"):
            blocks[:, k] = (np.bincount(of, square) / np.bincount(of))[: len(blocks)] if lag < length else np.nan
    return Displacements(lags, strides, interval, n, dimensions, msd, blocks, length)


def random_walk(rng: np.random.Generator, columns: int, samples: int, d: float, interval: float) -> Array:
    """(samples, columns) Å, with the diffusion coefficient `d`, Å²/fs."""
    return np.cumsum(rng.normal(scale=np.sqrt(2.0 * d * interval), size=(samples, columns)), axis=0)


def langevin_gas(rng: np.random.Generator, atoms: int, samples: int, friction: float, interval: float) -> Array:
    """(samples, 3 atoms) of free particles with kT/m = 1, sampled exactly (Ornstein and Uhlenbeck)."""
    x = friction * interval
    keep = np.exp(-x)
    vv, rv = 1.0 - keep**2, (1.0 - keep) ** 2 / friction
    rr = (2.0 * x - 3.0 + 4.0 * keep - keep**2) / friction**2
    root = np.linalg.cholesky(np.array([[vv, rv], [rv, rr]]))
    velocity = rng.normal(size=3 * atoms)
    walk = np.zeros((samples, 3 * atoms))
    for k in range(1, samples):
        noise = root @ rng.normal(size=(2, 3 * atoms))
        walk[k] = walk[k - 1] + (1.0 - keep) / friction * velocity + noise[1]
        velocity = keep * velocity + noise[0]
    return walk


def test_covariance_of_brownian_motion() -> None:
    """Against the scatter of 20,000 walks, in the whole and in a window of longer walks."""
    rng = np.random.default_rng(3)
    steps = rng.normal(size=(10_000, 408))
    choice = Logarithmic()
    chosen = [1, 2, 7, 15, 18, 28]
    lags, strides = choice.table(200)[chosen], choice.strides(200)[chosen]
    for window in (False, True):
        walks = np.cumsum(steps if window else steps[:, 208:], axis=1)
        first, last = (208, 408) if window else (0, 200)
        means = []
        for lag, stride in zip(lags, strides, strict=True):
            ends = np.arange(first, last)
            ends = ends[(ends >= lag) & (ends % stride == 0)]
            means.append(np.mean((walks[:, ends] - walks[:, ends - lag]) ** 2, axis=1))
        model = covariance(lags, strides, 200, window)
        size = np.sqrt(np.diag(model))
        np.testing.assert_allclose(np.cov(means) / size[:, None] / size, model / size[:, None] / size, atol=0.05)
        np.testing.assert_array_equal(np.diag(model), variances(lags, strides, 200, window))


@pytest.mark.parametrize(("walkers", "walks", "miss"), [(50, 400, 0.03), (8, 150, 0.06)])
def test_intervals_cover_the_true_value(walkers: int, walks: int, miss: float) -> None:
    """95 % of them; no coefficient counts as a miss. Errors are what the scatter of results shows."""
    rng = np.random.default_rng(1)
    true, results = 1e-3, []
    for _ in range(walks):
        walk = random_walk(rng, walkers, 2000, true, 2.0)
        results.append(diffusion("Ar", displacements(walk, 2.0, 96, dimensions=1), np.nan))
    covered = np.mean([r.interval[0] < A2_PER_FS_IN_CM2_PER_S * true < r.interval[1] for r in results])
    assert abs(covered - 0.95) <= miss, covered
    for values, errors in (
        ([r.value for r in results], [r.error for r in results]),
        ([r.plain for r in results], [r.plain_error for r in results]),
    ):
        low, middle, high = np.nanpercentile(values, [15.87, 50.0, 84.13])
        spread = 0.5 * (high - low)
        assert middle == pytest.approx(A2_PER_FS_IN_CM2_PER_S * true, abs=5.0 * spread / np.sqrt(walks))
        median = np.sqrt(chi2.ppf(0.5, FEWEST_BLOCKS - 1) / (FEWEST_BLOCKS - 1))  # of a deviation of so few values
        assert np.nanmedian(errors) == pytest.approx(median * spread, rel=2.4 / np.sqrt(walks))


def test_errors_of_the_msd_at_all_lags() -> None:
    """Those of long lags come from the model; the scatter of 200 walks is the truth."""
    rng = np.random.default_rng(2)
    found = [displacements(random_walk(rng, 30, 1000, 1e-3, 1.0), 1.0) for _ in range(200)]
    spread = np.std([one.msd for one in found], axis=0)
    errors = np.mean([one.errors for one in found], axis=0)
    assert errors[0] == 0.0 and np.isfinite(errors).all()
    np.testing.assert_allclose(errors[1:], spread[1:], rtol=0.25)
    np.testing.assert_allclose(errors[1 : found[0].reach], spread[1 : found[0].reach], rtol=0.15)


def test_a_langevin_gas_has_its_ballistic_motion_left_out() -> None:
    """D = kT/(m γ) in cm²/s; the range begins behind the time 1/γ."""
    friction = 0.05
    walk = langevin_gas(np.random.default_rng(5), 300, 4000, friction, 4.0)
    found = diffusion("He", displacements(walk, 4.0), 0.1)
    assert abs(found.value - A2_PER_FS_IN_CM2_PER_S / friction) < 3.0 * found.error
    assert found.error < 0.03 * found.value
    assert 1.0 / friction < found.first < found.last <= 4000 * 4.0 / 10.0
    assert "95 % interval" in found.note


def test_a_harmonic_crystal_does_not_diffuse() -> None:
    rng = np.random.default_rng(6)
    time = np.arange(3000)[:, None]
    frequency, phase = rng.uniform(0.05, 0.4, 300), rng.uniform(0, 2 * np.pi, 300)
    found = diffusion("Ar", displacements(0.2 * np.cos(frequency * time + phase), 1.0), 3.0)
    assert np.isnan([found.value, found.error, found.plain]).all()
    assert found.note.startswith("Ar: no diffusion seen: D < ")


def test_a_random_walk_within_a_cage_is_no_diffusion() -> None:
    """An overdamped oscillator seen for less than its relaxation time."""
    walk = random_walk(np.random.default_rng(7), 300, 2000, 1e-6, 1.0)
    assert diffusion("Ar", displacements(walk, 1.0), 3.0).note.startswith("Ar: no diffusion seen")
    assert diffusion("Ar", displacements(walk, 1.0), np.nan).value > 0.0


@pytest.mark.parametrize(
    ("samples", "said"), [(8, "samples are too few"), (400, "still ballistic"), (3000, "long at least")]
)
def test_too_short_a_run_says_so(samples: int, said: str) -> None:
    walk = langevin_gas(np.random.default_rng(8), 100, samples, 1e-4, 1.0)
    found = diffusion("He", displacements(walk, 1.0), 0.1)
    assert np.isnan(found.value) and said in found.note
    errors = displacements(walk, 1.0).errors
    assert errors[0] == 0.0 and (np.isnan(errors[1:]).all() if samples == 8 else np.isfinite(errors).all())


def test_a_liquid_that_is_slow_within_the_known_errors_is_no_solid() -> None:
    """Walkers in cages that diffuse: they leave their places, but long after the lags whose errors are known."""
    rng = np.random.default_rng(11)
    cage = np.zeros((4000, 300))
    for k in range(1, len(cage)):
        cage[k] = 0.98 * cage[k - 1] + rng.normal(scale=0.1, size=300)
    moved = displacements(cage + random_walk(rng, 300, 4000, 1.5e-3, 1.0), 1.0)
    found = diffusion("Ar", moved, 3.0)
    assert moved.msd[moved.reach - 1] < 3.0**2 < moved.msd[-1]
    assert np.isnan([found.value, found.limit]).all()
    assert "too short" in found.note and "subdiffusive" in found.note and "no diffusion" not in found.note


def test_finite_size_correction() -> None:
    """By hand, in SI units: water, 298 K, 0.9 mPa·s, 20 Å."""
    by_hand = 2.837297 * 1.380649e-23 * 298.0 / (6.0 * np.pi * 0.9e-3 * 20e-10) * 1e4
    assert finite_size_correction(298.0, 0.9, Cell(20.0 * np.eye(3))) == pytest.approx(by_hand, rel=1e-7)
