"""Lennard-Jones: φ(r) = 4ε[(σ/r)¹² − (σ/r)⁶] − shift for r below the cutoff."""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

from allegro_md.kernels.fixed import FINE
from allegro_md.kernels.pair import ENERGY, R2, ROWS, SLOPE, add_forces, add_virial, gather, half_sum, packed, widest


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
    position: NDArray[np.float64],
    shift: NDArray[np.int32],
    species: NDArray[np.int16],
    h: NDArray[np.float64],
    offsets: NDArray[np.int64],
    neighbors: NDArray[np.int32],
    cutoff: float,
    table: NDArray[np.float64],
    force: NDArray[np.int64],
    energy: NDArray[np.float64],
    virial: NDArray[np.float64],
) -> int:
    """Energies, forces and virials of the centers.

    Args:
        position: (n_all, 3) Å.
        shift: (n_all, 3).
        species: (n_all,).
        h: (3, 3) Å, lattice rows.
        offsets: (n_centers + 1,).
        neighbors: (offsets[-1],) indices of local atoms and ghosts.
        cutoff: Å.
        table: (n_species, n_species, 3): 4εσ¹² (eV·Å¹²), 4εσ⁶ (eV·Å⁶), energy subtracted (eV).
        force: (n_all, 3) fixed-point units, added to.
        energy: (n_centers,) eV, stored.
        virial: (n_centers, 6) eV, stored; (0, 6) when not wanted.

    Returns:
        `FINE`, or the first center whose forces are out of range.
    """
    m = widest(offsets)
    work, index, coefficients = np.empty((ROWS, m)), np.empty(m, np.int32), np.empty((3, m))
    several = len(table) > 1
    for c in range(3):
        coefficients[c, :] = table[0, 0, c]
    rows = packed(position, shift)
    codes = rows.view(np.int64)
    cutoff2 = cutoff * cutoff
    for i in range(len(offsets) - 1):
        n = gather(i, rows, codes, position, shift, h, offsets, neighbors, cutoff2, work, index)
        if several:
            _fill(i, n, index, species, table, coefficients)
        for k in range(n):
            u = 1.0 / work[R2, k]
            u3 = u * u * u
            a, b = coefficients[0, k] * u3, coefficients[1, k]
            work[ENERGY, k] = u3 * (a - b) - coefficients[2, k]
            work[SLOPE, k] = u3 * (6.0 * b - 12.0 * a) * u
        if not add_forces(i, n, work, force):
            return i
        energy[i] = half_sum(n, work)
        if len(virial) > 0:
            add_virial(i, n, -0.5, work, virial)
    return FINE
