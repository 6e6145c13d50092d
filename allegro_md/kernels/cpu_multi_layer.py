"""Networks of several layers (`models.fused.layers`): forward and hand-written backward, block after block of centers.

Everything is elementwise, a product that does not know its place (`cpu_matrix`), or a sum in canonical order within one
edge or one center, so nothing of a result depends on the division into blocks.

Arguments: species (n_all,) int16, energy (n_centers,) float64 eV. Buffers of a block, in the real type of the table,
rows being edges: z and gradient (rows, width of a node), given (rows, fan), row and slope (rows, columns); by_fraction
(rows,) float64 eV, derivatives of the energy with respect to the fraction of the table's interval.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from allegro_md.kernels.arguments import Atoms, Block, Lists, Out
from allegro_md.kernels.blocks import fill_block, spread_block
from allegro_md.kernels.centroid import spread_virials
from allegro_md.kernels.cpu_activation import NONE, activate
from allegro_md.kernels.cpu_harmonics import harmonics, harmonics_backward
from allegro_md.kernels.cpu_matrix import multiply
from allegro_md.kernels.cpu_multi_layer_arrays import (
    ENERGY,
    ENVIRONMENT,
    SCALARS,
    MultiLayerWorkspace,
    PackedMultiLayer,
    part,
)
from allegro_md.kernels.cpu_multi_layer_products import (
    chains_backward,
    first_tensors,
    make_readers,
    multiply_tensors,
    tensors_backward,
)
from allegro_md.kernels.cpu_multi_layer_tensor import (
    clear,
    environment_harmonics_backward,
    environments_backward,
    first_backward,
    gradients_from_readers,
    sum_environments,
)
from allegro_md.kernels.cpu_repulsion import add_repulsion
from allegro_md.kernels.cpu_rows import add_columns, dots, scale
from allegro_md.kernels.cpu_table import evaluate, locate
from allegro_md.kernels.cpu_vector import fma, lanes_of, load_wide, splat_as, store, sum_of, times
from allegro_md.kernels.fixed import FINE
from allegro_md.kernels.no_refcount import no_refcount


@numba.njit(cache=True, error_model="numpy")
def multi_layer(
    atoms: Atoms,
    lists: Lists,
    centers: tuple[int, int],
    cutoff2: NDArray[np.float64],
    network: PackedMultiLayer,
    repulsion: NDArray[np.float64],
    work: MultiLayerWorkspace,
    out: Out,
) -> int:
    """Computes energies, forces and virials of a range of centers.

    Args:
        atoms, lists: see `arguments`.
        centers: the first, and the one after the last.
        cutoff2: (n, n) float64, Å², [center, neighbor].
        network: the model.
        repulsion: (3, n, n) float64, of `cpu_repulsion`, or (3, 0, 0).
        work: at least as many rows as any center has neighbors.
        out: see `arguments`; forces on neighbors, too.

    Returns:
        `FINE`, or the first center whose forces are out of range.
    """
    network, work = no_refcount(network), no_refcount(work)
    (first, last), species, energy, virial = centers, atoms.species, out.energy, out.virial
    here, block = Lists(lists.offsets[: last + 1], lists.neighbors), Block(work.vector, work.center, work.neighbor)
    start = first
    while start < last:
        taken, edges = fill_block(start, atoms, here, cutoff2, block)
        energies = energy[start - first : start - first + taken]
        virials = virial[start - first : start - first + taken] if len(virial) > 0 else virial
        for i in range(taken):
            energies[i] = 0.0
        _place(start, taken, edges, species, network, work)
        _forward(taken, edges, network, work)
        _energies(start, edges, species, network, work, energies)
        _backward(taken, edges, network, work)
        _gradients(taken, edges, network, work)
        if repulsion.shape[1] > 0:
            add_repulsion(start, edges, species, repulsion, block, energies, work.by_vector)
        status = spread_block(start, edges, block, work.by_vector, out.force, virials)
        if status == FINE and len(out.centroid) > 0:
            status = spread_virials(start, edges, block, work.by_vector, out.centroid)
        if status != FINE:
            return status
        for i in range(taken):
            energies[i] += network.shifts[species[start + i]]
        start += taken
    return FINE


@numba.njit(cache=True, error_model="numpy", inline="always")
def _place(
    first: int, taken: int, edges: int, species: NDArray[np.int16], network: PackedMultiLayer, work: MultiLayerWorkspace
) -> None:
    """First edges and norms of the centers; distances, harmonics, and the radial functions with their slopes."""
    d, n, per_spacing, edge = network.degrees, len(network.factors), network.per_spacing, 0
    intervals, size = network.table.shape[1], 4 * network.table.shape[3]
    vector, radius, spacing, interval, fraction = work.vector, work.radius, work.spacing, work.interval, work.fraction
    center, neighbor, bounds, y = work.center, work.neighbor, work.bounds, work.harmonics
    for i in range(taken):
        bounds[i], work.norm[i] = edge, network.norms[species[first + i]]
        while edge < edges and center[edge] == i:
            edge += 1
    bounds[taken] = edges
    for e in range(edges):
        d0, d1, d2 = vector[e, 0], vector[e, 1], vector[e, 2]
        r = np.sqrt(d0 * d0 + d1 * d1 + d2 * d2)
        a = b = 0
        if n > 1:
            a, b = species[first + center[e]], species[neighbor[e]]
        radius[e], spacing[e] = r, per_spacing[a, b]
        k, fraction[e] = locate(r, spacing[e], intervals)
        interval[e] = ((a * n + b) * intervals + k) * size
        inverse = 1.0 / r
        harmonics(d0 * inverse, d1 * inverse, d2 * inverse, d, y, e)
    columns = (0, network.table.shape[3])
    evaluate(network.table, columns, (0, edges), interval, fraction, work.row, work.row_slope)


@numba.njit(cache=True, error_model="numpy", inline="always")
def _forward(taken: int, edges: int, network: PackedMultiLayer, work: MultiLayerWorkspace) -> None:
    """All nodes, environments and tensors; leaves the slopes of the activations."""
    if network.mixed:
        first_tensors(edges, network, work)
    for n in range(len(network.kinds)):
        value, code, k = part(work.values, network.places, n), network.codes[n], network.layers[n]
        width, fan = network.widths[n], network.fans[n]
        if network.kinds[n] == SCALARS:
            if network.mixed:
                multiply_tensors(k, edges, network, work, value)
            else:
                make_readers(k, taken, network, work, value)
        elif code == NONE:
            _collect(n, edges, network, work, value)
        else:
            z, used = part(work.gradients, network.places, n), edges * width
            _collect(n, edges, network, work, z)
            activate(code, z[:used], value[:used], part(work.slopes, network.places, n)[:used])
        if network.kinds[n] == ENVIRONMENT:
            sum_environments(
                taken, work.bounds, work.norm, network.degrees, network.channels, work.harmonics, value, k,
                work.environments,
            )
        if fan > 0:
            given = part(work.given, network.fan_places, n)
            multiply(value, width, width, network.matrices, network.matrix_places[n], given, fan, edges)


@numba.njit(cache=True, error_model="numpy", inline="always")
def _collect(n: int, edges: int, network: PackedMultiLayer, work: MultiLayerWorkspace, z: NDArray[Any]) -> None:
    """z of a node: its radial functions, and what its sources give."""
    width = network.widths[n]
    clear(z, 0, edges * width)
    if network.starts[n] >= 0:
        add_columns(edges, width, z, work.row, network.starts[n])
    for link in range(network.link_starts[n], network.link_starts[n + 1]):
        source, column = network.links[link, 0], network.links[link, 1]
        given, cut = part(work.given, network.fan_places, source), network.cut_column if network.cuts[source] else -1
        _receive(edges, width, given, network.fans[source], column, work.row, cut, z)


@numba.njit(cache=True)
def _receive(
    edges: int,
    width: int,
    given: NDArray[Any],
    fan: int,
    column: int,
    row: NDArray[Any],
    cut: int,
    z: NDArray[Any],
) -> None:
    """Adds some columns of rows of `fan` numbers to z, times the envelope (column `cut` of row) if there is one."""
    for e in range(edges):
        factor = splat_as(row[e, cut] if cut >= 0 else row.dtype.type(1.0), load_wide(z, 0))
        for u in range(0, width, lanes_of(z)):
            place = e * width + u
            store(z, place, fma(load_wide(given, e * fan + column + u), factor, load_wide(z, place)))


@numba.njit(cache=True, error_model="numpy", inline="always")
def _energies(
    first: int, edges: int, species: NDArray[np.int16], network: PackedMultiLayer, work: MultiLayerWorkspace,
    energy: NDArray[np.float64],
) -> None:
    """Energies of the edges, and where the backward pass begins."""
    n, center, factors = len(network.kinds) - 1, work.center, network.factors
    value, gradient = part(work.values, network.places, n), part(work.gradients, network.places, n)
    width = network.widths[n]
    clear(gradient, 0, edges * width)
    for e in range(edges):
        factor = factors[species[first + center[e]]]
        energy[center[e]] += factor * value[e * width]
        gradient[e * width] = factor


@numba.njit(cache=True, error_model="numpy", inline="always")
def _backward(taken: int, edges: int, network: PackedMultiLayer, work: MultiLayerWorkspace) -> None:
    """From the energies to the gradients at z of all nodes; collects the slopes of radial functions."""
    work.by_fraction[:edges] = 0.0
    clear(work.grad_environments, 0, taken * work.grad_environments.shape[1] * work.grad_environments.shape[2])
    for n in range(len(network.kinds) - 1, -1, -1):
        kind, k, gradient = network.kinds[n], network.layers[n], part(work.gradients, network.places, n)
        if kind == ENVIRONMENT:
            environments_backward(
                taken, work.bounds, work.norm, network.degrees, network.channels, work.harmonics, k,
                work.grad_environments,
                gradient,
            )
        elif kind != ENERGY:
            _through_matrix(n, edges, network, work, gradient)
        if kind != SCALARS:
            _hand_back(n, edges, network, work, gradient)
        elif network.mixed:
            tensors_backward(k, edges, network, work, gradient)
        else:
            chains_backward(k, taken, network, work, gradient)


@numba.njit(cache=True, error_model="numpy", inline="always")
def _through_matrix(
    n: int, edges: int, network: PackedMultiLayer, work: MultiLayerWorkspace, gradient: NDArray[Any]
) -> None:
    """From the gradient at what a node gives to that at what it holds, and at its z."""
    width, fan, column = network.widths[n], network.fans[n], network.cut_column
    given = part(work.given, network.fan_places, n)
    multiply(given, fan, fan, network.transposed, network.matrix_places[n], gradient, width, edges)
    if network.cuts[n]:
        dots(edges, gradient, part(work.values, network.places, n), width, work.lanes, work.product)
        for e in range(edges):
            work.by_fraction[e] += work.product[e] * work.row_slope[e, column]
        scale(edges, width, gradient, work.row, column)
    if network.codes[n] != NONE:
        slopes = part(work.slopes, network.places, n)
        for at in range(0, edges * width, lanes_of(gradient)):
            store(gradient, at, times(load_wide(gradient, at), load_wide(slopes, at)))


@numba.njit(cache=True, error_model="numpy", inline="always")
def _hand_back(
    n: int, edges: int, network: PackedMultiLayer, work: MultiLayerWorkspace, gradient: NDArray[Any]
) -> None:
    """From the gradient at a node's z to its radial functions and its sources."""
    width = network.widths[n]
    if network.starts[n] >= 0:
        _columns_backward(edges, width, gradient, work.row_slope, network.starts[n], work.by_fraction)
    for link in range(network.link_starts[n], network.link_starts[n + 1]):
        source, column = network.links[link, 0], network.links[link, 1]
        given, fan = part(work.given, network.fan_places, source), network.fans[source]
        for e in range(edges):
            for u in range(0, width, lanes_of(gradient)):
                store(given, e * fan + column + u, load_wide(gradient, e * width + u))


