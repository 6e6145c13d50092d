"""Embedded-atom method: E_i = F(ρ_i) + ½ Σ_j φ(r_ij), ρ_i = Σ_j ρ_j(r_ij), on tabulated functions.

M. S. Daw, M. I. Baskes, Phys. Rev. B 29, 6443 (1984). In this form the energy of an atom is strictly local: the
gradients of F(ρ_i) need the density of the center only, and are added to both ends of each edge.

Arguments of the parts: work (7, m) float64 and index (m,) int32, of the neighbors of a center;
species (n_all,) int16; pairs (n, n, intervals, …) float64, tables of ordered pairs; force (n_all, 3) int64 in
fixed-point units, written.
"""

from __future__ import annotations

from typing import NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from allegro_md.exact import FORCE_SCALE
from allegro_md.kernels.arguments import Atoms, Lists, Out
from allegro_md.kernels.cpu_neighbors import (
    SMALL,
    add_rounded,
    no_bits,
    rows_of_eight,
    take_rounded,
)
from allegro_md.kernels.cpu_vector import (
    LANES,
    all_below,
    cast,
    divide,
    first_of,
    least,
    load,
    most,
    root,
    splat,
    store,
    sum_of,
    truncated,
)
from allegro_md.kernels.fixed import EDGE_BOUND, EDGE_TERMS, FINE, to_fixed
from allegro_md.kernels.pair import (
    OWN,
    R2,
    SLOPE,
    Workspace,
    add_centroid,
    add_forces,
    add_lanes,
    add_virial,
    allocate,
    gather,
    rounding_bits,
)

_DENSITY = OWN  # row of the work table: ρ_j'/r (1/Å²)


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
    return int(_evaluate(atoms, lists, rows, centers, functions, allocate(lists.offsets, centers), out))


@numba.njit(cache=True, error_model="numpy", _nrt=False)
def _evaluate(
    atoms: Atoms,
    lists: Lists,
    rows: NDArray[np.float64],
    centers: tuple[int, int],
    functions: Functions,
    memory: Workspace,
    out: Out,
) -> int:
    """Does it in given memory; rows (n_all, 4) float64."""
    species, force, virial, work, index = atoms.species, out.force, out.virial, memory.edges, memory.neighbors
    for i in range(centers[0], centers[1]):
        n = gather(i, rows, atoms, lists, functions.cutoff * functions.cutoff, memory)
        if n > EDGE_TERMS:
            return i
        total, rho = _sums(i, n, species, functions.r_spacing, functions.pairs, memory)
        embedded, slope = embed(rho, functions.rho_spacing, functions.embedding[species[i]])
        out.energy[i - centers[0]] = embedded + 0.5 * total
        if _small(n, slope, work):
            _add_small(i, n, slope, work, index, force)
        elif not add_forces(i, n, work, force) or not _add_edges(i, n, slope, work, index, force):
            return i
        if len(virial) > 0 or len(out.centroid) > 0:
            for k in range(n):
                work[SLOPE, k] = 0.5 * work[SLOPE, k] + slope * work[_DENSITY, k]
        if len(virial) > 0:
            add_virial(i - centers[0], n, -1.0, work, virial)
        if len(out.centroid) > 0 and not add_centroid(n, 1.0, work, index, out.centroid):
            return i
    return FINE


