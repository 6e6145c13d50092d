"""The time between samples, on which time correlations depend."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from allegro_md.analysis.base import System
from allegro_md.errors import InputError

SAME = 1e-6
"""Relative difference of times between samples that counts as none."""


def spacing(times: NDArray[np.float64]) -> tuple[float, str]:
    """Time between samples.

    Args:
        times: (n,) float64, fs; NaN where they are not known.

    Returns:
        fs; NaN where it is not known, not the same everywhere, or there are fewer than two samples; and for the second
        of these a sentence.
    """
    between = np.diff(times)
    if len(between) == 0 or not np.isfinite(between).all():
        return math.nan, ""
    interval = float((times[-1] - times[0]) / len(between))
    odd = np.abs(between - between[0]) > SAME * abs(between[0])
    if interval > 0.0 and not odd.any():
        return interval, ""
    k = int(np.argmax(odd))
    return math.nan, f"samples are not equally spaced in time: {times[k]:g} fs is followed by {times[k + 1]:g} fs"


def require_interval(system: System, where: str) -> float:
    """Returns the time between samples, fs.

    Raises:
        InputError: it is not known, or not the same everywhere.
    """
    if math.isfinite(system.interval) and system.interval > 0.0:
        return system.interval
    if system.interval == 0.0:
        remedy = "observe it in another stage; output.observe = [] in a stage takes over none"
        raise InputError("the steps of this ensemble take no time", where, remedy)
    if system.n_samples < 2:
        raise InputError("there is one sample only, and no time between samples", where, "choose more of them")
    if system.uneven:
        raise InputError(system.uneven, where, "choose equally spaced ones, for example with --frames")
    raise InputError("the time between frames is not known", where, "give it with --timestep, in fs per frame")
