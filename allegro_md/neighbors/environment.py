"""Who is near a place, found directly from the positions: no list, no halo, so that these can be checked against it."""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import NDArray

from allegro_md.state import AtomState

CHUNK = 65536
"""Atoms looked at together: bounds the memory."""


def own_atoms_around(
    state: AtomState, place: NDArray[np.float64], radius: float
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """This rank's own atoms, all periodic images of them, within a distance of a place.

    Args:
        state: the atoms; only masters are looked at.
        place: (3,) Å, anywhere.
        radius: Å.

    Returns:
        (n,) indices of own atoms, one per image, and (n, 3) vectors from the place to them, Å.
    """
    cell = state.cell
    periodic = np.array(cell.periodic)
    farthest = np.where(periodic, np.floor(radius / cell.heights + 0.5), 0.0).astype(int)
    images = np.array(list(itertools.product(*(range(-n, n + 1) for n in farthest))), dtype=np.float64)
    indices, vectors = [np.zeros(0, dtype=np.int64)], [np.zeros((0, 3))]
    positions = state.local("position").cpu().numpy()
    for first in range(0, len(positions), CHUNK):
        d = positions[first : first + CHUNK] - place
        d = d - np.where(periodic, np.rint(d @ cell.inverse), 0.0) @ cell.matrix
        for image in images:
            shifted = d + image @ cell.matrix
            near = np.flatnonzero((shifted * shifted).sum(axis=1) < radius * radius)
            indices.append(first + near)
            vectors.append(shifted[near])
    return np.concatenate(indices), np.concatenate(vectors)