@numba.njit(cache=True, error_model="numpy", inline="always")
def _sums(
    i: int,
    n: int,
    species: NDArray[np.int16],
    spacing: float,
    pairs: NDArray[np.float64],
    memory: Workspace,
) -> tuple[float, float]:
    """Σ φ (eV) and ρ of center i; leaves ρ_j'/r and φ'/r of its edges in memory."""
    work, index, places, m = memory.edges, memory.neighbors, memory.kinds, memory.edges.shape[1]
    total, rho, one, per_spacing = splat(0.0), splat(0.0), splat(1.0), splat(1.0 / spacing)
    kinds, intervals = len(pairs), pairs.shape[2]
    end = splat(float(intervals - 1))
    for k in range(0, n, LANES):
        r = root(load(work, R2 * m + k))
        t = divide(r, splat(spacing))
        whole = truncated(least(most(t, splat(0.0)), end))  # a NaN must not become an index
        p, u = least(t - cast(whole, t), one), divide(one, r)  # p is at most 1 in the last interval
        store(places, 0, whole)
        if kinds > 1:
            for lane in range(LANES):
                places[lane] += (species[i] * kinds + species[index[k + lane]]) * intervals
        c0, c1, c2, c3, c4, c5, c6, c7 = rows_of_eight(pairs, places, 0)
        rho = rho + first_of(((c0 * p + c1) * p + c2) * p + c3, n - k)
        store(work, _DENSITY * m + k, ((3.0 * c0 * p + 2.0 * c1) * p + c2) * per_spacing * u)
        phi = (((c4 * p + c5) * p + c6) * p + c7) * u
        total = total + first_of(phi, n - k)
        store(work, SLOPE * m + k, (((3.0 * c4 * p + 2.0 * c5) * p + c6) * per_spacing - phi) * u * u)
    return sum_of(total), sum_of(rho)


@numba.njit(cache=True, error_model="numpy", inline="always")
def _small(n: int, embedded_slope: float, work: NDArray[np.float64]) -> bool:
    """Says whether all gradients of the n edges are below `cpu_neighbors.SMALL`."""
    m, limit, factor = work.shape[1], splat(SMALL * SMALL), splat(embedded_slope)
    for k in range(0, n, LANES):
        a, b, r2 = load(work, SLOPE * m + k), factor * load(work, _DENSITY * m + k), load(work, R2 * m + k)
        if not (all_below(a * a * r2, limit) and all_below(b * b * r2, limit)):
            return False
    return True


@numba.njit(cache=True, error_model="numpy", inline="always")
def _add_small(
    i: int,
    n: int,
    embedded_slope: float,
    work: NDArray[np.float64],
    index: NDArray[np.int32],
    force: NDArray[np.int64],
) -> None:
    """Adds pair forces to center i, and gradients of F(ρ_i) to the center and their opposites to the neighbors.

    Edges that fill up the last vector have a pair vector of zeros and add nothing.
    """
    m, factor, scale = work.shape[1], splat(embedded_slope), splat(FORCE_SCALE)
    f0, f1, f2 = no_bits(), no_bits(), no_bits()
    for k in range(0, n, LANES):
        d0, d1, d2 = load(work, k), load(work, m + k), load(work, 2 * m + k)
        w, v = load(work, SLOPE * m + k) * scale, factor * load(work, _DENSITY * m + k) * scale
        g0, g1, g2 = v * d0, v * d1, v * d2
        f0 = add_rounded(add_rounded(f0, w * d0), g0)
        f1 = add_rounded(add_rounded(f1, w * d1), g1)
        f2 = add_rounded(add_rounded(f2, w * d2), g2)
        take_rounded(force, index, k, g0, g1, g2)
    add_lanes(i, (f0, f1, f2), 2 * rounding_bits(n), force)


@numba.njit(cache=True, _nrt=False)
def _add_edges(
    i: int,
    n: int,
    embedded_slope: float,
    work: NDArray[np.float64],
    index: NDArray[np.int32],
    force: NDArray[np.int64],
) -> bool:
    """Adds gradients of F(ρ_i), not all small, one by one to both ends; False when one is out of range."""
    for k in range(n):
        w = embedded_slope * work[_DENSITY, k]
        if not w * w * work[R2, k] < EDGE_BOUND * EDGE_BOUND:
            return False
        for axis in range(3):
            fixed = to_fixed(w * work[axis, k])
            force[i, axis] += fixed
            force[index[k], axis] -= fixed
    return True
