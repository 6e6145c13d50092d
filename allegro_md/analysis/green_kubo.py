"""Transport coefficients as integrals of correlation functions, and the plateau of a running integral."""

from __future__ import annotations

import numpy as np
from scipy.integrate import cumulative_trapezoid
from scipy.stats import t as student

from allegro_md.accumulators.blocks import ENOUGH, standard_error
from allegro_md.analysis.result import Array

LEVEL = 0.02
"""Part of its value that a running integral may change by over a quarter of the window, besides its error."""


def running_integral(correlation: Array, interval: float) -> Array:
    """Integral up to each lag, by trapezoids: `correlation` (…, lags), its last axis at lags `interval` fs apart."""
    return np.asarray(cumulative_trapezoid(correlation, dx=interval, axis=-1, initial=0.0))


def plateau(running: Array, blocks: Array) -> tuple[float, float, str]:
    """Mean of a running integral over the second half of its window, if it is level there.

    Args:
        running: (lags,), of the whole run.
        blocks: (blocks, lags), of independent blocks; (0, lags): there are none.

    Returns:
        Value and standard error, NaN where there is no plateau or no error, and a sentence that says so.
    """
    if len(blocks) < 2:
        return np.nan, np.nan, "has no error: the run is too short for its window"
    n = len(running)
    half, middle, last = slice(n // 2, None), slice(n // 2, 3 * n // 4), slice(3 * n // 4, None)
    rise = float(np.mean(running[last]) - np.mean(running[middle]))
    rises = blocks[:, last].mean(axis=1) - blocks[:, middle].mean(axis=1)
    value = float(np.mean(running[half]))
    if abs(rise) > LEVEL * abs(value) + student.ppf(0.995, len(blocks) - 1) * float(standard_error(rises)):
        return np.nan, np.nan, "is not level in the second half of the window: choose a longer window"
    return value, float(standard_error(blocks[:, half].mean(axis=1))), ""


def are_independent(n_blocks: int, length: int, n_lags: int) -> bool:
    """There are enough blocks, of two windows or more each: `length` samples, where a window has `n_lags`."""
    return n_blocks >= ENOUGH and length >= 2 * n_lags


def too_short(n_samples: int, n_lags: int, interval: float) -> str:
    """The sentence on a run of a few windows."""
    wanted = 2 * ENOUGH * n_lags * interval / 1000.0
    return (
        f"There are no errors: the run of {n_samples * interval / 1000.0:.4g} ps has fewer than {ENOUGH} blocks "
        f"of two windows. Make it {wanted:.4g} ps long at least, or choose a shorter window."
    )
