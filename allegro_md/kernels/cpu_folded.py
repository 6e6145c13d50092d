"""Folded networks of one layer (`models.fold`): forward and hand-written backward, block after block of centers.

A block's edges lie in whole tiles; every matrix product has exactly `TILE` rows and everything else is elementwise or a
sum in canonical order within one edge or one center, so nothing of a result depends on the division into blocks.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from allegro_md.kernels.blocks import fill_block, spread_block
from allegro_md.kernels.cpu_activation import activate
from allegro_md.kernels.cpu_harmonics import harmonics, pull_back
from allegro_md.kernels.cpu_repulsion import add_repulsion
from allegro_md.kernels.cpu_table import dot, fresh, locate, lone_slope, lone_value, slope, values
from allegro_md.kernels.cpu_tensor import make_scalars, pull_environments, pull_scalars, sum_environments
from allegro_md.kernels.cpu_vector import LANES, load, store, times
from allegro_md.kernels.fixed import FINE

TILE = 256
"""Rows of every matrix product."""


class Network(NamedTuple):
    """A folded network of K levels. Real: float32 or float64, of everything that is not stated.

    Channels, and the fan in of every level, are whole vectors (`cpu_vector.LANES`), filled up with zeros.

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
        fan_in: (K + 1,) int64, of each level, and the width of the last one, 1.
        matrices: of all levels, row by row (fan in, width), one after the other; the last one is one column.
        transposed: the same, (width, fan in).
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
    matrices: NDArray[Any]
    transposed: NDArray[Any]


class Work(NamedTuple):
    """Memory of one block of `rows` edges, a multiple of `TILE`; see `allocate` for shapes.

    `inputs`, `slopes` and `gradients` hold, one after the other, what belongs to the input of each level (`part`): its
    values, the derivatives of the activations that made them, and dE/dinput.
    """

    vector: NDArray[np.float64]
    center: NDArray[np.int64]
    neighbor: NDArray[np.int64]
    radius: NDArray[np.float64]
    gradient: NDArray[np.float64]
    by_fraction: NDArray[np.float64]
    interval: NDArray[np.int64]
    pair: NDArray[np.int64]
    fraction: NDArray[Any]
    cut: NDArray[Any]
    harmonics: NDArray[Any]
    tensor: NDArray[Any]
    tensor_gradient: NDArray[Any]
    dots: NDArray[Any]
    environment: NDArray[Any]
    pulled: NDArray[Any]
    inputs: NDArray[Any]
    slopes: NDArray[Any]
    gradients: NDArray[Any]
    on_harmonics: NDArray[Any]


def allocate(network: Network, rows: int) -> Work:
    """Memory for blocks of at most `rows` edges and as many centers."""
    real = network.table.dtype
    c, d = network.channels, network.degrees
    widths = int(network.fan_in[:-1].sum())

    def wide(*shape: int) -> NDArray[Any]:
        return np.zeros((rows, *shape), dtype=real)

    centers = np.zeros((rows + 1, d * d, c), dtype=real)
    return Work(
        np.zeros((rows, 3)), np.zeros(rows, np.int64), np.zeros(rows, np.int64), np.zeros(rows), np.zeros((rows, 3)),
        np.zeros(rows), np.zeros(rows, np.int64), np.zeros(rows, np.int64), wide(), wide(), wide(d * d),
        wide(2 * d * c), wide(2 * d * c), wide(d * c), centers, centers.copy(), wide(widths).ravel(),
        wide(widths).ravel(), wide(widths).ravel(), wide(d * d),
    )  # fmt: skip


@numba.njit(cache=True)
def _part(values: NDArray[Any], rows: int, level: int, network: Network) -> NDArray[Any]:
    """(rows, fan in) of the input of a level, in a buffer of a block."""
    start, width = rows * network.fan_in[:level].sum(), network.fan_in[level]
    return values[start : start + rows * width].reshape((rows, width))


@numba.njit(cache=True)
def _matrix(values: NDArray[Any], level: int, network: Network, transposed: bool) -> NDArray[Any]:
    """(fan in, width) of a level, or its transpose."""
    start = 0
    for k in range(level):
        start += network.fan_in[k] * network.fan_in[k + 1]
    a, b = network.fan_in[level], network.fan_in[level + 1]
    if transposed:
        a, b = b, a
    return values[start : start + a * b].reshape((a, b))


