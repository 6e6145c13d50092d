"""Networks of one layer on a GPU: the operations of `kernels.cpu_single_layer` in their order, kernel after kernel.

A kernel runs over all edges of a block. How many there are is known on the device alone: kernels are started for all
listed pairs, and threads beyond the last edge have nothing to do. Nothing comes back to the host.
"""

from __future__ import annotations

from typing import Any

import torch

from allegro_md.kernels.arguments import Atoms, Lists, Out
from allegro_md.kernels.cpu_activation import NONE
from allegro_md.kernels.cpu_vector import WIDE
from allegro_md.kernels.gpu.launch import Kernel, kernel
from allegro_md.kernels.gpu.single_layer_arrays import CenterBlock, SingleLayer, Workspace
from allegro_md.state import DeviceArray

_REALS = {torch.float32: "float", torch.float64: "double"}
_TILES = (16, 32, 64)  # columns of a product that one block of threads makes
_TILE_ELEMENTS, _TILE_THREADS = 4096, 256


def single_layer(
    atoms: Atoms,
    lists: Lists,
    blocks: list[CenterBlock],
    cutoff2: torch.Tensor,
    network: SingleLayer,
    work: Workspace,
    out: Out,
    status: torch.Tensor,
) -> None:
    """Computes energies, forces and virials of blocks of centers, one after the other.

    Args:
        atoms, lists, out: see `kernels.arguments`, of tensors on the GPU, but for the cell; rows of energies and
            virials count from the first center, and virials are stored; forces on neighbors, too.
        blocks: of `single_layer_arrays.divide`.
        cutoff2: (n, n) float64, Å², [center, neighbor].
        network: the model.
        work: memory for the largest block.
        status: (1,) int64, lowered to the first center whose forces are out of range.
    """
    species: DeviceArray = atoms.species
    for block in blocks:
        _fill(block, atoms, lists, cutoff2, work)
        launch = _Launches(block, species, network, work)
        launch.place_edges()
        launch.forward()
        launch.backward()
        launch.edge_gradients()
        repulsion = work.repulsion if network.repulsion is not None else None
        n, own = block.last - block.first, slice(block.first - blocks[0].first, block.last - blocks[0].first)
        kernel("single_layer.cuh", "sum_energies").over(
            n, n, block.first, work.bounds, work.term, repulsion, species, network.shifts, out.energy[own]
        )
        _spread(block, own, work, out, status)


def _fill(block: CenterBlock, atoms: Atoms, lists: Lists, cutoff2: torch.Tensor, work: Workspace) -> None:
    """Finds the edges of a block; `cutoff2` (n, n) float64, Å²."""
    n, bounds = block.last - block.first, work.bounds
    listed = (block.first, n, *atoms, *lists, len(cutoff2), cutoff2)
    bounds[:1].zero_()
    kernel("blocks.cuh", "count_edges").over(8 * n, *listed, bounds[1:])
    torch.cumsum(bounds[1 : n + 1], 0, out=bounds[1 : n + 1])
    kernel("blocks.cuh", "fill_block").over(8 * n, *listed, bounds, work.vector, work.center, work.neighbor)


def _spread(block: CenterBlock, own: slice, work: Workspace, out: Out, status: torch.Tensor) -> None:
    """Adds the gradients of a block's edges to forces and virials, of which rows `own` are its; `status` (1,) int64."""
    n, begin, pairs = block.last - block.first, block.first, block.pairs
    bounds, vector, neighbor, gradient = work.bounds, work.vector, work.neighbor, work.by_vector
    spread = kernel("blocks.cuh", "spread_block")
    spread.over(8 * n, begin, n, bounds, neighbor, gradient, out.force, status)
    if len(out.virial):
        kernel("blocks.cuh", "sum_virials").over(n, n, bounds, vector, gradient, out.virial[own])
    if len(out.centroid):
        spread = kernel("blocks.cuh", "spread_virials")
        spread.over(pairs, bounds[n:], begin, work.center, neighbor, vector, gradient, out.centroid, status)


