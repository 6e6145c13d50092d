"""Screened nuclear repulsion of Ziegler, Biersack and Littmark, brought to zero at the cutoff by a polynomial envelope.

φ(r) = K Zᵢ Zⱼ / r · ψ(x) · u(r / r_c), x = (Zᵢ^0.23 + Zⱼ^0.23) r / 0.46850 Å; K = e²/(4πε₀).
ψ: J. F. Ziegler, J. P. Biersack, U. Littmark, The Stopping and Range of Ions in Matter (Pergamon, 1985).
u: the polynomial of degree p + 2 of J. Gasteiger, J. Groß, S. Günnemann, ICLR 2020, with p = 6.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from allegro_md.kernels.arguments import Atoms, Lists, Out
from allegro_md.kernels.cpu_vector import LANES, divide, load, root, splat, store
from allegro_md.kernels.exponential import exponential
from allegro_md.kernels.fixed import FINE
from allegro_md.kernels.pair import (
    ENERGY,
    OWN,
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
def screening(x: Any) -> Any:
    """ψ(x) and −ψ'(x), of a float64 vector."""
    a = SCREENING[0][0] * exponential(-SCREENING[0][1] * x)
    b = SCREENING[1][0] * exponential(-SCREENING[1][1] * x)
    c = SCREENING[2][0] * exponential(-SCREENING[2][1] * x)
    d = SCREENING[3][0] * exponential(-SCREENING[3][1] * x)
    fall = SCREENING[0][1] * a + SCREENING[1][1] * b + SCREENING[2][1] * c + SCREENING[3][1] * d
    return a + b + c + d, fall


@numba.njit(cache=True)
def envelope(t: Any) -> Any:
    """u(t) = 1 − 28 t⁶ + 48 t⁷ − 21 t⁸ and u'(t), for 0 ≤ t < 1, of a float64 vector."""
    t2 = t * t
    t5 = t2 * t2 * t
    return 1.0 - t5 * t * (28.0 - t * (48.0 - 21.0 * t)), -168.0 * t5 * (1.0 - t) * (1.0 - t)


@numba.njit(cache=True)
def pair_repulsion(r: Any, charge: Any, inverse_length: Any, cutoff: Any) -> Any:
    """φ(r) and φ'(r) / r of pairs at r < r_c.

    Args:
        r: float64 vector, Å; the others, too.
        charge: K Zᵢ Zⱼ, eV·Å.
        inverse_length: x / r, 1/Å.
        cutoff: r_c, Å.

    Returns:
        Vectors in eV and eV/Å².
    """
    one = splat(1.0)
    inverse, inverse_cutoff = divide(one, r), divide(one, cutoff)
    psi, fall = screening(r * inverse_length)
    u, u_slope = envelope(r * inverse_cutoff)
    coulomb = charge * inverse
    slope = coulomb * (psi * u_slope * inverse_cutoff - (fall * inverse_length + psi * inverse) * u)
    return coulomb * psi * u, slope * inverse


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
    """Does it in given memory, eight edges at a time; rows (n_all, 4) and table (2, n_species, n_species) float64."""
    species, virial, work, index = atoms.species, out.virial, memory.edges, memory.neighbors
    m, several, reach = work.shape[1], table.shape[1] > 1, splat(cutoff)
    charge, inverse_length = splat(table[0, 0, 0]), splat(table[1, 0, 0])
    for i in range(centers[0], centers[1]):
        n = gather(i, rows, atoms, lists, cutoff * cutoff, memory)
        for k in range(n if several else 0):
            work[OWN, k] = table[0, species[i], species[index[k]]]
            work[SLOPE, k] = table[1, species[i], species[index[k]]]
        for k in range(0, n, LANES):
            if several:
                charge, inverse_length = load(work, OWN * m + k), load(work, SLOPE * m + k)
            energy, slope = pair_repulsion(root(load(work, R2 * m + k)), charge, inverse_length, reach)
            store(work, ENERGY * m + k, energy)
            store(work, SLOPE * m + k, slope)
        if not add_forces(i, n, work, out.force):
            return i
        out.energy[i - centers[0]] = half_sum(n, work)
        if len(virial) > 0:
            add_virial(i - centers[0], n, -0.5, work, virial)
        if len(out.centroid) > 0 and not add_centroid(n, 0.5, work, index, out.centroid):
            return i
    return FINE