@numba.njit(cache=True, error_model="numpy")
def folded(
    position: NDArray[np.float64],
    shift: NDArray[np.int32],
    species: NDArray[np.int16],
    h: NDArray[np.float64],
    offsets: NDArray[np.int64],
    neighbors: NDArray[np.int32],
    first: int,
    last: int,
    cutoff2: NDArray[np.float64],
    network: Network,
    repulsion: NDArray[np.float64],
    work: Work,
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
        neighbors: (offsets[-1],) held indices.
        first: first center.
        last: the one after the last.
        cutoff2: (n, n) Å², [center, neighbor].
        network: the model.
        repulsion: (3, n, n) of `cpu_repulsion`, or (3, 0, 0).
        work: at least as many rows as any center has neighbors.
        force: (n_all, 3) quanta, added to; of this potential alone.
        energy: (last − first,) eV, stored.
        virial: (last − first, 6) eV, added to; (0, 6) when not wanted.

    Returns:
        `FINE`, or the first center whose forces are out of range.
    """
    start, offsets_here = first, offsets[: last + 1]
    while start < last:
        taken, edges = fill_block(
            start, position, shift, species, h, offsets_here, neighbors, cutoff2, work.vector, work.center,
            work.neighbor,
        )  # fmt: skip
        used = -(-edges // TILE) * TILE
        energies = energy[start - first : start - first + taken]
        virials = virial[start - first : start - first + taken] if len(virial) > 0 else virial
        for i in range(taken):
            energies[i] = 0.0
        _radial(start, edges, used, species, network, work)
        _forward(taken, used, network, work)
        _energies(start, edges, used, species, network, work, energies)
        _backward(taken, used, network, work)
        _gradients(edges, network, work)
        if repulsion.shape[1] > 0:
            add_repulsion(
                start, edges, species, repulsion, work.vector, work.center, work.neighbor, energies, work.gradient
            )
        status = spread_block(start, edges, work.vector, work.center, work.neighbor, work.gradient, force, virials)
        if status != FINE:
            return status
        for i in range(taken):
            energies[i] += network.shifts[species[start + i]]
        start += taken
    return FINE


@numba.njit(cache=True, error_model="numpy")
def _radial(first: int, edges: int, used: int, species: NDArray[np.int16], network: Network, work: Work) -> None:
    """Distances, places in the table, harmonics, tensor weights and envelopes."""
    d, n, table = network.degrees, len(network.factors), network.table
    intervals, columns, width = table.shape[1], table.shape[3], 2 * network.degrees * network.channels
    for e in range(used):
        x, y, z = work.vector[e, 0], work.vector[e, 1], work.vector[e, 2]
        r = np.sqrt(x * x + y * y + z * z)
        work.radius[e] = r
        a = b = 0
        if n > 1 and e < edges:
            a, b = species[first + work.center[e]], species[work.neighbor[e]]
        k, fraction = locate(r, network.per_spacing[a, b], intervals)
        at = ((a * n + b) * intervals + k) * (4 * columns)
        p = table.dtype.type(fraction)
        work.interval[e], work.pair[e], work.fraction[e] = at, a * n + b, p
        fresh(table, at, width, p, work.tensor, e * width)
        if network.cut_column >= 0:
            work.cut[e] = lone_value(table, at + network.cut_column, p)
        inverse = 1.0 / r
        harmonics(x * inverse, y * inverse, z * inverse, d, work.harmonics, e)


@numba.njit(cache=True, error_model="numpy")
def _forward(taken: int, used: int, network: Network, work: Work) -> None:
    """Environments, scalars, and the inputs of all levels; leaves the slopes of the activations."""
    d, c = network.degrees, network.channels
    rows, zero, one = len(work.vector), network.table.dtype.type(0.0), network.table.dtype.type(1.0)
    work.environment[: taken + 1] = zero
    sum_environments(used, d, c, work.center, work.harmonics, work.tensor, work.environment)
    make_scalars(
        used, d, c, network.shared, work.center, work.harmonics, work.tensor, work.environment, work.dots,
        _part(work.inputs, rows, 0, network),
    )  # fmt: skip
    for level in range(len(network.codes)):
        source = _part(work.inputs, rows, level, network)
        z = _part(work.gradients, rows, level + 1, network)  # lent: arrays that overlap are not vectorized
        start, matrix, width = network.starts[level], _matrix(network.matrices, level, network, False), z.shape[1]
        for t in range(0, used, TILE):
            np.dot(source[t : t + TILE], matrix, z[t : t + TILE])
        if start >= 0:
            for e in range(used):
                scale = work.cut[e] if network.cuts[level] else one
                values(network.table, work.interval[e] + start, width, work.fraction[e], scale, z, e * width)
        out, slopes = _part(work.inputs, rows, level + 1, network), _part(work.slopes, rows, level + 1, network)
        activate(network.codes[level], z[:used].reshape(-1), out[:used].reshape(-1), slopes[:used].reshape(-1))


@numba.njit(cache=True, error_model="numpy")
def _energies(
    first: int,
    edges: int,
    used: int,
    species: NDArray[np.int16],
    network: Network,
    work: Work,
    energy: NDArray[np.float64],
) -> None:
    """The last level: energies, and where the backward pass begins."""
    level, rows, table = len(network.codes), len(work.vector), network.table
    x, gradient = _part(work.inputs, rows, level, network), _part(work.gradients, rows, level, network)
    start, cut, last = network.starts[level], network.cuts[level], _matrix(network.matrices, level, network, True)[0]
    width = len(last)
    for e in range(used):
        at, p, i = work.interval[e], work.fraction[e], first + work.center[e]
        factor = network.factors[species[i]] if e < edges else 0.0
        product = dot(x, e * width, last, 0, width)
        seed, value, by_fraction = table.dtype.type(factor), product, 0.0
        if cut:
            value = work.cut[e] * product
            by_fraction += factor * product * lone_slope(table, at + network.cut_column, p)
            seed *= work.cut[e]
        if start >= 0:
            value += lone_value(table, at + start, p)
            by_fraction += factor * lone_slope(table, at + start, p)
        work.by_fraction[e] = by_fraction
        for k in range(width):
            gradient[e, k] = seed * last[k]
        if e < edges:
            energy[work.center[e]] += factor * value


@numba.njit(cache=True, error_model="numpy")
def _backward(taken: int, used: int, network: Network, work: Work) -> None:
    """From the gradient at the last level's input to those at the scalars; collects the slopes of radial functions."""
    d, c, table = network.degrees, network.channels, network.table
    levels, rows = len(network.codes), len(work.vector)
    for back in range(levels):
        level = levels - 1 - back
        gradient, slopes = _part(work.gradients, rows, level + 1, network), _part(work.slopes, rows, level + 1, network)
        below, inputs = _part(work.gradients, rows, level, network), _part(work.inputs, rows, level, network)
        start, matrix = network.starts[level], _matrix(network.transposed, level, network, True)
        width, fan_in = gradient.shape[1], below.shape[1]
        for e in range(used):
            for k in range(0, width, LANES):
                at = e * width + k
                store(gradient, at, times(load(gradient, at), load(slopes, at)))
            if start >= 0:
                on_radial = slope(table, work.interval[e] + start, width, work.fraction[e], gradient, e * width)
                work.by_fraction[e] += on_radial
        for t in range(0, used, TILE):
            np.dot(gradient[t : t + TILE], matrix, below[t : t + TILE])
        if network.cuts[level]:
            for e in range(used):
                cut = dot(below, e * fan_in, inputs, e * fan_in, fan_in)
                work.by_fraction[e] += cut * lone_slope(table, work.interval[e] + network.cut_column, work.fraction[e])
                below[e] *= work.cut[e]
    work.pulled[: taken + 1] = table.dtype.type(0.0)
    pull_scalars(
        used, d, c, network.shared, work.center, work.harmonics, work.tensor, _part(work.gradients, rows, 0, network),
        work.dots, work.tensor_gradient, work.pulled,
    )  # fmt: skip


@numba.njit(cache=True, error_model="numpy")
def _gradients(edges: int, network: Network, work: Work) -> None:
    """dE/dd of each edge."""
    d, c, n = network.degrees, network.channels, len(network.factors)
    width = 2 * d * c
    pull_environments(
        edges, d, c, work.center, work.harmonics, work.tensor, work.dots, work.environment, work.pulled,
        work.tensor_gradient, work.on_harmonics,
    )  # fmt: skip
    for e in range(edges):
        by_fraction = work.by_fraction[e]
        by_fraction += slope(network.table, work.interval[e], width, work.fraction[e], work.tensor_gradient, e * width)
        pair = work.pair[e]
        by_distance = by_fraction * network.per_spacing[pair // n, pair % n]
        inverse = 1.0 / work.radius[e]
        x, y, z = work.vector[e, 0] * inverse, work.vector[e, 1] * inverse, work.vector[e, 2] * inverse
        g0, g1, g2 = pull_back(x, y, z, d, work.on_harmonics, e)
        along = by_distance - (g0 * x + g1 * y + g2 * z) * inverse
        work.gradient[e, 0] = along * x + g0 * inverse
        work.gradient[e, 1] = along * y + g1 * inverse
        work.gradient[e, 2] = along * z + g2 * inverse
