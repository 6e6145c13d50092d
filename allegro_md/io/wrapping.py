"""Positions as they are written: inside the box, with the integer translation that was taken off."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from allegro_md.cell import Cell
from allegro_md.errors import PhysicsError

FARTHEST = 2**31 - 1
"""Largest magnitude of an image, which is stored in 32 bits."""


def wrap(position: NDArray[np.float64], cell: Cell, dtype: Any) -> tuple[NDArray[Any], NDArray[np.int32]]:
    """Wraps unwrapped positions along the periodic axes.

    Evaluated elementwise, so that an atom's bits do not depend on who holds it. An atom so close to a face that
    rounding to `dtype` would put it outside is moved inwards by a few units in the last place.

    Args:
        position: (n, 3) Å.
        cell: the current cell.
        dtype: float32 or float64, of the result.

    Returns:
        Wrapped positions (n, 3) in `dtype`, fractions in [0, 1), and images (n, 3), position = wrapped + image·h.

    Raises:
        PhysicsError: an atom is not finite, or farther away than an image can say.
    """
    periodic = np.array(cell.periodic)
    image = np.where(periodic, np.floor(fractions(position, cell)), 0.0)
    if not (np.abs(image) <= FARTHEST).all():
        away = position[np.flatnonzero(~(np.abs(image) <= FARTHEST).all(axis=1))[0]]
        raise PhysicsError(f"an atom at {away.tolist()} Å is more than {FARTHEST} cells away, or not finite")
    inside = position - multiplied(image, cell.matrix)
    wrapped = inside.astype(dtype)
    seen = fractions(wrapped.astype(np.float64), cell)
    size = np.abs(cell.matrix).sum(axis=0) + np.abs(cell.origin)  # no coordinate in the box is larger
    rounding = float(np.finfo(dtype).eps) + 4.0 * float(np.finfo(np.float64).eps)  # of a coordinate, of a fraction
    least = rounding * (np.abs(cell.inverse) * size[:, None]).sum(axis=0)
    outside = periodic & ((seen < 0.0) | (seen > 1.0 - 0.5 * least))  # also for a reader who rounds differently
    rows = np.flatnonzero(outside.any(axis=1))
    exact = fractions(inside[rows], cell)
    target = np.where(periodic, np.clip(exact, least, 1.0 - least), exact)
    wrapped[rows] = (inside[rows] + multiplied(target - exact, cell.matrix)).astype(dtype)
    return wrapped, image.astype(np.int32)


def unwrap(position: NDArray[Any], image: NDArray[np.int32], matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """Unwraps stored positions, elementwise as `wrap`, so that the bits do not depend on which atoms are read together.

    Args:
        position: (n, 3) float32 or float64, Å, wrapped.
        image: (n, 3) int32.
        matrix: (3, 3) Å, rows are the lattice vectors; zero where the cell has none.

    Returns:
        (n, 3) Å: position + image·h.
    """
    return position.astype(np.float64) + multiplied(image.astype(np.float64), matrix)


def fractions(position: NDArray[np.float64], cell: Cell) -> NDArray[np.float64]:
    """Returns fractional coordinates (n, 3) of `position` (n, 3) Å, evaluated elementwise as `wrap`."""
    return multiplied(position - cell.origin, cell.inverse)


def multiplied(rows: NDArray[np.float64], matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """Multiplies `rows` (n, 3) by `matrix` (3, 3) without BLAS, whose rounding depends on the number of rows."""
    return np.stack(
        [rows[:, 0] * matrix[0, k] + rows[:, 1] * matrix[1, k] + rows[:, 2] * matrix[2, k] for k in range(3)], axis=1
    )
