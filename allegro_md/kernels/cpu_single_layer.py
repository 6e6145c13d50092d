"""Networks of one layer (`models.fused.fold`): forward and hand-written backward, block after block of centers.

Everything is elementwise, a product that does not know its place (`cpu_matrix`), or a sum in canonical order within one
edge or one center, so nothing of a result depends on the division into blocks.

Arguments: species (n_all,) int16; energy (n_centers,) float64 eV; values (rows · total width,) float32 or float64, a
buffer of a block.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from allegro_md.kernels.blocks import fill_block, spread_block
from allegro_md.kernels.cpu_activation import activate
from allegro_md.kernels.cpu_harmonics import harmonics, harmonics_backward
from allegro_md.kernels.cpu_matrix import ROWS, multiply
from allegro_md.kernels.cpu_repulsion import add_repulsion
from allegro_md.kernels.cpu_rows import activation_backward, add_columns, dots, scale, spread
from allegro_md.kernels.cpu_table import evaluate, locate
from allegro_md.kernels.cpu_tensor import environments_backward, make_scalars, scalars_backward, sum_environments
from allegro_md.kernels.cpu_vector import aligned_zeros
from allegro_md.kernels.fixed import FINE
from allegro_md.kernels.no_refcount import no_refcount

BLOCK_ROWS = 192
"""Rows of the smallest block."""


class PackedSingleLayer(NamedTuple):
    """A network of one layer with K levels. Real: float32 or float64, of everything that is not stated.

    Channels are whole vectors (`cpu_vector.LANES`), the rows of everything else whole wide vectors, filled up with
    zeros.

    Attributes:
        degrees: l_max + 1.
        channels: C.
        shared: the scalars of all degrees are added up.
        per_spacing: (n, n) float64, 1/Å, inverse spacing of the table of each ordered pair.
        factors: (n,) float64, eV.
        shifts: (n,) float64, eV.
        table: (n · n, intervals, 4, columns).
        starts: (K,) int64, first column of the level's f(r); −1 where it has none.
        cut_column: of the envelope, −1 where there is none.
        cuts: (K,) whether the level is cut.
        codes: (K − 1,) int64, activation of each but the last level.
        fan_in: (K,) int64, numbers that each level takes.
        widths: (K,) int64, the same, filled up: elements of a row in memory.
        matrices: of all levels but the last (fan in, width), `packed` one after the other.
        transposed: the same, (fan in of the next, width of this).
        last: of the last level, its only column.
    """

    degrees: int
    channels: int
    shared: bool
    per_spacing: NDArray[np.float64]
    factors: NDArray[np.float64]
    shifts: NDArray[np.float64]
    table: NDArray[Any]
    starts: NDArray[np.int64]
    cut_column: int
    cuts: NDArray[np.bool_]
    codes: NDArray[np.int64]
    fan_in: NDArray[np.int64]
    widths: NDArray[np.int64]
    matrices: NDArray[Any]
    transposed: NDArray[Any]
    last: NDArray[Any]


class Workspace(NamedTuple):
    """Memory of one block of `rows` edges, a multiple of `BLOCK_ROWS`; see `allocate` for shapes.

    `inputs` and `slopes` hold, one after the other, what belongs to the input of each level (`_part`): its values, and
    the derivatives of the activations that made them. `gradient` and `other` hold dE/dinput of two levels.
    """

    vector: NDArray[np.float64]
    center: NDArray[np.int64]
    neighbor: NDArray[np.int64]
    radius: NDArray[np.float64]
    by_vector: NDArray[np.float64]
    by_fraction: NDArray[np.float64]
    spacing: NDArray[np.float64]
    fraction: NDArray[np.float64]
    interval: NDArray[np.int64]
    product: NDArray[Any]
    seed: NDArray[Any]
    harmonics: NDArray[Any]
    by_harmonics: NDArray[Any]
    row: NDArray[Any]
    row_slope: NDArray[Any]
    dots: NDArray[Any]
    environment: NDArray[Any]
    grad_environment: NDArray[Any]
    inputs: NDArray[Any]
    slopes: NDArray[Any]
    gradient: NDArray[Any]
    other: NDArray[Any]


def allocate(network: PackedSingleLayer, rows: int) -> Workspace:
    """Memory for blocks of at most `rows` edges and as many centers."""
    real = network.table.dtype
    c, d, columns = network.channels, network.degrees, network.table.shape[3]
    spare = -(-rows // ROWS) * ROWS  # of rows that are multiplied beyond those in use
    total, widest = int(network.widths.sum()), int(network.widths.max())

    def wide(*shape: int) -> NDArray[Any]:
        return aligned_zeros((rows, *shape), real)

    def centers() -> NDArray[Any]:
        return aligned_zeros((rows + 1, d * d, c), real)

    def levels(width: int) -> NDArray[Any]:
        return aligned_zeros((spare * width,), real)

    def plain(kind: type, *shape: int) -> NDArray[Any]:
        return np.zeros((rows, *shape), dtype=kind)

    return Workspace(
        vector=plain(np.float64, 3), center=plain(np.int64), neighbor=plain(np.int64), radius=plain(np.float64),
        by_vector=plain(np.float64, 3), by_fraction=plain(np.float64), spacing=plain(np.float64),
        fraction=plain(np.float64), interval=plain(np.int64), product=wide(), seed=wide(), harmonics=wide(d * d),
        by_harmonics=wide(d * d), row=wide(columns), row_slope=wide(columns), dots=wide(d * c),
        environment=centers(), grad_environment=centers(), inputs=levels(total), slopes=levels(total),
        gradient=levels(widest),
        other=levels(widest),
    )


@numba.njit(cache=True)
def _part(values: NDArray[Any], level: int, network: PackedSingleLayer) -> NDArray[Any]:
    """The rows of the input of a level, one after the other, in a buffer of a block."""
    total = network.widths.sum()
    rows = len(values) // total
    start = rows * network.widths[:level].sum()
    return values[start : start + rows * network.widths[level]]


@numba.njit(cache=True, error_model="numpy")
def single_layer(
    position: NDArray[np.float64],
    shift: NDArray[np.int32],
    species: NDArray[np.int16],
    h: NDArray[np.float64],
    offsets: NDArray[np.int64],
    neighbors: NDArray[np.int32],
    first: int,
    last: int,
    cutoff2: NDArray[np.float64],
    network: PackedSingleLayer,
    repulsion: NDArray[np.float64],
    work: Workspace,
    force: NDArray[np.int64],
    energy: NDArray[np.float64],
    virial: NDArray[np.float64],
) -> int:
    """Energies, forces and virials of the centers from `first` to before `last`.

    Args:
        position: (n_all, 3) Å.
        shift: (n_all, 3).
        species: (n_all,).
        h: (3, 3) Å, lattice rows.
        offsets: (n_centers + 1,).
        neighbors: (offsets[-1],) indices of local atoms and ghosts.
        first: first center.
        last: the one after the last.
        cutoff2: (n, n) Å², [center, neighbor].
        network: the model.
        repulsion: (3, n, n) of `cpu_repulsion`, or (3, 0, 0).
        work: at least as many rows as any center has neighbors.
        force: (n_all, 3) fixed-point units, added to; of this potential alone.
        energy: (last − first,) eV, stored.
        virial: (last − first, 6) eV, added to; (0, 6) when not wanted.

    Returns:
        `FINE`, or the first center whose forces are out of range.
    """
    network, work = no_refcount(network), no_refcount(work)
    start, offsets_here = first, offsets[: last + 1]
    while start < last:
        taken, edges = fill_block(
            start, position, shift, species, h, offsets_here, neighbors, cutoff2, work.vector, work.center,
            work.neighbor,
        )
        energies = energy[start - first : start - first + taken]
        virials = virial[start - first : start - first + taken] if len(virial) > 0 else virial
        for i in range(taken):
            energies[i] = 0.0
        _radial(start, edges, species, network, work)
        _forward(taken, edges, network, work)
        _energies(start, edges, species, network, work, energies)
        _backward(taken, edges, network, work)
        _gradients(edges, network, work)
        if repulsion.shape[1] > 0:
            add_repulsion(
                start, edges, species, repulsion, work.vector, work.center, work.neighbor, energies, work.by_vector
            )
        status = spread_block(start, edges, work.vector, work.center, work.neighbor, work.by_vector, force, virials)
        if status != FINE:
            return status
        for i in range(taken):
            energies[i] += network.shifts[species[start + i]]
        start += taken
    return FINE


@numba.njit(cache=True, error_model="numpy", inline="always")
def _radial(first: int, edges: int, species: NDArray[np.int16], network: PackedSingleLayer, work: Workspace) -> None:
    """Distances, harmonics, and the radial functions with their slopes."""
    d, n, per_spacing = network.degrees, len(network.factors), network.per_spacing
    intervals, size = network.table.shape[1], 4 * network.table.shape[3]
    vector, radius, spacing, interval, fraction = work.vector, work.radius, work.spacing, work.interval, work.fraction
    center, neighbor, y = work.center, work.neighbor, work.harmonics
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
    evaluate(network.table, edges, interval, fraction, work.row, work.row_slope)


@numba.njit(cache=True, error_model="numpy", inline="always")
def _forward(taken: int, edges: int, network: PackedSingleLayer, work: Workspace) -> None:
    """Environments, scalars, and the inputs of all levels; leaves the slopes of the activations."""
    d, c = network.degrees, network.channels
    work.environment[:taken] = network.table.dtype.type(0.0)
    sum_environments(edges, d, c, work.center, work.harmonics, work.row, work.environment)
    source, z, start = _part(work.inputs, 0, network), work.gradient, 0  # z is lent
    make_scalars(
        edges, d, c, network.shared, work.center, work.harmonics, work.row, work.environment, work.dots, source,
        network.widths[0],
    )
    for level in range(len(network.codes)):
        stride, n, width = network.widths[level], network.fan_in[level], network.widths[level + 1]
        multiply(source, stride, n, network.matrices, start, z, width, edges)
        start += n * width
        if network.cuts[level]:
            scale(edges, width, z, work.row, network.cut_column)
        if network.starts[level] >= 0:
            add_columns(edges, width, z, work.row, network.starts[level])
        source, used = _part(work.inputs, level + 1, network), edges * width
        activate(network.codes[level], z[:used], source[:used], _part(work.slopes, level + 1, network)[:used])


@numba.njit(cache=True, error_model="numpy", inline="always")
def _energies(
    first: int, edges: int, species: NDArray[np.int16], network: PackedSingleLayer, work: Workspace,
    energy: NDArray[np.float64]
) -> None:
    """The last level: energies, and where the backward pass begins."""
    level, start, cut, cut_column = len(network.codes), network.starts[-1], network.cuts[-1], network.cut_column
    factors, center, row, slope, by_fraction = network.factors, work.center, work.row, work.row_slope, work.by_fraction
    seed, product = work.seed, work.product
    dots(edges, _part(work.inputs, level, network), network.last, 0, product)
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
    d, c, end = network.degrees, network.channels, len(network.transposed)
    gradient, below = work.gradient, work.other
    for level in range(len(network.codes) - 1, -1, -1):
        n, width, stride = network.fan_in[level + 1], network.widths[level], network.widths[level + 1]
        start = network.starts[level]
        activation_backward(
            edges, stride, _part(work.slopes, level + 1, network), gradient, work.row_slope, start, work.by_fraction
        )
        end -= n * width
        multiply(gradient, stride, n, network.transposed, end, below, width, edges)
        if network.cuts[level]:
            column = network.cut_column
            dots(edges, below, _part(work.inputs, level, network), width, work.product)
            for e in range(edges):
                work.by_fraction[e] += work.product[e] * work.row_slope[e, column]
            scale(edges, width, below, work.row, column)
        gradient, below = below, gradient
    work.grad_environment[:taken] = network.table.dtype.type(0.0)
    scalars_backward(
        edges, d, c, network.shared, work.center, work.harmonics, work.row, work.row_slope, gradient,
        network.widths[0], work.dots, work.grad_environment, work.by_fraction,
    )


@numba.njit(cache=True, error_model="numpy", inline="always")
def _gradients(edges: int, network: PackedSingleLayer, work: Workspace) -> None:
    """dE/dd of each edge."""
    d, c, on_y = network.degrees, network.channels, work.by_harmonics
    vector, radius, by_fraction, spacing, out = work.vector, work.radius, work.by_fraction, work.spacing, work.by_vector
    environments_backward(
        edges, d, c, work.center, work.harmonics, work.row, work.row_slope, work.dots, work.environment,
        work.grad_environment,
        on_y, by_fraction,
    )
    for e in range(edges):
        inverse = 1.0 / radius[e]
        x, y, z = vector[e, 0] * inverse, vector[e, 1] * inverse, vector[e, 2] * inverse
        g0, g1, g2 = harmonics_backward(x, y, z, d, on_y, e)
        along = by_fraction[e] * spacing[e] - (g0 * x + g1 * y + g2 * z) * inverse
        out[e, 0] = along * x + g0 * inverse
        out[e, 1] = along * y + g1 * inverse
        out[e, 2] = along * z + g2 * inverse
