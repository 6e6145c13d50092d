"""Transport coefficients as integrals of correlation functions, and the plateau of a running integral."""

from __future__ import annotations

import numpy as np
from scipy.integrate import cumulative_trapezoid
from scipy.stats import t as student

from allegro_md.accumulators.blocks import ENOUGH, standard_error
from allegro_md.analysis.result import Array
from allegro_md.errors import InputError

LEVEL = 0.02
"""Part of its value that a running integral may change by over a quarter of the window, besides its error."""


COARSE = 0.8
"""Correlation of successive samples below which they are too far apart."""


def lags_of(window: float, interval: float, where: str) -> int:
    """Number of lags, 0 among them, of a correlation up to `window`, of samples `interval` apart, fs.

    Raises:
        InputError: there are fewer than five.
    """
    n_lags = int(window / interval + 1e-6) + 1
    if n_lags < 5:
        what = f"window = {window:g} fs holds fewer than 5 samples, which are {interval:g} fs apart"
        raise InputError(what, where, "choose a longer window, or take samples more often")
    return n_lags


class Recent:
    """The latest samples of a series, for products with earlier ones.

    Attributes:
        rows: (n_lags, k) float64; sample number i is in row i modulo n_lags.
    """

    def __init__(self, n_lags: int, k: int) -> None:
        """Samples of k numbers."""
        self.rows: Array = np.zeros((n_lags, k))

    def push(self, number: int, sample: Array) -> Array:
        """Takes the next sample, `sample` (k,) of some number.

        Returns:
            (lags, k), this one and those before it, by ascending lag.
        """
        n_lags = len(self.rows)
        self.rows[number % n_lags] = sample
        lags = np.arange(min(number + 1, n_lags))
        earlier: Array = self.rows[(number - lags) % n_lags]
        return earlier


def notes_of(correlation: Array, interval: float, n_samples: int, has_errors: bool, level: str) -> list[str]:
    """Sentences on the errors, the plateau, and the spacing of samples.

    Args:
        correlation: (lags,), at lags `interval` fs apart.
        interval: fs.
        n_samples: of the run.
        has_errors: the run is long enough for errors.
        level: what `plateau` says, or empty.
    """
    notes = [f"The running integral {level}."] if level else []
    notes = notes if has_errors else [too_short(n_samples, len(correlation), interval)]
    if correlation[1] < COARSE * correlation[0]:
        notes.append(
            f"Warning: the correlation falls to {correlation[1] / correlation[0]:.2f} from one sample to the next, "
            f"{interval:g} fs later: take samples more often."
        )
    return notes


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
