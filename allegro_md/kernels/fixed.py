"""Forces as fixed-point integers: conversion, and the bounds that keep their sums from wrapping.

A pair force φ'(r) is added to the center only (the neighbor gets its own when it is the center), at most
`CENTER_BOUND` in all per atom and term. What is added to both ends of an edge is at most `EDGE_BOUND` from each of at
most `EDGE_TERMS` edges, so at most `CENTER_BOUND` too, neighbors' edges included. `CENTER_BOUND` is a quarter of the
range of the format, so `MOST_TERMS` terms can be added. Beyond a bound the kernel stops and names the atom.
"""

from __future__ import annotations

import numba
import numpy as np

from allegro_md.exact import FORCE_RANGE, FORCE_SCALE

CENTER_BOUND = FORCE_RANGE / 4.0
"""Largest Σ|g| over the edges of one center, eV/Å."""

MOST_TERMS = 4
"""Most potentials in a sum: `FORCE_RANGE` / `CENTER_BOUND`."""

EDGE_TERMS = 512
"""Most neighbors within the cutoff that a center may have where edges write to both ends."""

EDGE_BOUND = CENTER_BOUND / (2 * EDGE_TERMS)
"""Largest edge gradient that is added to both ends, eV/Å."""

FINE = -1
"""Status of a kernel that met no value out of bounds; any other status is the index of a center."""


@numba.njit(cache=True)
def to_fixed(x: float) -> int:
    """Fixed-point value of a force component x (eV/Å) that has been checked against a bound; rounds half to even."""
    return int(np.rint(x * FORCE_SCALE))

