"""The pair vector: one expression, used by everyone, so that no way of splitting the work changes a bit of it."""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray


@numba.njit(cache=True)
def pair_vector(
    position: NDArray[np.float64], shift: NDArray[np.int32], h: NDArray[np.float64], i: int, j: int
) -> tuple[float, float, float]:
    """Vector from atom i to atom j, ``d = (x_j − x_i) + S·h`` with ``S = s_j − s_i``.

    Exactly antisymmetric: ``pair_vector(…, j, i)`` is ``−pair_vector(…, i, j)`` bit for bit, and it depends on the
    two unwrapped unwrapped positions and on S only, never on where a rank happens to see the copies.

    Args:
        position: (n_all, 3) Å, unwrapped.
        shift: (n_all, 3) lattice vectors that bring each copy into the rank's frame.
        h: (3, 3) Å, lattice rows.
        i: index of the center.
        j: index of the neighbor.

    Returns:
        The three components, Å.
    """
    s0 = shift[j, 0] - shift[i, 0]
    s1 = shift[j, 1] - shift[i, 1]
    s2 = shift[j, 2] - shift[i, 2]
    d0 = (position[j, 0] - position[i, 0]) + (s0 * h[0, 0] + s1 * h[1, 0] + s2 * h[2, 0])
    d1 = (position[j, 1] - position[i, 1]) + (s0 * h[0, 1] + s1 * h[1, 1] + s2 * h[2, 1])
    d2 = (position[j, 2] - position[i, 2]) + (s0 * h[0, 2] + s1 * h[1, 2] + s2 * h[2, 2])
    return d0, d1, d2
