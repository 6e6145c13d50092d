"""The arrays of a network of several layers (`models.fused.layers`), and the memory of one block of its edges."""

from __future__ import annotations

from typing import Any, NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from allegro_md.kernels.cpu_aligned import aligned_zeros
from allegro_md.kernels.cpu_matrix import ROWS
from allegro_md.kernels.cpu_vector import WIDE

SLICE = 24
"""Edges whose products are mixed at once."""

PLAIN, ENVIRONMENT, SCALARS, ENERGY = 0, 1, 2, 3
"""Kinds of nodes; the energy is the last one."""


class PackedMultiLayer(NamedTuple):
    """A network of K layers and N nodes. Real: float32 or float64, of everything that is not stated.

    Channels, and the width of every node, are whole wide vectors, filled up with zeros. What a node gives to all its
    readers is one product with one matrix, of as many columns as the readers have in all (its fan).

    Attributes:
        degrees: l_max + 1.
        channels: C.
        mixed: the residual form.
        per_spacing: (n, n) float64, 1/Å, inverse spacing of the table of each ordered pair.
        factors: (n,) float64, eV.
        shifts: (n,) float64, eV.
        norms: (n,) of the environments, by species of the center.
        table: (n · n, intervals, 4, columns); own_lu comes first.
        cut_column: of the envelope, −1 where there is none.
        kinds: (N,) int64.
        layers: (N,) int64, the layer of environment weights or scalars.
        widths: (N,) int64.
        places: (N + 1,) int64, columns of all earlier nodes.
        starts: (N,) int64, first column of the node's f(r); −1 where it has none.
        codes: (N,) int64, activation.
        cuts: (N,) whether what the node gives is multiplied by the envelope.
        fans: (N,) int64; 0 where nobody reads the node through a matrix.
        fan_places: (N + 1,) int64, fans of all earlier nodes.
        matrices: of all nodes (width, fan), `packed` one after the other.
        transposed: the same, (fan, width).
        matrix_places: (N + 1,) int64, numbers in all earlier ones.
        links: (links, 2) int64, of all nodes: a source, and the column of its fan where what it gives them begins.
        link_starts: (N + 1,) int64, first link of each node.
        terms: (terms, 3) int64, components of tensor, environment and result.
        coefficients: (terms, C).
        term_starts: (products + 1,) int64, first term of each product.
        product_starts: (K + 1,) int64, first product of each layer.
        components: (K,) int64, of the tensor that enters each layer.
        tensor_places: (K + 1,) int64, columns of the tensors of all earlier layers (residual form).
        scalar_terms: (K,) int64, one after the last term of a result of component 0 (dense form).
        results: (products, 2) int64, components of each product's irrep, and its paths (residual form).
        mixings: (paths · C, C) of all products but the last, `packed` one after the other (residual form).
        unmixings: the same, (C, paths · C).
        mixing_places: (products,) int64, numbers in all earlier ones.
    """

    degrees: int
    channels: int
    mixed: bool
    per_spacing: NDArray[np.float64]
    factors: NDArray[np.float64]
    shifts: NDArray[np.float64]
    norms: NDArray[Any]
    table: NDArray[Any]
    cut_column: int
    kinds: NDArray[np.int64]
    layers: NDArray[np.int64]
    widths: NDArray[np.int64]
    places: NDArray[np.int64]
    starts: NDArray[np.int64]
    codes: NDArray[np.int64]
    cuts: NDArray[np.bool_]
    fans: NDArray[np.int64]
    fan_places: NDArray[np.int64]
    matrices: NDArray[Any]
    transposed: NDArray[Any]
    matrix_places: NDArray[np.int64]
    links: NDArray[np.int64]
    link_starts: NDArray[np.int64]
    terms: NDArray[np.int64]
    coefficients: NDArray[Any]
    term_starts: NDArray[np.int64]
    product_starts: NDArray[np.int64]
    components: NDArray[np.int64]
    tensor_places: NDArray[np.int64]
    scalar_terms: NDArray[np.int64]
    results: NDArray[np.int64]
    mixings: NDArray[Any]
    unmixings: NDArray[Any]
    mixing_places: NDArray[np.int64]


