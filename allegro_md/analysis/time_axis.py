"""The time between samples, on which time correlations depend."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from allegro_md.errors import InputError


def interval_of(times: NDArray[np.float64]) -> float:
    """The time between samples at `times` (n,) fs, fs; NaN if it is unknown or not always the same, or n is 1."""
    between = np.diff(times)
    if len(between) == 0 or not np.isfinite(between).all():
        return math.nan
    interval = float((times[-1] - times[0]) / len(between))
    return interval if np.abs(between - interval).max() <= 1e-6 * abs(interval) else math.nan


def require_interval(interval: float, where: str) -> float:
    """Returns the time between samples, fs.

    Raises:
        InputError: it is not known.
    """
    if not math.isfinite(interval) or interval <= 0.0:
        raise InputError("the time between frames is not known", where, "give it with --timestep, in fs per frame")
    return interval
