"""Blocks of centers: edges gathered into whole tiles, edge gradients spread as fixed-point forces."""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

from allegro_md.kernels.arguments import Atoms, Block, Lists
from allegro_md.kernels.fixed import CENTER_BOUND, FINE, to_fixed
from allegro_md.kernels.geometry import pair_vector

BLOCK_ROWS = 512
"""Rows of a tile, and of every matrix product at inference."""

TILES = 8
"""Tiles per block: large enough to hide the cost of calls, small enough to stay near the cache."""

LIMIT = CENTER_BOUND / 16.0
"""Largest component of an edge gradient, and of what one potential adds up on one copy of an atom, eV/Å: a sixteenth
of `fixed.CENTER_BOUND`, for the copies of an atom that its owner adds up."""


def padded(rows: int) -> int:
    """The smallest whole number of tiles that holds the rows, in rows (at least one tile)."""
    return max(1, -(-rows // BLOCK_ROWS)) * BLOCK_ROWS


@numba.njit(cache=True)
def fill_block(
    first: int,
    atoms: Atoms,
    lists: Lists,
    cutoff2: NDArray[np.float64],
    block: Block,
) -> tuple[int, int]:
    """Takes centers from `first` on, whole ones, while their edges fit into the rows; pads the rest.

    Args:
        first: first center.
        atoms, lists: see `arguments`; species are indices into the cutoffs.
        cutoff2: (species, species) float64, Å², [center, neighbor].
        block: filled.

    Returns:
        Number of centers taken and of their edges; (0, edges) where the first center alone does not fit. Padding
        belongs to the index after the last center, has the length of the largest cutoff and points along x.
    """
    vector, center, neighbor = block
    offsets, neighbors, species = lists.offsets, lists.neighbors, atoms.species
    rows, edge, last = len(vector), 0, first
    for i in range(first, min(len(offsets) - 1, first + rows)):  # atoms without edges need memory, too
        k = edge
        for slot in range(offsets[i], offsets[i + 1]):
            j = neighbors[slot]
            d0, d1, d2 = pair_vector(atoms.position, atoms.shift, atoms.cell, i, j)
            if d0 * d0 + d1 * d1 + d2 * d2 >= cutoff2[species[i], species[j]]:
                continue
            if k < rows:
                vector[k, 0], vector[k, 1], vector[k, 2] = d0, d1, d2
                center[k] = i - first
                neighbor[k] = j
            k += 1
        if k > rows:
            if i == first:
                return 0, k
            break
        edge, last = k, i + 1
    vector[edge:, 0] = np.sqrt(cutoff2.max())
    vector[edge:, 1:] = 0.0
    center[edge:] = last - first
    neighbor[edge:] = 0
    return last - first, edge


@numba.njit(cache=True)
def spread_block(
    first: int,
    n_edges: int,
    block: Block,
    gradient: NDArray[np.float64],
    force: NDArray[np.int64],
    virial: NDArray[np.float64],
) -> int:
    """Adds a block's edge gradients to both ends of the edges.

    Args:
        first: first center of the block.
        n_edges: edges that are no padding.
        block: the edges.
        gradient: (rows, 3) float64, dE_center/dd, eV/Å.
        force: (n_all, 3) int64, fixed-point units, added to; of this potential alone, since its sums are checked
            against `LIMIT`.
        virial: (centers of the block, 6) float64, eV, added to, −Σ d ⊗ gradient, symmetric part, order
            xx yy zz yz xz xy; or (0, 6).

    Returns:
        `FINE`, or a center whose gradient is not finite or whose forces are out of range.
    """
    vector, center, neighbor = block
    limit, e = to_fixed(LIMIT), 0
    while e < n_edges:
        here, start = center[e], e
        i = first + here
        x, y, z = force[i, 0], force[i, 1], force[i, 2]  # no edge leads from an atom to the same copy of it
        while e < n_edges and center[e] == here:
            j = np.uint64(neighbor[e])
            g0, g1, g2 = gradient[e, 0], gradient[e, 1], gradient[e, 2]
            if not (abs(g0) < LIMIT and abs(g1) < LIMIT and abs(g2) < LIMIT):
                return i
            f0, f1, f2 = to_fixed(g0), to_fixed(g1), to_fixed(g2)
            x, y, z = x + f0, y + f1, z + f2
            a, b, c = force[j, 0] - f0, force[j, 1] - f1, force[j, 2] - f2
            force[j, 0], force[j, 1], force[j, 2] = a, b, c
            if abs(x) > limit or abs(y) > limit or abs(z) > limit or abs(a) > limit or abs(b) > limit or abs(c) > limit:
                return i
            e += 1
        force[i, 0], force[i, 1], force[i, 2] = x, y, z
        if len(virial) > 0:
            _add_virial(start, e, vector, gradient, virial[here])
    return FINE


@numba.njit(cache=True)
def _add_virial(
    start: int, stop: int, vector: NDArray[np.float64], gradient: NDArray[np.float64], virial: NDArray[np.float64]
) -> None:
    """Adds −Σ d ⊗ g of a center's edges to its virial.

    Args:
        start: first edge.
        stop: edge after the last.
        vector: (edges, 3) Å, d.
        gradient: (edges, 3) eV/Å, g.
        virial: (6,) eV, added to.
    """
    xx, yy, zz, yz, xz, xy = virial[0], virial[1], virial[2], virial[3], virial[4], virial[5]
    for e in range(start, stop):
        d0, d1, d2 = vector[e, 0], vector[e, 1], vector[e, 2]
        g0, g1, g2 = gradient[e, 0], gradient[e, 1], gradient[e, 2]
        xx -= d0 * g0
        yy -= d1 * g1
        zz -= d2 * g2
        yz -= 0.5 * (d1 * g2 + d2 * g1)
        xz -= 0.5 * (d0 * g2 + d2 * g0)
        xy -= 0.5 * (d0 * g1 + d1 * g0)
    virial[0], virial[1], virial[2], virial[3], virial[4], virial[5] = xx, yy, zz, yz, xz, xy