class MultiLayerWorkspace(NamedTuple):
    """Memory of one block of `rows` edges; see `allocate` for shapes.

    Attributes:
        bounds: first edge of each center, and the number of edges.
        lanes: lent.
        norm: of each center.
        row, row_slope: radial functions, and their derivatives over the fraction of the interval.
        values, slopes, gradients: per node, one after the other (`part`): what it holds, the derivative of its
            activation, and dE/dvalue, then dE/dz. Gradients are lent to z in the forward pass.
        given: per node what it gives to its readers, then the gradient at that.
        environments, grad_environments: Γ_k of each center, and the gradient at them.
        readers: dense form: B_k of each center, scalars.k = V_0 · B_k; on_readers: the gradient at those of a layer.
        chain: one center's way from V_{k+1}[0] back to V_0, and the gradient's forward.
        tensors, on_tensors: V_k of each edge, per layer (`part`), and the gradients; in the dense form that at V_0.
        parts, mixed: residual form: a product of one slice of edges, and what mixing makes of it.
    """

    vector: NDArray[np.float64]
    center: NDArray[np.int64]
    neighbor: NDArray[np.int64]
    bounds: NDArray[np.int64]
    norm: NDArray[Any]
    radius: NDArray[np.float64]
    by_vector: NDArray[np.float64]
    by_fraction: NDArray[np.float64]
    spacing: NDArray[np.float64]
    fraction: NDArray[np.float64]
    interval: NDArray[np.int64]
    product: NDArray[Any]
    lanes: NDArray[Any]
    harmonics: NDArray[Any]
    by_harmonics: NDArray[Any]
    row: NDArray[Any]
    row_slope: NDArray[Any]
    values: NDArray[Any]
    slopes: NDArray[Any]
    gradients: NDArray[Any]
    given: NDArray[Any]
    environments: NDArray[Any]
    grad_environments: NDArray[Any]
    readers: NDArray[Any]
    on_readers: NDArray[Any]
    chain: NDArray[Any]
    tensors: NDArray[Any]
    on_tensors: NDArray[Any]
    parts: NDArray[Any]
    mixed: NDArray[Any]


def allocate(network: PackedMultiLayer, rows: int) -> MultiLayerWorkspace:
    """Memory for blocks of at most `rows` edges and as many centers."""
    real, c, size = network.table.dtype, network.channels, network.degrees**2 * network.channels
    layers, dense, columns = len(network.components), not network.mixed, network.table.shape[3]
    spare = -(-rows // ROWS) * ROWS  # of rows that are multiplied beyond those in use
    total, fans = int(network.places[-1]), int(network.fan_places[-1])
    tensors = 0 if dense else int(network.tensor_places[-1])
    slices = SLICE * int(network.results[:, 0].max(initial=0)) + ROWS

    def wide(*shape: int) -> NDArray[Any]:
        return aligned_zeros((rows, *shape), real)

    def flat(width: int) -> NDArray[Any]:
        return aligned_zeros((spare * width,), real)

    def plain(kind: type, *shape: int) -> NDArray[Any]:
        return np.zeros((rows, *shape), dtype=kind)

    return MultiLayerWorkspace(
        vector=plain(np.float64, 3), center=plain(np.int64), neighbor=plain(np.int64),
        bounds=np.zeros(rows + 1, np.int64), norm=wide(), radius=plain(np.float64), by_vector=plain(np.float64, 3),
        by_fraction=plain(np.float64), spacing=plain(np.float64), fraction=plain(np.float64), interval=plain(np.int64),
        product=wide(), lanes=wide(WIDE // real.itemsize), harmonics=wide(network.degrees**2),
        by_harmonics=wide(network.degrees**2), row=wide(columns),
        row_slope=wide(columns), values=flat(total), slopes=flat(total), gradients=flat(total), given=flat(fans),
        environments=wide(layers, size), grad_environments=wide(layers, size),
        readers=wide(layers, size if dense else 0),
        on_readers=wide(size if dense else 0),
        chain=aligned_zeros((2, layers + 1, int(network.components.max()) * c), real), tensors=flat(tensors),
        on_tensors=flat(max(size, tensors)),
        parts=aligned_zeros((slices * int(network.results[:, 1].max(initial=0)) * c,), real),
        mixed=aligned_zeros((slices * c,), real),
    )


@numba.njit(cache=True)
def part(values: NDArray[Any], places: NDArray[np.int64], n: int) -> NDArray[Any]:
    """The rows of the n-th of several tables that lie one after the other in a buffer of a block.

    Args:
        values: (rows · places[-1],) float32 or float64.
        places: (N + 1,) columns of all earlier tables.
        n: the table.
    """
    rows = len(values) // places[-1]
    return values[rows * places[n] : rows * places[n + 1]]
