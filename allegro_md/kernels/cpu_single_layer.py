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
from allegro_md.kernels.cpu_single_layer_arrays import TILE, PackedSingleLayer, Workspace
from allegro_md.kernels.cpu_single_layer_tensor import (
    environments,
    environments_backward,
    make_scalars,
    scalars_backward,
)
from allegro_md.kernels.cpu_table import evaluate
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
        place_edges(start, taken, edges, species, network, work)
        environments(taken, network, work)
        for edge in range(0, edges, TILE):
            tile = edge, min(edge + TILE, edges)
            _forward(tile, network, work)
            _energies(start, tile, species, network, work, energies)
            _backward(tile, network, work)
        environments_backward(taken, edges, network, work)
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
def _forward(tile: tuple[int, int], network: PackedSingleLayer, work: Workspace) -> None:
    """Radial functions, scalars, and the inputs of all levels; leaves the slopes of the activations."""
    edges, z, start, columns = tile[1] - tile[0], work.gradient, 0, network.degrees * network.channels  # z is lent
    evaluate(
        network.table, (columns, network.table.shape[3]), tile, work.interval, work.fraction, work.row, work.row_slope
    )
    make_scalars(tile, network, work, work.inputs[0])
    for level in range(len(network.codes)):
        stride, n, width = network.widths[level], network.fan_in[level], network.widths[level + 1]
        multiply(work.inputs[level], stride, n, network.matrices, start, z, width, edges)
        start += n * width
        if network.cuts[level]:
            scale(edges, width, z, work.row, network.cut_column)
        if network.starts[level] >= 0:
            add_columns(edges, width, z, work.row, network.starts[level])
        used = edges * width
        activate(network.codes[level], z[:used], work.inputs[level + 1][:used], work.slopes[level + 1][:used])


@numba.njit(cache=True, error_model="numpy", inline="always")
def _energies(
    first: int, tile: tuple[int, int], species: NDArray[np.int16], network: PackedSingleLayer, work: Workspace,
    energy: NDArray[np.float64]
) -> None:
    """Evaluates the last level: adds to energies (taken,) float64, eV; sets the gradient at its input."""
    level, start, cut, cut_column = len(network.codes), network.starts[-1], network.cuts[-1], network.cut_column
    factors, row, slope, seed, product, edges = (
        network.factors, work.row, work.row_slope, work.seed, work.product, tile[1] - tile[0],
    )  # fmt: skip
    dots(edges, work.inputs[level], network.last, 0, work.lanes, product)
    here, factor, total = -1, 0.0, 0.0
    for e in range(edges):
        if work.center[tile[0] + e] != here:
            if here >= 0:
                energy[here] = total
            here = work.center[tile[0] + e]
            factor, total = factors[species[first + here]], energy[here]
        value, along = np.float64(product[e]), 0.0
        seed[e] = factor
        if cut:
            along = factor * value * slope[e, cut_column]
            value *= row[e, cut_column]
            seed[e] = factor * row[e, cut_column]
        if start >= 0:
            value += row[e, start]
            along += factor * slope[e, start]
        work.by_fraction[tile[0] + e] = along
        total += factor * value
    energy[here] = total
    spread(edges, seed, network.last, work.gradient)


@numba.njit(cache=True, error_model="numpy", inline="always")
def _backward(tile: tuple[int, int], network: PackedSingleLayer, work: Workspace) -> None:
    """From the gradient at the last level's input to those at the dots; collects the slopes of radial functions."""
    end, edges = len(network.transposed), tile[1] - tile[0]
    gradient, below = work.gradient, work.other
    for e in range(tile[0], tile[1]):
        work.partial[e, 0] = 0.0
    for level in range(len(network.codes) - 1, -1, -1):
        n, width, stride = network.fan_in[level + 1], network.widths[level], network.widths[level + 1]
        activation_backward(
            tile, stride, work.slopes[level + 1], gradient, work.row_slope, network.starts[level], work.partial
        )
        end -= n * width
        multiply(gradient, stride, n, network.transposed, end, below, width, edges)
        if network.cuts[level]:
            column = network.cut_column
            dots(edges, below, work.inputs[level], width, work.lanes, work.product)
            for e in range(edges):
                work.by_fraction[tile[0] + e] += work.product[e] * work.row_slope[e, column]
            scale(edges, width, below, work.row, column)
        gradient, below = below, gradient
    scalars_backward(tile, network, work, gradient)
