"""Forces as fixed-point integers: conversion, and the bounds that keep their sums from wrapping.

A pair term adds to an atom at most `CENTER_BOUND` in total as a center, where the kernel adds up the magnitudes it
converts, and, where the term also writes to neighbors, at most `EDGE_BOUND` from each of at most `EDGE_TERMS` edges.
Both bounds are an eighth of the range or less: any sum of up to four terms stays within int64. Beyond a bound the
kernel stops and names the atom.
"""

from __future__ import annotations

import numba
import numpy as np

from allegro_md.exact import FORCE_RANGE, FORCE_SCALE

CENTER_BOUND = FORCE_RANGE / 8.0
"""Largest Σ|g| per component over the edges of one center, eV/Å."""

EDGE_TERMS = 256
"""Most neighbors within the cutoff that a center may have where edges write to both ends."""

EDGE_BOUND = CENTER_BOUND / EDGE_TERMS
"""Largest component of one edge gradient that is added to both ends, eV/Å."""

FINE = -1
"""Status of a kernel that met no value out of bounds; any other status is the index of a center."""


@numba.njit(cache=True)
def to_fixed(x: float) -> int:
    """Quanta of a force component x (eV/Å) that has been checked against a bound; rounds half to even."""
    return int(np.rint(x * FORCE_SCALE))

