"""Embedded-atom method: E_i = F(ρ_i) + ½ Σ_j φ(r_ij), ρ_i = Σ_j ρ_j(r_ij), on tabulated functions.

M. S. Daw, M. I. Baskes, Phys. Rev. B 29, 6443 (1984). In this form the energy of an atom is strictly local: the
gradients of F(ρ_i) need the density of the center only, and are added to both ends of each edge.

Arguments of the parts: work (≥ 4, m) float64, index (m,) int32 and interval (m,) int64, of the neighbors of a center;
species (n_all,) int16; pairs (n, n, intervals, …) float64, tables of ordered pairs; force (n_all, 3) int64 in
fixed-point units, written.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from allegro_md.kernels.arguments import Atoms, Lists, Out
from allegro_md.kernels.fixed import EDGE_BOUND, EDGE_TERMS, FINE, to_fixed
from allegro_md.kernels.no_refcount import no_refcount
from allegro_md.kernels.pair import (
    D0,
    D1,
    D2,
    R2,
    ROWS,
    SLOPE,
    add_centroid,
    add_forces,
    add_virial,
    gather,
    widest,
)

_FRACTION, _INVERSE, _DENSITY = ROWS, ROWS + 1, ROWS + 2  # more rows of the work table: p, 1/r (1/Å), ρ_j'/r (1/Å²)


class Functions(NamedTuple):
    """Tabulated functions of the species of a system.

    Attributes:
        cutoff: Å.
        rho_spacing: of the table of F.
        embedding: (n_species, n_rho − 1, 4) float64, coefficients of F, eV.
        r_spacing: Å, of the tables over r.
        pairs: (n_species, n_species, n_r − 1, 8) float64: for center and neighbor species, the coefficients of the
            neighbor's density ρ_j(r) and then of r φ(r) (eV·Å), which share a cache line.
    """

    cutoff: float
    rho_spacing: float
    embedding: NDArray[np.float64]
    r_spacing: float
    pairs: NDArray[np.float64]


@numba.njit(cache=True)
def embed(rho: float, spacing: float, table: NDArray[np.float64]) -> tuple[float, float]:
    """F(ρ) (eV) and F'(ρ) from the table (n_rho − 1, 4) of one element; a straight line beyond its end."""
    t = rho / spacing
    m = min(max(int(t), 0), len(table) - 1)
    p, c = min(t - m, 1.0), table[m]
    slope = ((3.0 * c[0] * p + 2.0 * c[1]) * p + c[2]) / spacing
    value = ((c[0] * p + c[1]) * p + c[2]) * p + c[3]
    return value + slope * max(rho - spacing * len(table), 0.0), slope


@numba.njit(cache=True, error_model="numpy")
def eam(
    atoms: Atoms,
    lists: Lists,
    rows: NDArray[np.float64],
    centers: tuple[int, int],
    functions: Functions,
    out: Out,
) -> int:
    """Computes energies, forces and virials of a range of centers.

    Args:
        atoms, lists: see `arguments`.
        rows: (n_all, 4) float64, the atoms as `pair.pack` leaves them.
        centers: the first, and the one after the last.
        functions: of the elements.
        out: see `arguments`; rows of energy and virial count from the first center; forces on neighbors, too.

    Returns:
        `FINE`, or the first center whose forces are out of range.
    """
    atoms, lists, out = no_refcount(atoms), no_refcount(lists), no_refcount(out)
    rows, codes = no_refcount(rows), no_refcount(rows.view(np.int64))
    first, last = centers
    cutoff, rho_spacing, embedding, r_spacing, pairs = functions
    m, species, force, virial = widest(lists.offsets, first, last), atoms.species, out.force, out.virial
    work, index, interval = np.empty((ROWS + 3, m)), np.empty(m, np.int32), np.empty(m, np.int64)
    for i in range(first, last):
        n = gather(i, rows, codes, atoms, lists, cutoff * cutoff, work, index)
        if n > EDGE_TERMS:
            return i
        _locate(n, r_spacing, pairs.shape[2] - 1, work, interval)
        total, rho = _sums(i, n, species, 1.0 / r_spacing, pairs, work, index, interval)
        embedded, embedded_slope = embed(rho, rho_spacing, embedding[species[i]])
        out.energy[i - first] = embedded + 0.5 * total
        if not add_forces(i, n, work, force):
            return i
        if not _add_edges(i, n, embedded_slope, work, index, force):
            return i
        if len(virial) > 0 or len(out.centroid) > 0:
            for k in range(n):
                work[SLOPE, k] = 0.5 * work[SLOPE, k] + embedded_slope * work[_DENSITY, k]
        if len(virial) > 0:
            add_virial(i - first, n, -1.0, work, virial)
        if len(out.centroid) > 0 and not add_centroid(n, 1.0, work, index, out.centroid):
            return i
    return FINE


@numba.njit(cache=True, error_model="numpy")
def _locate(n: int, spacing: float, last: int, work: NDArray[np.float64], interval: NDArray[np.int64]) -> None:
    """Finds each distance in the tables: interval, fraction (at most 1 in the last interval) and 1/r."""
    for k in range(n):
        r = math.sqrt(work[R2, k])
        t = r / spacing
        m = min(max(int(t), 0), last)  # a NaN must not become an index
        interval[k] = m
        work[_FRACTION, k] = min(t - m, 1.0)
        work[_INVERSE, k] = 1.0 / r


@numba.njit(cache=True)
def _sums(
    i: int,
    n: int,
    species: NDArray[np.int16],
    per_spacing: float,
    pairs: NDArray[np.float64],
    work: NDArray[np.float64],
    index: NDArray[np.int32],
    interval: NDArray[np.int64],
) -> tuple[float, float]:
    """Σ φ (eV) and ρ of center i; leaves ρ_j'/r and φ'/r of its edges in `work`."""
    total = rho = 0.0
    table = pairs[species[i]]
    several = len(pairs) > 1
    for k in range(n):
        c = table[species[index[k]] if several else 0, interval[k]]
        p, u = work[_FRACTION, k], work[_INVERSE, k]
        rho += ((c[0] * p + c[1]) * p + c[2]) * p + c[3]
        work[_DENSITY, k] = ((3.0 * c[0] * p + 2.0 * c[1]) * p + c[2]) * per_spacing * u
        phi = (((c[4] * p + c[5]) * p + c[6]) * p + c[7]) * u
        total += phi
        work[SLOPE, k] = (((3.0 * c[4] * p + 2.0 * c[5]) * p + c[6]) * per_spacing - phi) * u * u
    return total, rho


@numba.njit(cache=True)
def _add_edges(
    i: int,
    n: int,
    embedded_slope: float,
    work: NDArray[np.float64],
    index: NDArray[np.int32],
    force: NDArray[np.int64],
) -> bool:
    """Adds each gradient of F(ρ_i) to center i and its opposite to the neighbor; False when one is out of range."""
    bad = False
    for k in range(n):
        w = embedded_slope * work[_DENSITY, k]
        bad |= not w * w * work[R2, k] < EDGE_BOUND * EDGE_BOUND
    if bad:
        return False
    f0 = f1 = f2 = 0
    for k in range(n):
        w = embedded_slope * work[_DENSITY, k]
        q0, q1, q2 = to_fixed(w * work[D0, k]), to_fixed(w * work[D1, k]), to_fixed(w * work[D2, k])
        f0 += q0
        f1 += q1
        f2 += q2
        j = np.uint64(index[k])
        force[j, 0] -= q0
        force[j, 1] -= q1
        force[j, 2] -= q2
    force[i, 0] += f0
    force[i, 1] += f1
    force[i, 2] += f2
    return True
