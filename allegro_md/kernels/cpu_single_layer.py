"""Networks of one layer (`models.fused.fold`): forward and hand-written backward, block after block of centers.

Everything is elementwise, a product that does not know its place (`cpu_matrix`), or a sum in canonical order within one
edge or one center, so nothing of a result depends on the division into blocks.

Arguments: species (n_all,) int16; energy (n_centers,) float64 eV; values (rows · total width,) float32 or float64, a
buffer of a block.
"""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

from allegro_md.kernels.arguments import Atoms, Block, Lists, Out
from allegro_md.kernels.blocks import fill_block, spread_block
from allegro_md.kernels.centroid import spread_virials
from allegro_md.kernels.cpu_activation import activate
from allegro_md.kernels.cpu_edges import edge_gradients, place_edges
from allegro_md.kernels.cpu_matrix import multiply
from allegro_md.kernels.cpu_repulsion import add_repulsion
from allegro_md.kernels.cpu_rows import activation_backward, add_columns, dots, scale, spread
from allegro_md.kernels.cpu_single_layer_arrays import PackedSingleLayer, Workspace, part
from allegro_md.kernels.cpu_single_layer_tensor import (
    environments_backward,
    make_scalars,
    scalars_backward,
    sum_environments,
)
from allegro_md.kernels.fixed import FINE
from allegro_md.kernels.no_refcount import no_refcount


@numba.njit(cache=True, error_model="numpy")
def single_layer(
    atoms: Atoms,
    lists: Lists,
    centers: tuple[int, int],
    cutoff2: NDArray[np.float64],
    network: PackedSingleLayer,
    repulsion: NDArray[np.float64],
    work: Workspace,
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
        place_edges(start, edges, species, network, work)
        _forward(taken, edges, network, work)
        _energies(start, edges, species, network, work, energies)
        _backward(taken, edges, network, work)
        environments_backward(edges, network, work)
        edge_gradients(edges, network, work)
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
def _forward(taken: int, edges: int, network: PackedSingleLayer, work: Workspace) -> None:
    """Environments, scalars, and the inputs of all levels; leaves the slopes of the activations."""
    work.environment[:taken] = network.table.dtype.type(0.0)
    sum_environments(edges, network, work)
    source, z, start = part(work.inputs, 0, network), work.gradient, 0  # z is lent
    make_scalars(edges, network, work, source)
    for level in range(len(network.codes)):
        stride, n, width = network.widths[level], network.fan_in[level], network.widths[level + 1]
        multiply(source, stride, n, network.matrices, start, z, width, edges)
        start += n * width
        if network.cuts[level]:
            scale(edges, width, z, work.row, network.cut_column)
        if network.starts[level] >= 0:
            add_columns(edges, width, z, work.row, network.starts[level])
        source, used = part(work.inputs, level + 1, network), edges * width
        activate(network.codes[level], z[:used], source[:used], part(work.slopes, level + 1, network)[:used])


@numba.njit(cache=True, error_model="numpy", inline="always")
def _energies(
    first: int, edges: int, species: NDArray[np.int16], network: PackedSingleLayer, work: Workspace,
    energy: NDArray[np.float64]
) -> None:
    """Evaluates the last level: adds to energies (taken,) float64, eV; sets the gradient at its input."""
    level, start, cut, cut_column = len(network.codes), network.starts[-1], network.cuts[-1], network.cut_column
    factors, center, row, slope, by_fraction = network.factors, work.center, work.row, work.row_slope, work.by_fraction
    seed, product = work.seed, work.product
    dots(edges, part(work.inputs, level, network), network.last, 0, product)
    for e in range(edges):
        factor, value, along = factors[species[first + center[e]]], np.float64(product[e]), 0.0
        seed[e] = factor
        if cut:
            along = factor * value * slope[e, cut_column]
            value *= row[e, cut_column]
            seed[e] = factor * row[e, cut_column]
        if start >= 0:
            value += row[e, start]
            along += factor * slope[e, start]
        by_fraction[e] = along
        energy[center[e]] += factor * value
    spread(edges, seed, network.last, work.gradient)


@numba.njit(cache=True, error_model="numpy", inline="always")
def _backward(taken: int, edges: int, network: PackedSingleLayer, work: Workspace) -> None:
    """From the gradient at the last level's input to those at the scalars; collects the slopes of radial functions."""
    end = len(network.transposed)
    gradient, below = work.gradient, work.other
    for level in range(len(network.codes) - 1, -1, -1):
        n, width, stride = network.fan_in[level + 1], network.widths[level], network.widths[level + 1]
        start = network.starts[level]
        activation_backward(
            edges, stride, part(work.slopes, level + 1, network), gradient, work.row_slope, start, work.by_fraction
        )
        end -= n * width
        multiply(gradient, stride, n, network.transposed, end, below, width, edges)
        if network.cuts[level]:
            column = network.cut_column
            dots(edges, below, part(work.inputs, level, network), width, work.product)
            for e in range(edges):
                work.by_fraction[e] += work.product[e] * work.row_slope[e, column]
            scale(edges, width, below, work.row, column)
        gradient, below = below, gradient
    work.grad_environment[:taken] = network.table.dtype.type(0.0)
    scalars_backward(edges, network, work, gradient)
