"""Edges of a block of a single-layer network: from vectors to radial functions, and from gradients back to vectors."""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

from allegro_md.kernels.cpu_harmonics import harmonics, harmonics_backward
from allegro_md.kernels.cpu_single_layer_arrays import PackedSingleLayer, Workspace
from allegro_md.kernels.cpu_table import evaluate, locate


@numba.njit(cache=True, error_model="numpy", inline="always")
def place_edges(
    first: int, taken: int, edges: int, species: NDArray[np.int16], network: PackedSingleLayer, work: Workspace
) -> None:
    """Fills in distances, harmonics, and the radial functions of the environment with their slopes.

    Args:
        first: first center of the block.
        taken: number of its centers.
        edges: number of its edges.
        species: (n_all,) int16, of all atoms.
        network: packed arrays.
        work: workspace, with the vectors of the edges.
    """
    d, n, per_spacing = network.degrees, len(network.factors), network.per_spacing
    intervals, size = network.table.shape[1], 4 * network.table.shape[3]
    vector, spacing, interval, fraction = work.vector, work.spacing, work.interval, work.fraction
    center, neighbor, y, bounds = work.center, work.neighbor, work.harmonics, work.bounds
    edge = 0
    for i in range(taken):
        bounds[i] = edge
        while edge < edges and center[edge] == i:
            edge += 1
    bounds[taken] = edges
    for e in range(edges):
        d0, d1, d2 = vector[e, 0], vector[e, 1], vector[e, 2]
        r = np.sqrt(d0 * d0 + d1 * d1 + d2 * d2)
        a = b = 0
        if n > 1:
            a, b = species[first + center[e]], species[neighbor[e]]
        spacing[e] = per_spacing[a, b]
        k, fraction[e] = locate(r, spacing[e], intervals)
        interval[e] = ((a * n + b) * intervals + k) * size
        inverse = 1.0 / r
        work.inverse[e] = inverse
        harmonics(d0 * inverse, d1 * inverse, d2 * inverse, d, y, e)
    columns = (0, d * network.channels)
    evaluate(network.table, columns, (0, edges), interval, fraction, work.env, work.env_slope)


@numba.njit(cache=True, error_model="numpy", inline="always")
def edge_gradients(edges: int, network: PackedSingleLayer, work: Workspace) -> None:
    """Computes dE/dd of each edge from dE/dY and dE/d(fraction of the interval)."""
    d, sums, out, inverses = network.degrees, work.sums, work.by_vector, work.inverse
    vector, by_fraction, spacing = work.vector, work.by_fraction, work.spacing
    for e in range(edges):
        inverse = inverses[e]
        x, y, z = vector[e, 0] * inverse, vector[e, 1] * inverse, vector[e, 2] * inverse
        g0, g1, g2 = harmonics_backward(x, y, z, d, sums, e)
        along = (by_fraction[e] + sums[e, 0]) * spacing[e] - (g0 * x + g1 * y + g2 * z) * inverse
        out[e, 0] = along * x + g0 * inverse
        out[e, 1] = along * y + g1 * inverse
        out[e, 2] = along * z + g2 * inverse