@numba.njit(cache=True)
def _columns_backward(
    edges: int, width: int, gradient: NDArray[Any], slope: NDArray[Any], start: int, by_fraction: NDArray[np.float64]
) -> None:
    """Adds to dE/d(fraction) what comes through the radial functions in the columns from `start` on."""
    columns = slope.shape[1]
    for e in range(edges):
        total = splat_as(0.0, load_wide(gradient, 0))
        for u in range(0, width, lanes_of(gradient)):
            total = fma(load_wide(gradient, e * width + u), load_wide(slope, e * columns + start + u), total)
        by_fraction[e] += sum_of(total)


@numba.njit(cache=True, error_model="numpy", inline="always")
def _gradients(taken: int, edges: int, network: PackedMultiLayer, work: MultiLayerWorkspace) -> None:
    """dE/dd of each edge."""
    d, c, layers, on_y = network.degrees, network.channels, len(network.components), work.by_harmonics
    vector, radius, by_fraction, spacing, out = work.vector, work.radius, work.by_fraction, work.spacing, work.by_vector
    weights, scalars = np.empty(layers, np.int64), np.empty(layers, np.int64)
    rows = len(work.values) // network.places[-1]
    for n in range(len(network.kinds)):
        if network.kinds[n] == SCALARS:
            scalars[network.layers[n]] = rows * network.places[n]
        elif network.kinds[n] == ENVIRONMENT:
            weights[network.layers[n]] = rows * network.places[n]
    if not network.mixed:
        gradients_from_readers(taken, work.bounds, d * d * c, c, work.gradients, scalars, work.readers, work.on_tensors)
    first_backward(edges, d, c, work.harmonics, work.row, work.row_slope, work.on_tensors, on_y, by_fraction)
    environment_harmonics_backward(taken, work.bounds, d, c, work.values, weights, work.grad_environments, on_y)
    for e in range(edges):
        inverse = 1.0 / radius[e]
        x, y, z = vector[e, 0] * inverse, vector[e, 1] * inverse, vector[e, 2] * inverse
        g0, g1, g2 = harmonics_backward(x, y, z, d, on_y, e)
        along = by_fraction[e] * spacing[e] - (g0 * x + g1 * y + g2 * z) * inverse
        out[e, 0] = along * x + g0 * inverse
        out[e, 1] = along * y + g1 * inverse
        out[e, 2] = along * z + g2 * inverse
