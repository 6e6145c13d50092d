"""The extremes that guards look at, one pass each: see `base.LimitFunctions`."""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

from allegro_md.kernels.arguments import Atoms, Lists
from allegro_md.kernels.geometry import pair_vector
from allegro_md.kernels.no_refcount import no_refcount
from allegro_md.state import AtomState


def largest_length(rows: NDArray[np.float64] | NDArray[np.int64]) -> float:
    """Largest length of `rows` (n, 3) float64 or int64, in their unit; infinite if one is not finite."""
    return float(_largest_length(rows))


def least_clearance(
    state: AtomState, lists: tuple[NDArray[np.int64], NDArray[np.int32]], shortest: NDArray[np.float64]
) -> tuple[float, int, int]:
    """Finds the listed pair that is closest to its limit; `shortest` (n_species, n_species) Å."""
    position, shift, species = (state.host_all(name) for name in ("position", "shift", "species"))
    atoms = Atoms(position, shift, species, state.cell.matrix)
    least, i, j = _least_clearance(atoms, Lists(*lists), shortest)
    return float(least), int(i), int(j)


def clearances(
    state: AtomState, lists: tuple[NDArray[np.int64], NDArray[np.int32]], shortest: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.int32]]:
    """Finds of each center the listed pair that is closest to its limit, from host copies of the atoms.

    Args:
        state, lists: as of `least_clearance`.
        shortest: (n_species, n_species) Å.

    Returns:
        (n_centers,) float64, distance − limit, Å, and (n_centers,) int32, the index of the other atom, the first of
        the list among equals; inf and −1 without such pairs.
    """
    position, shift, species = (state.host_all(name) for name in ("position", "shift", "species"))
    found: tuple[NDArray[np.float64], NDArray[np.int32]] = _clearances(
        Atoms(position, shift, species, state.cell.matrix), Lists(*lists), shortest
    )
    return found


@numba.njit(cache=True)
def _largest_length(rows: NDArray[np.float64] | NDArray[np.int64]) -> float:
    """Largest length of `rows` (n, 3), in their unit; infinite if one is not finite."""
    largest = 0.0
    for i in range(len(rows)):
        x, y, z = float(rows[i, 0]), float(rows[i, 1]), float(rows[i, 2])
        squared = x * x + y * y + z * z
        if not np.isfinite(squared):
            return np.inf
        largest = max(largest, squared)
    return np.sqrt(largest)


@numba.njit(cache=True)
def _clearances(
    atoms: Atoms,
    lists: Lists,
    shortest: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.int32]]:
    """Finds of each center the pair that is closest to its limit: see `clearances`.

    Args:
        atoms, lists: see `arguments`; species are indices into the limits.
        shortest: (species, species) float64, Å; pairs with 0 have no limit.
    """
    atoms, lists = no_refcount(atoms), no_refcount(lists)
    offsets, neighbors, species = lists.offsets, lists.neighbors, atoms.species
    nearest = np.full(len(offsets) - 1, np.inf)
    partner = np.full(len(offsets) - 1, -1, np.int32)
    for i in range(len(offsets) - 1):
        for slot in range(offsets[i], offsets[i + 1]):
            j = neighbors[slot]
            limit = shortest[species[i], species[j]]
            if limit > 0.0:
                d0, d1, d2 = pair_vector(atoms.position, atoms.shift, atoms.cell, i, j)
                clearance = np.sqrt(d0 * d0 + d1 * d1 + d2 * d2) - limit
                if clearance < nearest[i]:
                    nearest[i], partner[i] = clearance, j
    return nearest, partner


@numba.njit(cache=True)
def _least_clearance(
    atoms: Atoms,
    lists: Lists,
    shortest: NDArray[np.float64],
) -> tuple[float, int, int]:
    """Finds the pair that is closest to its limit.

    Args:
        atoms, lists: see `arguments`; species are indices into the limits.
        shortest: (species, species) float64, Å; pairs with 0 have no limit.

    Returns:
        Least distance − limit, Å, and the indices of the two atoms; (inf, −1, −1) without such pairs.
    """
    atoms, lists = no_refcount(atoms), no_refcount(lists)
    offsets, neighbors, species = lists.offsets, lists.neighbors, atoms.species
    least, first, second = np.inf, -1, -1
    for i in range(len(offsets) - 1):
        for slot in range(offsets[i], offsets[i + 1]):
            j = neighbors[slot]
            limit = shortest[species[i], species[j]]
            if limit > 0.0:
                d0, d1, d2 = pair_vector(atoms.position, atoms.shift, atoms.cell, i, j)
                clearance = np.sqrt(d0 * d0 + d1 * d1 + d2 * d2) - limit
                if clearance < least:
                    least, first, second = clearance, i, j
    return least, first, second
