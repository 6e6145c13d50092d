"""Lennard-Jones: φ(r) = 4ε[(σ/r)¹² − (σ/r)⁶] − shift for r below the cutoff."""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

from allegro_md.kernels.arguments import Atoms, Lists, Out
from allegro_md.kernels.fixed import FINE
from allegro_md.kernels.no_refcount import no_refcount
from allegro_md.kernels.pair import (
    ENERGY,
    R2,
    ROWS,
    SLOPE,
    add_centroid,
    add_forces,
    add_virial,
    gather,
    half_sum,
    widest,
)


@numba.njit(cache=True)
def _fill(
    i: int, n: int, index: NDArray[np.int32], species: NDArray[np.int16], table: NDArray[np.float64],
    coefficients: NDArray[np.float64],
) -> None:
    """Writes the coefficients of each of the n pairs of center i.

    Args:
        i: the center.
        n: number of its neighbors.
        index: (≥ n,) the neighbors.
        species: (n_all,) of all atoms.
        table: (3, species, species) coefficients of ordered pairs, eV and Å.
        coefficients: (3, m), written.
    """
    own = table[species[i]]
    for k in range(n):
        row = own[species[index[k]]]
        coefficients[0, k], coefficients[1, k], coefficients[2, k] = row[0], row[1], row[2]


@numba.njit(cache=True, error_model="numpy")
def lj(
    atoms: Atoms,
    lists: Lists,
    rows: NDArray[np.float64],
    centers: tuple[int, int],
    cutoff: float,
    table: NDArray[np.float64],
    out: Out,
) -> int:
    """Computes energies, forces and virials of a range of centers.

    Args:
        atoms, lists: see `arguments`.
        rows: (n_all, 4) float64, the atoms as `pair.pack` leaves them.
        centers: the first, and the one after the last.
        cutoff: Å.
        table: (n_species, n_species, 3): 4εσ¹² (eV·Å¹²), 4εσ⁶ (eV·Å⁶), energy subtracted (eV).
        out: see `arguments`; rows of energy and virial count from the first center; forces on centers only.

    Returns:
        `FINE`, or the first center whose forces are out of range.
    """
    atoms, lists, out = no_refcount(atoms), no_refcount(lists), no_refcount(out)
    rows, codes = no_refcount(rows), no_refcount(rows.view(np.int64))
    first, last = centers
    m, force, virial = widest(lists.offsets, first, last), out.force, out.virial
    work, index, coefficients = np.empty((ROWS, m)), np.empty(m, np.int32), np.empty((3, m))
    several = len(table) > 1
    for c in range(3):
        coefficients[c, :] = table[0, 0, c]
    cutoff2 = cutoff * cutoff
    for i in range(first, last):
        n = gather(i, rows, codes, atoms, lists, cutoff2, work, index)
        if several:
            _fill(i, n, index, atoms.species, table, coefficients)
        for k in range(n):
            u = 1.0 / work[R2, k]
            u3 = u * u * u
            a, b = coefficients[0, k] * u3, coefficients[1, k]
            work[ENERGY, k] = u3 * (a - b) - coefficients[2, k]
            work[SLOPE, k] = u3 * (6.0 * b - 12.0 * a) * u
        if not add_forces(i, n, work, force):
            return i
        out.energy[i - first] = half_sum(n, work)
        if len(virial) > 0:
            add_virial(i - first, n, -0.5, work, virial)
        if len(out.centroid) > 0 and not add_centroid(n, 0.5, work, index, out.centroid):
            return i
    return FINE
