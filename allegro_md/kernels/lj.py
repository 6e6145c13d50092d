"""Lennard-Jones: φ(r) = 4ε[(σ/r)¹² − (σ/r)⁶] − shift for r below the cutoff.

Energies, forces and virials of pairs are rounded to fixed point in the lanes they are computed in, and added up as
integers: in no order, so that pairs beyond the cutoff may keep their lanes and count for nothing. A center with a
neighbor nearer than `near` takes the way of the other pair kernels, which checks its sums.

Arguments of the parts: rows (n_all, 4) float64, the packed atoms.
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
    count_within,
    no_bits,
    rows_of_four,
    sum_of_bits,
    within,
)
from allegro_md.kernels.cpu_vector import LANES, all_below, divide, splat
from allegro_md.kernels.fixed import FINE
from allegro_md.kernels.pair import (
    ENERGY,
    MOST_SMALL,
    R2,
    SLOPE,
    Workspace,
    add_centroid,
    add_forces,
    add_lanes,
    add_virial,
    allocate,
    eight_vectors,
    gather,
    half_sum,
    rounding_bits,
)

NO_DISTANCE = 1e39
"""Å², `near2` of a pair of species without such a distance: beyond any cutoff."""

_FAR2 = 1e40
"""Å², square of the distance that pairs beyond the cutoff get: their numbers round to zero and do not underflow. It is
above `NO_DISTANCE`: a pair beyond the cutoff never decides which way its center takes."""


class Parameters(NamedTuple):
    """Of the pairs of species of a system.

    Attributes:
        cutoff2: square of the cutoff, Å².
        table: (n_species, n_species, 4) float64: 4εσ¹² (eV·Å¹²), 4εσ⁶ (eV·Å⁶), energy subtracted (eV), `near2` (Å²).
    """

    cutoff2: float
    table: NDArray[np.float64]


def near2(
    repulsion: NDArray[np.float64], attraction: NDArray[np.float64], shift: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Square of the distance from which on |φ|, |φ'|, and |rφ'| are below `cpu_neighbors.SMALL`, Å².

    At r ≥ 1 Å all are at most 12 |a| x² + 6 |b| x + |c| with x = r⁻⁶, which falls with r.

    Args:
        repulsion: a, (…) eV·Å¹².
        attraction: b, (…) eV·Å⁶.
        shift: c, (…) eV.

    Returns:
        (…) float64, `NO_DISTANCE` where there is none.
    """
    left, a, b = SMALL - np.abs(shift), np.abs(repulsion), np.abs(attraction)
    with np.errstate(divide="ignore", invalid="ignore"):
        x = 2.0 * left / (6.0 * b + np.sqrt(36.0 * b**2 + 48.0 * a * left))
        return np.asarray(np.where(left > 0.0, np.maximum(x ** (-1.0 / 3.0), 1.0), NO_DISTANCE))


@numba.njit(cache=True, error_model="numpy")
def lj(
    atoms: Atoms,
    lists: Lists,
    rows: NDArray[np.float64],
    centers: tuple[int, int],
    parameters: Parameters,
    out: Out,
) -> int:
    """Computes energies, forces and virials of a range of centers.

    Args:
        atoms, lists: see `arguments`.
        rows: (n_all, 4) float64, the atoms as `pair.pack` leaves them.
        centers: the first, and the one after the last.
        parameters: of the pairs of species.
        out: see `arguments`; rows of energy and virial count from the first center; forces on centers only.

    Returns:
        `FINE`, or the first center whose forces are out of range.
    """
    work, force, virial, first = allocate(lists.offsets, centers), out.force, out.virial, centers[0]
    i = first
    while i < centers[1]:
        i = _small(i, centers, rows, atoms, lists, parameters, work, out)
        if i < centers[1]:
            n = _edges(i, rows, atoms, lists, parameters, work)
            if not add_forces(i, n, work.edges, force):
                return i
            out.energy[i - first] = half_sum(n, work.edges)
            if len(virial) > 0:
                add_virial(i - first, n, -0.5, work.edges, virial)
            i += 1
    for i in range(first, centers[1] if len(out.centroid) > 0 else first):
        n = _edges(i, rows, atoms, lists, parameters, work)
        if not add_centroid(n, 0.5, work.edges, work.neighbors, out.centroid):
            return i
    return FINE


