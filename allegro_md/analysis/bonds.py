"""Neighbors of the atoms of a sample: the pairs closer than a cutoff, and their vectors."""

from __future__ import annotations

import math
from typing import NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from allegro_md.analysis.base import Sample, System
from allegro_md.analysis.surroundings import bytes_of_ghosts, with_ghosts
from allegro_md.backends import backend_for
from allegro_md.backends.cpu.lanes import lowest
from allegro_md.kernels.geometry import pair_vector
from allegro_md.state import AtomState, on_host

MARGIN = 1.0 + 1e-9
"""Lists reach that much farther than a cutoff: what is a bond is decided by the pair vector."""


class Near(NamedTuple):
    """Atoms of a rank and which of them are near each other, for kernels.

    Attributes:
        position: (n_all, 3) Å.
        shift: (n_all, 3) lattice translations.
        matrix: (3, 3) Å, lattice rows.
        offsets: (n_centers + 1,) where the neighbors of each center begin.
        neighbors: indices of atoms, per center in ascending order of (id, lattice shift of the pair).
    """

    position: NDArray[np.float64]
    shift: NDArray[np.int32]
    matrix: NDArray[np.float64]
    offsets: NDArray[np.int64]
    neighbors: NDArray[np.int32]


def near(sample: Sample, cutoff: float, of_ghosts: bool = False) -> tuple[AtomState, Near]:
    """Finds the neighbors of all atoms within a cutoff, Å, and some beyond it (collective over `sample.comm`).

    Args:
        sample: the atoms.
        cutoff: Å.
        of_ghosts: also finds the neighbors of ghosts; they are complete for those that are neighbors of local atoms.

    Returns:
        A state with ghosts, as of `with_ghosts`, and the neighbors of its local atoms, or of all.
    """
    reach = cutoff * MARGIN
    state = with_ghosts(sample, 2.0 * reach if of_ghosts else reach)
    n_centers = state.n_all if of_ghosts else state.n_local
    offsets, neighbors = backend_for(state.device).lists.find_pairs(state, n_centers, reach)
    position, shift = state.host_all("position"), state.host_all("shift")
    return state, Near(position, shift, np.array(state.cell.matrix), on_host(offsets), on_host(neighbors))


@numba.njit(cache=True)
def bond_vectors(held: Near, i: int, vectors: NDArray[np.float64]) -> int:
    """Computes the vectors to the neighbors of center i.

    Their order is canonical: sums over them have the same bits on any number of ranks.

    Args:
        held: atoms and neighbors.
        i: which center.
        vectors: (at least as many as it has neighbors, 4), written: three components and the length, Å.

    Returns:
        How many there are.
    """
    n = held.offsets[i + 1] - held.offsets[i]
    for k in range(n):
        j = held.neighbors[held.offsets[i] + k]
        x, y, z = pair_vector(held.position, held.shift, held.matrix, i, j)
        vectors[k, 0], vectors[k, 1], vectors[k, 2] = x, y, z
        vectors[k, 3] = math.sqrt(x * x + y * y + z * z)
    return n


@numba.njit(cache=True)
def closer(kinds: np.uint64, distance: float, cutoffs: NDArray[np.float64]) -> np.uint64:
    """Those of some kinds of bonds, bit k for kind k, whose cutoff in `cutoffs` (kinds,), Å, is above a distance."""
    found = np.uint64(0)
    while kinds != 0:
        k = lowest(kinds)
        kinds &= kinds - np.uint64(1)
        if distance < cutoffs[k]:
            found |= np.uint64(1) << np.uint64(k)
    return found


def bytes_of_bonds(n_local: int, cutoff: float, system: System) -> float:
    """Bytes of `near` on a rank with `n_local` atoms."""
    volume = system.cell.volume
    density = system.n_total / volume if math.isfinite(volume) else 0.1
    neighbors = 4.0 / 3.0 * math.pi * cutoff**3 * density
    return bytes_of_ghosts(n_local, cutoff, density) + n_local * (100.0 + 8.0 * neighbors)
