"""The time between samples, on which time correlations depend."""

from __future__ import annotations

import math

from allegro_md.errors import InputError


def require_interval(interval: float, where: str) -> float:
    """Returns the time between samples, fs.

    Raises:
        InputError: it is not known.
    """
    if not math.isfinite(interval) or interval <= 0.0:
        raise InputError("the time between frames is not known", where, "give it with --timestep, in fs per frame")
    return interval