@numba.njit(cache=True, error_model="numpy", _nrt=False)
def _edges(
    i: int,
    rows: NDArray[np.float64],
    atoms: Atoms,
    lists: Lists,
    parameters: Parameters,
    work: Workspace,
) -> int:
    """Collects the neighbors of center i with energies and slopes; rows (n_all, 4); returns how many there are."""
    edges, species, table = work.edges, atoms.species, parameters.table
    n = gather(i, rows, atoms, lists, parameters.cutoff2, work)
    for k in range(n):
        row = table[species[i], species[work.neighbors[k]]]
        u = 1.0 / edges[R2, k]
        u3 = u * u * u
        a, b = row[0] * u3, row[1]
        edges[ENERGY, k] = u3 * (a - b) - row[2]
        edges[SLOPE, k] = u3 * (6.0 * b - 12.0 * a) * u
    return n


@numba.njit(cache=True, error_model="numpy", _nrt=False)
def _small(
    begin: int,
    centers: tuple[int, int],
    rows: NDArray[np.float64],
    atoms: Atoms,
    lists: Lists,
    parameters: Parameters,
    work: Workspace,
    out: Out,
) -> int:
    """Evaluates the centers from `begin` on; returns the first with a near neighbor, or the end of the range."""
    offsets, force, virial, species, kinds = lists.offsets, out.force, out.virial, atoms.species, work.kinds
    table = parameters.table
    limit, far, zero, scale = splat(parameters.cutoff2), splat(_FAR2), splat(0.0), splat(FORCE_SCALE)
    several, wanted = len(table) > 1, len(virial) > 0
    a, b, c, near = splat(table[0, 0, 0]), splat(table[0, 0, 1]), splat(table[0, 0, 2]), splat(table[0, 0, 3])
    for i in range(begin, centers[1]):
        f0, f1, f2, energy = no_bits(), no_bits(), no_bits(), no_bits()
        v0, v1, v2, v3, v4, v5 = no_bits(), no_bits(), no_bits(), no_bits(), no_bits(), no_bits()
        end, held = offsets[i + 1], 0
        for k in range(offsets[i], end, LANES):
            d0, d1, d2, index, at = eight_vectors(i, k, end, rows, atoms, lists.neighbors, work)
            if several:
                for lane in range(LANES):
                    kinds[lane] = species[i] * len(table) + species[index[at + lane]]
                a, b, c, near = rows_of_four(table, kinds, 0)
            r2 = d0 * d0 + d1 * d1 + d2 * d2
            square = within(r2, far, r2, limit, end - k)
            held += count_within(r2, limit, end - k)
            if not all_below(near, square):
                return i
            u = divide(splat(1.0), square)
            u3 = u * u * u
            p = a * u3
            e = within(u3 * (p - b) - c, zero, r2, limit, end - k)
            w = u3 * (6.0 * b - 12.0 * p) * u * scale
            g0, g1, g2 = w * d0, w * d1, w * d2
            energy = add_rounded(energy, e * scale)
            f0, f1, f2 = add_rounded(f0, g0), add_rounded(f1, g1), add_rounded(f2, g2)
            if wanted:
                v0, v1, v2 = add_rounded(v0, g0 * d0), add_rounded(v1, g1 * d1), add_rounded(v2, g2 * d2)
                v3, v4, v5 = add_rounded(v3, g1 * d2), add_rounded(v4, g0 * d2), add_rounded(v5, g0 * d1)
        if held > MOST_SMALL:
            return i
        added, row = rounding_bits(end - offsets[i]), i - centers[0]
        add_lanes(i, (f0, f1, f2), added, force)
        out.energy[row] = 0.5 * ((sum_of_bits(energy) - added) / FORCE_SCALE)
        if wanted:
            for axis, v in enumerate((v0, v1, v2, v3, v4, v5)):
                virial[row, axis] = -0.5 * ((sum_of_bits(v) - added) / FORCE_SCALE)
    return centers[1]