class _Launches:
    """Kernels over the edges of one block."""

    def __init__(self, block: CenterBlock, species: torch.Tensor, network: SingleLayer, work: Workspace) -> None:
        """Prepares launches; `species` (n_all,) int16."""
        self._block, self._species, self._network, self._work = block, species, network, work
        self._centers = block.last - block.first
        self._edges = work.bounds[self._centers :]
        self._real = _REALS[network.table.dtype]
        self._lanes = WIDE // network.table.element_size()
        self._piece = 16 // network.table.element_size()
        self._columns = work.row.shape[1]

    def place_edges(self) -> None:
        """Fills in distances, harmonics, and all radial functions with their slopes."""
        sizes, net, w, pairs = self._network.sizes, self._network, self._work, self._block.pairs
        intervals, columns = net.table.shape[1], net.table.shape[3]
        self._by_degrees("edges.cuh", "place_edges").over(
            pairs, self._edges, w.vector, w.center, w.neighbor, self._block.first, self._species, len(net.factors),
            net.per_spacing, intervals, 4 * columns, w.inverse, w.spacing, w.fraction, w.interval, w.harmonics,
        )  # fmt: skip
        of_environment = sizes.degrees * sizes.channels
        for first, value, slope in ((0, w.env, w.env_slope), (of_environment, w.row, w.row_slope)):
            width = value.shape[1]
            self._of("table.cuh", "evaluate").over(
                pairs * width // self._piece, self._edges, net.table, columns, first, width, w.interval, w.fraction,
                value, slope,
            )  # fmt: skip

    def forward(self) -> None:
        """Computes environments, scalars, and the inputs of all levels; leaves the slopes of activations."""
        sizes, w = self._network.sizes, self._work
        self._sum_edges(w.env, w.environment)
        self._by_degrees("single_layer_tensor.cuh", "make_scalars").over(
            self._block.pairs * sizes.channels // self._piece, self._edges, sizes.channels, sizes.shared, w.center,
            w.harmonics, w.environment, w.row, self._columns, w.inputs[0].shape[1], w.dots, w.inputs[0],
        )  # fmt: skip
        for level, matrix in enumerate(self._network.matrices):
            cut = sizes.cut_column if sizes.cuts[level] else -1
            after = w.row, self._columns, cut, sizes.starts[level], w.inputs[level + 1], w.slopes[level]
            self._multiply(sizes.codes[level], w.inputs[level], w.inputs[level].shape[1], matrix, after)

    def backward(self) -> None:
        """Computes the energies of the edges, then dE/dY and dE/d(fraction) of each."""
        sizes, w = self._network.sizes, self._work
        gradient, below, levels = w.gradient, w.other, len(self._network.matrices)
        self._energies(gradient)
        for level in range(levels - 1, -1, -1):
            stride, width = w.inputs[level + 1].shape[1], w.inputs[level].shape[1]
            self._of("rows.cuh", "activation_backward").over(
                self._block.pairs * self._lanes, self._edges, stride, w.slopes[level], gradient, w.row_slope,
                self._columns, sizes.starts[level], level == levels - 1, w.partial,
            )  # fmt: skip
            self._multiply(NONE, gradient, stride, self._network.transposed[level], (None, 0, -1, -1, below, None))
            if sizes.cuts[level]:
                self._of("rows.cuh", "cut_backward").over(
                    8 * self._block.pairs, self._edges, width, w.inputs[level], w.row, w.row_slope, self._columns,
                    sizes.cut_column, below, w.by_fraction,
                )  # fmt: skip
            gradient, below = below, gradient
        self._environments_backward(gradient)

    def _energies(self, gradient: torch.Tensor) -> None:
        """Evaluates the last level; its input's `gradient` (edges, width) is written."""
        sizes, net, w = self._network.sizes, self._network, self._work
        cut = sizes.cut_column if sizes.cuts[-1] else -1
        self._of("single_layer.cuh", "energies").over(
            8 * self._block.pairs, self._edges, self._block.first, w.center, self._species, net.factors,
            len(net.last), w.inputs[-1], net.last, w.row, w.row_slope, self._columns, cut, sizes.starts[-1], w.term,
            w.by_fraction, gradient,
        )  # fmt: skip

    def _environments_backward(self, gradient: torch.Tensor) -> None:
        """Goes from dE/d(scalars), `gradient` (edges, width), to dE/dY and dE/d(fraction)."""
        sizes, w, pairs = self._network.sizes, self._work, self._block.pairs
        self._by_degrees("single_layer_tensor.cuh", "scalars_backward").over(
            pairs * self._lanes, self._edges, sizes.channels, sizes.shared, w.row, w.row_slope, self._columns,
            gradient, w.inputs[0].shape[1], w.dots, w.partial,
        )  # fmt: skip
        self._sum_edges(w.dots, w.grad_environment)
        self._by_degrees("single_layer_tensor.cuh", "environments_backward").over(
            8 * pairs, self._edges, sizes.channels, w.center, w.harmonics, w.env, w.env_slope, w.dots, w.environment,
            w.grad_environment, w.partial, w.sums,
        )  # fmt: skip

    def edge_gradients(self) -> None:
        """Computes dE/dd of each edge, and the nuclear repulsion."""
        w, pairs = self._work, self._block.pairs
        self._by_degrees("edges.cuh", "edge_gradients").over(
            pairs, self._edges, w.vector, w.inverse, w.spacing, w.by_fraction, w.sums, w.by_vector
        )
        repulsion = self._network.repulsion
        if repulsion is not None:
            kernel("repulsion.cuh", "add_repulsion").over(
                pairs, self._edges, self._block.first, w.center, w.neighbor, self._species, repulsion.shape[1],
                repulsion, w.vector, w.repulsion, w.by_vector,
            )  # fmt: skip

    def _sum_edges(self, env: torch.Tensor, out: torch.Tensor) -> None:
        """Adds `env` (edges, degrees · channels) times harmonics up, to `out` (centers, degrees², channels)."""
        n, channels, w = self._centers, self._network.sizes.channels, self._work
        self._by_degrees("centers.cuh", "sum_edges").over(
            n * channels, n, channels, w.bounds, w.harmonics, env, out
        )

    def _multiply(
        self, code: int, x: torch.Tensor, stride: int, matrix: torch.Tensor, after: tuple[Any, ...]
    ) -> None:
        """Starts a product and what is done with its elements.

        Args:
            code: of the activation.
            x: (edges, stride).
            stride: of x.
            matrix: (n, width).
            after: arguments of the kernel from `row` on.
        """
        n, width = matrix.shape
        columns = next((each for each in _TILES if width <= each), _TILES[-1])
        rows = _TILE_ELEMENTS // columns
        tiles = -(-self._block.pairs // rows) * -(-width // columns)
        self._of("matrix.cuh", "multiply", code, columns)(
            tiles, self._edges, x, stride, n, matrix, width, *after, threads=_TILE_THREADS,
            shared=WIDE * (rows + columns + 8),
        )  # fmt: skip

    def _of(self, file: str, name: str, *numbers: int) -> Kernel:
        """The kernel for the precision of the network."""
        return kernel(file, f"{name}<{','.join((self._real, *map(str, numbers)))}>")

    def _by_degrees(self, file: str, name: str) -> Kernel:
        """The kernel for the precision and the degrees of the network."""
        return self._of(file, name, self._network.sizes.degrees)
