"""The nuclear repulsion of a trained model, analytic beside its tables (`models.allegro.zbl` for the constants)."""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

from allegro_md.kernels.arguments import Block
from allegro_md.kernels.zbl import envelope, screening


@numba.njit(cache=True, error_model="numpy")
def repulsion_at(r: float, a: int, b: int, repulsion: NDArray[np.float64]) -> tuple[float, float]:
    """Energy (eV) of an ordered pair of species a, b and its slope over r (eV/Å²); zero from the pair's cutoff on.

    `repulsion` (3, n, n) holds ½ e² Z Z' (eV·Å), the inverse screening length (1/Å) and the cutoff (Å).
    """
    cutoff, inverse_length = repulsion[2, a, b], repulsion[1, a, b]
    if r >= cutoff:
        return 0.0, 0.0
    psi, psi_slope = screening(r * inverse_length)
    u, u_slope = envelope(r / cutoff)
    coulomb = repulsion[0, a, b] / r
    slope = coulomb * (psi_slope * inverse_length * u + psi * u_slope / cutoff - psi * u / r)
    return coulomb * psi * u, slope / r


@numba.njit(cache=True, error_model="numpy")
def add_repulsion(
    first: int,
    edges: int,
    species: NDArray[np.int16],
    repulsion: NDArray[np.float64],
    block: Block,
    energy: NDArray[np.float64],
    gradient: NDArray[np.float64],
) -> None:
    """Adds the energies of a block's ordered pairs to their centers, and their gradients.

    Args:
        first: first center of the block.
        edges: number of its edges.
        species: (n_all,) of all atoms.
        repulsion: (3, n, n) float64; see `repulsion_at`.
        block: its edges.
        energy: (centers of the block,) float64, eV, added to.
        gradient: (rows, 3) float64, eV/Å, added to.
    """
    vector, center, neighbor = block
    for e in range(edges):
        i = first + center[e]
        a, b = species[i], species[neighbor[e]]
        x, y, z = vector[e, 0], vector[e, 1], vector[e, 2]
        value, factor = repulsion_at(np.sqrt(x * x + y * y + z * z), a, b, repulsion)
        energy[center[e]] += value
        gradient[e, 0] += factor * x
        gradient[e, 1] += factor * y
        gradient[e, 2] += factor * z
