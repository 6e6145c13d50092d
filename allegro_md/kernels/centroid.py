"""Virials of atoms in the centroid form, in fixed point: −d ⊗ g of each edge, at the neighbor.

W_j = −Σ_i d_ij ⊗ g_ij with g_ij = ∂E_i/∂d_ij: an atom that is pushed gets its distance from the center of the energy
that pushes it. The sum over all atoms is the virial; each W_j is not symmetric. D. Surblys et al., Phys. Rev. E 99,
051301 (2019). Integers are added up, so that an atom's bits do not depend on the ranks that hold its neighbors.
"""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

from allegro_md.exact import FORCE_RANGE
from allegro_md.kernels.arguments import Block
from allegro_md.kernels.fixed import FINE, to_fixed

VIRIAL_LIMIT = FORCE_RANGE / 128.0
"""Largest component of an edge's virial, and of what one potential adds up on one copy of an atom, eV: 1/128 of the
range, for the terms of a sum of potentials and the copies of an atom that its owner adds up."""


@numba.njit(cache=True)
def add_edge(
    j: int, d: tuple[float, float, float], g: tuple[float, float, float], centroid: NDArray[np.int64]
) -> bool:
    """Adds −d ⊗ g to the virial of a neighbor.

    Args:
        j: the neighbor.
        d: Å, from the center to it.
        g: eV/Å, ∂E/∂d of the center.
        centroid: (n_all, 9) int64, fixed-point units of eV, added to.

    Returns:
        False where a component is not finite or out of range.
    """
    limit, fine = to_fixed(VIRIAL_LIMIT), True
    for a in range(3):
        for b in range(3):
            term = -d[a] * g[b]
            if not abs(term) < VIRIAL_LIMIT:
                return False
            centroid[j, 3 * a + b] += to_fixed(term)
            fine &= abs(centroid[j, 3 * a + b]) <= limit
    return fine


@numba.njit(cache=True)
def spread_virials(
    first: int, n_edges: int, block: Block, gradient: NDArray[np.float64], centroid: NDArray[np.int64]
) -> int:
    """Adds the virials of a block's edges to their neighbors.

    Args:
        first: first center of the block.
        n_edges: edges that are no padding.
        block: the edges.
        gradient: (rows, 3) float64, ∂E/∂d of the center, eV/Å.
        centroid: (n_all, 9) int64, fixed-point units of eV, added to.

    Returns:
        `FINE`, or a center with a virial that is not finite or out of range.
    """
    vector, center, neighbor = block
    for e in range(n_edges):
        d, g = (vector[e, 0], vector[e, 1], vector[e, 2]), (gradient[e, 0], gradient[e, 1], gradient[e, 2])
        if not add_edge(neighbor[e], d, g, centroid):
            return first + center[e]
    return FINE
