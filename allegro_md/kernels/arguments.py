"""Arguments that all kernels share, as tuples of arrays: the atoms a rank holds, their neighbors, and what is computed.

Local atoms come first, then ghosts; n_all is the number of both. Centers are the first local atoms. Fixed-point units
are those of `exact.FORCE_SCALE`: 2⁻⁴⁴ eV/Å.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray


class Atoms(NamedTuple):
    """Local and ghost atoms.

    Attributes:
        position: (n_all, 3) float64, Å, unwrapped.
        shift: (n_all, 3) int32, lattice vectors that bring each copy into the rank's frame.
        species: (n_all,) int16 or int64, index into the tables of the kernel.
        cell: (3, 3) float64, Å, lattice rows.
    """

    position: NDArray[np.float64]
    shift: NDArray[np.int32]
    species: NDArray[Any]
    cell: NDArray[np.float64]


class Lists(NamedTuple):
    """Neighbors of each center, in ascending (id, S) order.

    Attributes:
        offsets: (n_centers + 1,) int64; those of center i are ``neighbors[offsets[i]:offsets[i + 1]]``.
        neighbors: (offsets[-1],) int32, indices of atoms.
    """

    offsets: NDArray[np.int64]
    neighbors: NDArray[np.int32]


class Out(NamedTuple):
    """Results; n are the centers that are evaluated.

    Attributes:
        force: (n_all, 3) int64, fixed-point units, added to; of this potential alone, since sums are checked against
            bounds.
        energy: (n,) float64, eV, stored.
        virial: (n, 6) float64, eV, −Σ d ⊗ ∂E/∂d in the order xx yy zz yz xz xy; (0, 6) when not wanted. Pair kernels
            and the bilinear one store it, the others add to it.
        centroid: (n_all, 9) int64, fixed-point units of eV, added to: −d ⊗ ∂E/∂d of each edge, at the neighbor (see
            `centroid`); (0, 9) when not wanted.
    """

    force: NDArray[np.int64]
    energy: NDArray[np.float64]
    virial: NDArray[np.float64]
    centroid: NDArray[np.int64]


class Block(NamedTuple):
    """Edges of a block of centers, center by center; rows beyond the last edge are padding.

    Attributes:
        vector: (rows, 3) float64, Å, from center to neighbor.
        center: (rows,) int64, index of the center within the block.
        neighbor: (rows,) int64, index of the atom.
    """

    vector: NDArray[np.float64]
    center: NDArray[np.int64]
    neighbor: NDArray[np.int64]
