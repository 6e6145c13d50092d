"""Frames that are the same configuration: same atoms in the same order, positions and cell, whatever their labels."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from allegro_md.cell import Cell
from allegro_md.io.labeled import Frame

Array = NDArray[np.float64]

SAME = 1e-5
"""Å; copies differ by the rounding of the text they went through, other configurations by far more."""

_SHADOWS = 4

Place = tuple[int, int]


def find_duplicates(sets: Sequence[Sequence[Frame]]) -> list[tuple[Place, Place]]:
    """All pairs of equal frames, each as set and index in it.

    A few fixed random projections of each frame are compared first, and in full only the pairs that agree in these, so
    that the frames need not be in memory together.

    Args:
        sets: of frames that may be equal, within and across them.

    Returns:
        Pairs of which the first is the earlier one, in order.
    """
    groups: dict[tuple[bytes, tuple[bool, bool, bool]], list[tuple[Place, Array]]] = defaultdict(list)
    for number, frames in enumerate(sets):
        for index, frame in enumerate(frames):
            features = _features(frame)
            shadow = _directions(len(features)) @ features
            groups[frame.numbers.tobytes(), frame.periodic].append(((number, index), shadow))
    found = []
    for members in groups.values():
        tree = cKDTree(np.array([shadow for _, shadow in members]))
        # Independent roundings add up in squares; the full comparison decides.
        for i, j in tree.query_pairs(10.0 * SAME):
            first, second = members[min(i, j)][0], members[max(i, j)][0]
            a, b = (_features(sets[number][index]) for number, index in (first, second))
            if np.abs(a - b).max() < SAME:
                found.append((first, second))
    return sorted(found)


def _features(frame: Frame) -> Array:
    """Numbers in Å that are the same, within rounding, for the same configuration and no other.

    Along periodic axes an atom is a point on a circle as long as the cell is high, so that it does not matter in which
    image it was written.
    """
    cell = Cell.from_rows(frame.cell, frame.periodic, frame.source)
    fraction, circles = frame.position @ cell.inverse, np.array(frame.periodic)
    radius = cell.heights[circles] / (2.0 * np.pi)
    angle = 2.0 * np.pi * fraction[:, circles]
    straight = fraction[:, ~circles] * cell.heights[~circles]
    parts = [frame.cell, radius * np.cos(angle), radius * np.sin(angle), straight]
    return np.concatenate([part.ravel() for part in parts])


@lru_cache(maxsize=64)
def _directions(size: int) -> Array:
    """(4, size) fixed random unit vectors."""
    directions = np.random.Generator(np.random.Philox(size)).normal(size=(_SHADOWS, size))
    return np.asarray(directions / np.linalg.norm(directions, axis=1, keepdims=True))
