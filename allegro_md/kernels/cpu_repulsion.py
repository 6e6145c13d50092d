"""The nuclear repulsion of a trained model, analytic beside its tables (`models.allegro.zbl` for the constants)."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from allegro_md.kernels.arguments import Block
from allegro_md.kernels.cpu_neighbors import within
from allegro_md.kernels.cpu_vector import LANES, load, splat, store
from allegro_md.kernels.zbl import pair_repulsion


@numba.njit(cache=True)
def repulsion_of_eight(r: Any, pairs: tuple[Any, Any, Any], count: int) -> Any:
    """Energies of ordered pairs and their slopes over r; zero from a pair's cutoff on, and beyond the first `count`.

    Args:
        r: vector of eight float64, Å.
        pairs: three such vectors, ½ e² Z Z' (eV·Å), the inverse screening length (1/Å) and the cutoff (Å).
        count: lanes that hold a pair.

    Returns:
        Vectors in eV and eV/Å².
    """
    charge, inverse_length, cutoff = pairs
    value, factor = pair_repulsion(r, charge, inverse_length, cutoff)
    zero = splat(0.0)
    return within(value, zero, r, cutoff, count), within(factor, zero, r, cutoff, count)


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
        repulsion: (3, n, n) float64, ½ e² Z Z' (eV·Å), the inverse screening length (1/Å) and the cutoff (Å).
        block: its edges.
        energy: (centers of the block,) float64, eV, added to.
        gradient: (rows, 3) float64, eV/Å, added to.
    """
    vector, center, neighbor = block
    lanes = np.zeros((4, LANES))  # distances, then what belongs to the pairs of species; energies and slopes
    for start in range(0, edges, LANES):
        count = min(LANES, edges - start)
        for k in range(count):
            e = start + k
            x, y, z = vector[e, 0], vector[e, 1], vector[e, 2]
            lanes[0, k] = np.sqrt(x * x + y * y + z * z)
            for row in range(3):
                lanes[1 + row, k] = repulsion[row, species[first + center[e]], species[neighbor[e]]]
        pairs = load(lanes, LANES), load(lanes, 2 * LANES), load(lanes, 3 * LANES)
        value, factor = repulsion_of_eight(load(lanes, 0), pairs, count)
        store(lanes, 0, value)
        store(lanes, LANES, factor)
        for k in range(count):
            e = start + k
            energy[center[e]] += lanes[0, k]
            for axis in range(3):
                gradient[e, axis] += lanes[1, k] * vector[e, axis]
