"""Screened nuclear repulsion of Ziegler, Biersack and Littmark, brought to zero at the cutoff by a polynomial envelope.

φ(r) = K Zᵢ Zⱼ / r · ψ(x) · u(r / r_c), x = (Zᵢ^0.23 + Zⱼ^0.23) r / 0.46850 Å; K = e²/(4πε₀).
ψ: J. F. Ziegler, J. P. Biersack, U. Littmark, The Stopping and Range of Ions in Matter (Pergamon, 1985).
u: the polynomial of degree p + 2 of J. Gasteiger, J. Groß, S. Günnemann, ICLR 2020, with p = 6.
"""

from __future__ import annotations

import math

import numba
import numpy as np
from numpy.typing import NDArray

from allegro_md.kernels.arguments import Atoms, Lists, Out
from allegro_md.kernels.fixed import FINE
from allegro_md.kernels.pair import (
    ENERGY,
    R2,
    SLOPE,
    Workspace,
    add_centroid,
    add_forces,
    add_virial,
    allocate,
    gather,
    half_sum,
)

LENGTH = 0.46850
"""Screening length times (Zᵢ^0.23 + Zⱼ^0.23), Å."""

EXPONENT = 0.23
"""Power of the atomic numbers in the screening length."""


SCREENING = ((0.02817, 0.20162), (0.28022, 0.40290), (0.50986, 0.94229), (0.18175, 3.19980))
"""Amplitudes and decays of ψ."""


@numba.njit(cache=True)
def screening(x: float) -> tuple[float, float]:
    """ψ(x) and ψ'(x)."""
    a = SCREENING[0][0] * math.exp(-SCREENING[0][1] * x)
    b = SCREENING[1][0] * math.exp(-SCREENING[1][1] * x)
    c = SCREENING[2][0] * math.exp(-SCREENING[2][1] * x)
    d = SCREENING[3][0] * math.exp(-SCREENING[3][1] * x)
    slope = SCREENING[0][1] * a + SCREENING[1][1] * b + SCREENING[2][1] * c + SCREENING[3][1] * d
    return a + b + c + d, -slope


@numba.njit(cache=True)
def envelope(t: float) -> tuple[float, float]:
    """u(t) = 1 − 28 t⁶ + 48 t⁷ − 21 t⁸ and u'(t), for 0 ≤ t < 1."""
    t2 = t * t
    t5 = t2 * t2 * t
    return 1.0 - t5 * t * (28.0 - t * (48.0 - 21.0 * t)), -168.0 * t5 * (1.0 - t) * (1.0 - t)


@numba.njit(cache=True, error_model="numpy")
def zbl(
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
        table: (2, n_species, n_species): K Zᵢ Zⱼ (eV·Å), x / r (1/Å).
        out: see `arguments`; rows of energy and virial count from the first center; forces on centers only.

    Returns:
        `FINE`, or the first center whose forces are out of range.
    """
    return int(_evaluate(atoms, lists, rows, centers, cutoff, table, allocate(lists.offsets, centers), out))


@numba.njit(cache=True, error_model="numpy", _nrt=False)
def _evaluate(
    atoms: Atoms,
    lists: Lists,
    rows: NDArray[np.float64],
    centers: tuple[int, int],
    cutoff: float,
    table: NDArray[np.float64],
    memory: Workspace,
    out: Out,
) -> int:
    """Does it in given memory; rows (n_all, 4) and table (2, n_species, n_species) float64."""
    species, virial, work, index = atoms.species, out.virial, memory.edges, memory.neighbors
    for i in range(centers[0], centers[1]):
        n = gather(i, rows, atoms, lists, cutoff * cutoff, memory)
        for k in range(n):
            charge, inverse_length = table[0, species[i], species[index[k]]], table[1, species[i], species[index[k]]]
            r = math.sqrt(work[R2, k])
            psi, psi_slope = screening(r * inverse_length)
            u, u_slope = envelope(r / cutoff)
            coulomb = charge / r
            work[ENERGY, k] = coulomb * psi * u
            slope = coulomb * (psi_slope * inverse_length * u + psi * u_slope / cutoff - psi * u / r)
            work[SLOPE, k] = slope / r
        if not add_forces(i, n, work, out.force):
            return i
        out.energy[i - centers[0]] = half_sum(n, work)
        if len(virial) > 0:
            add_virial(i - centers[0], n, -0.5, work, virial)
        if len(out.centroid) > 0 and not add_centroid(n, 0.5, work, index, out.centroid):
            return i
    return FINE
