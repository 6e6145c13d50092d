"""A network of several layers in the arrays of its kernel.

Arguments: per_spacing (n, n) float64 1/Å; table (n · n, intervals, 4, columns), rows (n, C) and matrix (paths · C, C),
float32 or float64.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from allegro_md.kernels.cpu_activation import CODES
from allegro_md.kernels.cpu_aligned import aligned, aligned_zeros
from allegro_md.kernels.cpu_matrix import packed, whole
from allegro_md.kernels.cpu_multi_layer_arrays import ENERGY, ENVIRONMENT, PLAIN, SCALARS, PackedMultiLayer
from allegro_md.models.fused.fold import Fold
from allegro_md.models.fused.layers import Layers, Node

_KINDS = {"environment": ENVIRONMENT, "scalars": SCALARS, "energy": ENERGY}


class _Space:
    """Columns of numbers when channels and widths are filled up to whole wide vectors."""

    def __init__(self, channels: int, real: np.dtype[Any]) -> None:
        self._channels, self._real, self.padded = channels, real, whole(channels, real)

    def place(self, width: int, by_channel: bool) -> tuple[NDArray[np.int64], int]:
        """Columns of the numbers of a row, and its width."""
        if not by_channel:
            return np.arange(width), whole(width, self._real)
        blocks = width // self._channels
        columns = np.arange(blocks)[:, None] * self.padded + np.arange(self._channels)
        return columns.ravel(), blocks * self.padded

    def node(self, node: Node) -> tuple[NDArray[np.int64], int]:
        """The same of a node."""
        return self.place(node.width, node.name.startswith(("environment", "scalars")))


def pack_multi_layer(
    fold: Fold, layers: Layers, per_spacing: NDArray[np.float64], table: NDArray[Any]
) -> PackedMultiLayer:
    """Packs the network in the precision of the table.

    Args:
        fold: the network.
        layers: its description.
        per_spacing: (n, n) float64, 1/Å, inverse spacing of the table of each ordered pair.
        table: (n · n, intervals, 4, columns) float32 or float64.
    """
    real = table.dtype
    space = _Space(fold.channels, real)
    nodes = layers.nodes
    wide, starts, cut = _table(fold, nodes, space, table)
    matrices, fans, links, link_starts = _matrices(nodes, space)
    products = [product for layer in layers.products for product in layer]
    widths = np.array([space.node(n)[1] for n in nodes])
    firsts = [layer[0] for layer in layers.products]
    components = np.array([p.terms.sizes[0] for p in firsts])
    sizes = _places([len(p.coefficient) for p in products])
    layer_starts = _places([len(layer) for layer in layers.products])
    terms = np.concatenate([np.stack([p.terms.a, p.terms.b, p.terms.out], axis=1) for p in products])
    scalar_terms = [sizes[k] + int((p.terms.out == 0).sum()) for k, p in zip(layer_starts[:-1], firsts, strict=True)]
    mixings = [_mixing(p.mixing, space) for p in products if p.mixing is not None]
    return PackedMultiLayer(
        degrees=fold.degrees, channels=space.padded, mixed=layers.mixed, per_spacing=per_spacing,
        factors=fold.factors, shifts=fold.shifts, norms=layers.norms.astype(real), table=wide, cut_column=cut,
        kinds=np.array([_KINDS.get(n.name.split(".")[0], PLAIN) for n in nodes]),
        layers=np.array([_layer(n) for n in nodes]), widths=widths, places=_places(widths), starts=starts,
        codes=np.array([CODES[n.activation] for n in nodes]), cuts=np.array([n.cut for n in nodes]), fans=fans,
        fan_places=_places(fans), matrices=_joined(matrices, real), transposed=_joined([m.T for m in matrices], real),
        matrix_places=_places(widths * fans), links=links, link_starts=link_starts, terms=terms,
        coefficients=_filled(np.concatenate([p.coefficient for p in products]), space).astype(real),
        term_starts=sizes, product_starts=layer_starts,
        components=components, tensor_places=_places(components * space.padded), scalar_terms=np.array(scalar_terms),
        results=_results(layers, fold.channels), mixings=_joined(mixings, real),
        unmixings=_joined([m.T for m in mixings], real),
        mixing_places=_places([m.size for m in mixings]),
    )


def _layer(node: Node) -> int:
    """The number in the name of environment weights or scalars."""
    return int(node.name.split(".")[1]) if node.name.startswith(("environment", "scalars")) else 0


def _places(sizes: Sequence[int] | NDArray[np.int64]) -> NDArray[np.int64]:
    """Starts of several things of these sizes that lie one after the other, and the end of the last one, int64."""
    return np.cumsum([0, *sizes])


def _joined(matrices: list[NDArray[Any]], real: np.dtype[Any]) -> NDArray[Any]:
    """As `cpu_matrix.multiply` reads them, one after the other."""
    joined = np.concatenate([np.zeros(0, real), *(packed(m.astype(real)) for m in matrices)])
    return aligned(joined)


def _filled(rows: NDArray[Any], space: _Space) -> NDArray[Any]:
    """(n, C) with the channels filled up."""
    return np.pad(rows, ((0, 0), (0, space.padded - rows.shape[1])))


def _mixing(matrix: NDArray[Any], space: _Space) -> NDArray[Any]:
    """(paths · C, C) with the channels filled up on both sides."""
    blocks = _filled(matrix, space).reshape(-1, matrix.shape[1], space.padded)
    return np.pad(blocks, ((0, 0), (0, space.padded - matrix.shape[1]), (0, 0))).reshape(-1, space.padded)


def _results(layers: Layers, channels: int) -> NDArray[np.int64]:
    """(products, 2): components of the irrep and paths, of the residual form."""
    if not layers.mixed:
        return np.zeros((0, 2), dtype=np.int64)
    rows = []
    for layer in layers.products:
        for product in layer:
            width = product.terms.sizes[2]
            paths = width if product.mixing is None else len(product.mixing) // channels
            rows.append((width // paths, paths))
    return np.array(rows, dtype=np.int64)


def _table(
    fold: Fold, nodes: tuple[Node, ...], space: _Space, table: NDArray[Any]
) -> tuple[NDArray[Any], NDArray[np.int64], int]:
    """Fills up the table's columns; returns it, the first column of each node, and that of the envelope."""
    width = fold.degrees * fold.channels
    own, at = space.place(width, True)
    places, starts = [own], []
    for node in nodes:
        columns, filled = space.node(node)
        starts.append(at if node.radial else -1)
        if node.radial:
            places.append(at + columns)
            at += filled
    cut = any(node.cut for node in nodes)
    if cut:
        places.append(np.array([at]))
    wide = aligned_zeros((*table.shape[:3], whole(at + cut, table.dtype)), table.dtype)
    wide[..., np.concatenate(places)] = table
    return wide, np.array(starts), at if cut else -1


def _matrices(
    nodes: tuple[Node, ...], space: _Space
) -> tuple[list[NDArray[Any]], NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Matrices of each node for all its readers, side by side, and their widths; links and first links."""
    index = {node.name: n for n, node in enumerate(nodes)}
    parts: list[list[NDArray[Any]]] = [[] for _ in nodes]
    fans, links, starts = np.zeros(len(nodes), dtype=np.int64), [], [0]
    for node in nodes:
        columns, width = space.node(node)
        for name, matrix in node.sources.items():
            source = index[name]
            rows, height = space.node(nodes[source])
            filled = np.zeros((height, width))
            filled[np.ix_(rows, columns)] = matrix
            links.append((source, fans[source]))
            parts[source].append(filled)
            fans[source] += width
        starts.append(len(links))
    joined = [np.concatenate(p, axis=1) for p in parts if p]
    return joined, fans, np.array(links, dtype=np.int64), np.array(starts)
