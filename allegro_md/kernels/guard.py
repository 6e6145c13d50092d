"""The extremes that guards look at, one pass each."""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

from allegro_md.kernels.geometry import pair_vector


@numba.njit(cache=True)
def largest_length(rows: NDArray[np.float64] | NDArray[np.int64]) -> float:
    """Largest length of `rows` (n, 3), in their unit; infinite if one is not finite."""
    largest = 0.0
    for i in range(len(rows)):
        x, y, z = float(rows[i, 0]), float(rows[i, 1]), float(rows[i, 2])
        squared = x * x + y * y + z * z
        if not np.isfinite(squared):
            return np.inf
        largest = max(largest, squared)
    return np.sqrt(largest)


@numba.njit(cache=True)
def least_clearance(
    position: NDArray[np.float64],
    shift: NDArray[np.int32],
    species: NDArray[np.int16],
    h: NDArray[np.float64],
    offsets: NDArray[np.int64],
    neighbors: NDArray[np.int32],
    shortest: NDArray[np.float64],
) -> tuple[float, int, int]:
    """By how much the pair that is closest to its limit is still longer than that.

    Args:
        position: (n_all, 3) Å.
        shift: (n_all, 3).
        species: (n_all,) index into the limits.
        h: (3, 3) Å, lattice rows.
        offsets: (n_centers + 1,).
        neighbors: (offsets[-1],) indices of local atoms and ghosts.
        shortest: (species, species) Å; pairs with 0 have no limit.

    Returns:
        Least distance − limit, Å, and the indices of the two atoms; (inf, −1, −1) without such pairs.
    """
    least, first, second = np.inf, -1, -1
    for i in range(len(offsets) - 1):
        for slot in range(offsets[i], offsets[i + 1]):
            j = neighbors[slot]
            limit = shortest[species[i], species[j]]
            if limit > 0.0:
                d0, d1, d2 = pair_vector(position, shift, h, i, j)
                clearance = np.sqrt(d0 * d0 + d1 * d1 + d2 * d2) - limit
                if clearance < least:
                    least, first, second = clearance, i, j
    return least, first, second
