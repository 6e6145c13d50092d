"""Atoms that no structure has so close to each other: a wrong unit, a wrong cell, an atom twice."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from allegro_md.cell import Cell
from allegro_md.errors import InputError

CLOSEST = 0.3
"""Å; the shortest bond there is, of H₂, is 0.74 Å."""


def refuse_overlaps(position: NDArray[np.float64], cell: Cell, copied: Sequence[bool], where: str) -> None:
    """Raises unless all atoms and their copies keep a distance of `CLOSEST`.

    Args:
        position: (n, 3) Å.
        cell: of the atoms.
        copied: axes along which the cell is repeated or periodic.
        where: file or key, for the message.

    Raises:
        InputError: names two atoms.
    """
    axes = np.asarray(copied, dtype=bool)
    fraction = position @ cell.inverse
    fraction -= np.where(axes, np.floor(fraction), 0.0)
    index, place = _with_copies(fraction, cell, axes)
    n = len(position)
    pairs = cKDTree(place).query_pairs(CLOSEST, output_type="ndarray")
    pairs = pairs[pairs.min(axis=1, initial=n) < n]  # two copies: as far apart as two others of which one is inside
    if not len(pairs):
        return
    distance = np.linalg.norm(place[pairs[:, 0]] - place[pairs[:, 1]], axis=1)
    worst = int(np.argmin(distance))
    first, second = sorted(int(index[k]) for k in pairs[worst])
    raise InputError(
        f"atoms {first} and {second} are {distance[worst]:.3g} Å apart, closer than any two atoms can be",
        where,
        "correct the coordinates or the cell; lengths are in Å",
    )


def _with_copies(
    fraction: NDArray[np.float64], cell: Cell, axes: NDArray[np.bool_]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Collects atoms and their periodic copies within `CLOSEST` of the cell.

    Args:
        fraction: (n, 3) fractional coordinates of the atoms.
        cell: their cell.
        axes: (3,) the axes along which there are copies.

    Returns:
        Index of the atom (m,) and position (m, 3) Å of atoms and copies.
    """
    margin = CLOSEST / cell.heights
    reach = [range(-int(np.ceil(m)), int(np.ceil(m)) + 1) if a else range(1) for m, a in zip(margin, axes, strict=True)]
    index, places = [np.arange(len(fraction))], [fraction]
    for shift in product(*reach):
        if any(shift):
            moved = fraction + np.array(shift)
            near = np.flatnonzero((((moved > -margin) & (moved < 1.0 + margin)) | ~axes).all(axis=1))
            index.append(near)
            places.append(moved[near])
    return np.concatenate(index), np.concatenate(places) @ cell.matrix
