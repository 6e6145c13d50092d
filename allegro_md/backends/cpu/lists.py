"""Neighbor lists, and how far atoms have moved: see `base.ListFunctions`."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from allegro_md.backends.cpu.cell_list import build_pairs
from allegro_md.backends.cpu.grid import cells_around, place_of, sorted_into
from allegro_md.state import AtomState

_IDENTITY = np.eye(3)


def sort_order(state: AtomState, distance: float) -> NDArray[np.int64] | None:
    """Returns the order of the local atoms by cells for pairs within `distance` (Å), (n_local,); None: they are."""
    if state.n_local == 0:
        return None
    position, shift = state.host_local("position"), state.host_local("shift")
    grid = cells_around(position, shift, state.cell, distance)
    _, members = sorted_into(grid, position, shift, 0, state.n_local)
    return members if len(members) else None


def find_pairs(
    state: AtomState, n_centers: int, distance: float, order: NDArray[np.int64] | None = None
) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """Finds the neighbors within `distance` (Å) of the first atoms of the order, (n_all,) int64."""
    position, shift, ids = (state.host_all(name) for name in ("position", "shift", "id"))
    if order is not None:
        position, shift, ids = (rows[order] for rows in (position, shift, ids))
    return build_pairs(position, shift, ids, state.cell, n_centers, distance)


def farthest(state: AtomState) -> float:
    """Largest absolute coordinate of a wrapped position of the local atoms, Å."""
    return float(_farthest(*_where(state)))


def wrapped(state: AtomState, dtype: type[np.floating[Any]]) -> NDArray[np.floating[Any]]:
    """Positions of the local atoms in the rank's frame, x + shift · h, (n_local, 3) of a floating-point type, Å."""
    places = np.empty((state.n_local, 3), dtype=dtype)
    _places(*_where(state), places)
    return places


def largest_displacement(
    state: AtomState, reference: NDArray[np.floating[Any]], deformation: NDArray[np.float64] | None
) -> float:
    """Largest displacement beyond a deformation (3, 3) from `reference` (n_local, 3) Å, wrapped, Å."""
    fixed = deformation is None
    stretch = _IDENTITY if deformation is None else deformation
    return float(_largest_displacement(*_where(state), reference, stretch, fixed))


def _where(state: AtomState) -> tuple[NDArray[np.float64], NDArray[np.int32], NDArray[np.float64]]:
    """Unwrapped positions (n_local, 3) Å, shifts (n_local, 3), and lattice rows (3, 3) Å."""
    return state.host_local("position"), state.host_local("shift"), np.array(state.cell.matrix)


@numba.njit(cache=True)
def _farthest(position: NDArray[np.float64], shift: NDArray[np.int32], matrix: NDArray[np.float64]) -> float:
    """Largest absolute coordinate of a wrapped position, Å.

    Args:
        position: (n, 3) Å, unwrapped.
        shift: (n, 3) lattice translations.
        matrix: (3, 3) Å, lattice rows.
    """
    largest = 0.0
    for i in range(len(position)):
        x, y, z = place_of(position, shift, matrix, i)
        largest = max(largest, abs(x), abs(y), abs(z))
    return largest


@numba.njit(cache=True)
def _places(
    position: NDArray[np.float64], shift: NDArray[np.int32], matrix: NDArray[np.float64], places: NDArray[Any]
) -> None:
    """Writes the wrapped positions.

    Args:
        position: (n, 3) Å, unwrapped.
        shift: (n, 3) lattice translations.
        matrix: (3, 3) Å, lattice rows.
        places: (n, 3) float32 or float64 Å, written.
    """
    for i in range(len(position)):
        places[i, 0], places[i, 1], places[i, 2] = place_of(position, shift, matrix, i)


@numba.njit(cache=True)
def _largest_displacement(
    position: NDArray[np.float64],
    shift: NDArray[np.int32],
    matrix: NDArray[np.float64],
    reference: NDArray[Any],
    deformation: NDArray[np.float64],
    fixed_cell: bool,
) -> float:
    """Largest displacement from the positions at the last build, deformed with the cell, Å.

    Args:
        position: (n, 3) Å, unwrapped.
        shift: (n, 3) lattice translations.
        matrix: (3, 3) Å, lattice rows.
        reference: (n, 3) float32 or float64 Å, wrapped positions at the build.
        deformation: (3, 3) F = h₀⁻¹h.
        fixed_cell: F is the identity.

    Returns:
        The displacement; infinite if a position is not finite.
    """
    largest, sane = 0.0, True
    for i in range(len(position)):
        x, y, z = place_of(position, shift, matrix, i)
        a, b, c = np.float64(reference[i, 0]), np.float64(reference[i, 1]), np.float64(reference[i, 2])
        if not fixed_cell:
            a, b, c = (
                a * deformation[0, 0] + b * deformation[1, 0] + c * deformation[2, 0],
                a * deformation[0, 1] + b * deformation[1, 1] + c * deformation[2, 1],
                a * deformation[0, 2] + b * deformation[1, 2] + c * deformation[2, 2],
            )
        squared = (x - a) * (x - a) + (y - b) * (y - b) + (z - c) * (z - c)
        sane &= squared < np.inf
        if squared > largest:
            largest = squared
    return np.sqrt(largest) if sane else np.inf
