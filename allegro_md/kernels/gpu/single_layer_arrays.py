"""A network of one layer on a device, the blocks that its centers are cut into, and the memory of one block."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from allegro_md.kernels.arguments import Lists
from allegro_md.kernels.cpu_matrix import unpacked
from allegro_md.kernels.cpu_single_layer_arrays import PackedSingleLayer
from allegro_md.kernels.cpu_vector import WIDE

MOST_NUMBERS = 2**32
"""Of an array of a block: kernels count their threads in 32 bits."""


class SingleLayer(NamedTuple):
    """A network on a device.

    Attributes:
        sizes: the network of the engine of CPUs; only its numbers are read.
        per_spacing: (n, n) float64, 1/Å, inverse spacing of the table of each ordered pair.
        factors: (n,) float64, eV.
        shifts: (n,) float64, eV.
        table: (n · n, intervals, 4, columns) float32 or float64.
        matrices: (fan in, width) of each level but the last.
        transposed: (fan in of the next level, width of this) of each level but the last.
        last: of the last level, its only column.
        repulsion: (3, n, n) float64, of `cpu_repulsion`; None without.
    """

    sizes: PackedSingleLayer
    per_spacing: torch.Tensor
    factors: torch.Tensor
    shifts: torch.Tensor
    table: torch.Tensor
    matrices: tuple[torch.Tensor, ...]
    transposed: tuple[torch.Tensor, ...]
    last: torch.Tensor
    repulsion: torch.Tensor | None


class CenterBlock(NamedTuple):
    """A block of centers.

    Attributes:
        first: center.
        last: the one after the last.
        pairs: that are listed, at least as many as there are edges.
    """

    first: int
    last: int
    pairs: int


class Workspace(NamedTuple):
    """Memory of one block; see `cpu_single_layer_arrays.Workspace`. `bounds` ends with the number of edges.

    Of each edge, beyond what is named there: `term` and `repulsion` are its energies, eV; `partial` is one wide vector.
    `row`, `inputs`, `slopes`, `gradient` and `other` hold all edges of the block. Slopes begin with those of the first
    activation.
    """

    bounds: torch.Tensor
    vector: torch.Tensor
    center: torch.Tensor
    neighbor: torch.Tensor
    inverse: torch.Tensor
    spacing: torch.Tensor
    fraction: torch.Tensor
    interval: torch.Tensor
    by_vector: torch.Tensor
    by_fraction: torch.Tensor
    term: torch.Tensor
    repulsion: torch.Tensor
    harmonics: torch.Tensor
    partial: torch.Tensor
    sums: torch.Tensor
    env: torch.Tensor
    env_slope: torch.Tensor
    dots: torch.Tensor
    environment: torch.Tensor
    grad_environment: torch.Tensor
    row: torch.Tensor
    row_slope: torch.Tensor
    inputs: tuple[torch.Tensor, ...]
    slopes: tuple[torch.Tensor, ...]
    gradient: torch.Tensor
    other: torch.Tensor


def on_device(network: PackedSingleLayer, repulsion: NDArray[np.float64], device: str) -> SingleLayer:
    """Copies a network to a device; `repulsion` (3, n, n) float64, of `cpu_repulsion`, or (3, 0, 0)."""

    def there(array: NDArray[Any]) -> torch.Tensor:
        """Copies `array` (…)."""
        return torch.from_numpy(np.array(array)).to(device)

    fan_in, widths = network.fan_in, network.widths
    forward = zip(fan_in[:-1], widths[1:], strict=True)
    back = zip(fan_in[1:], widths[:-1], strict=True)
    return SingleLayer(
        network, there(network.per_spacing), there(network.factors), there(network.shifts), there(network.table),
        tuple(there(each) for each in unpacked(network.matrices, list(forward))),
        tuple(there(each) for each in unpacked(network.transposed, list(back))), there(network.last),
        there(repulsion) if repulsion.shape[1] else None,
    )  # fmt: skip


def divide(lists: Lists, centers: tuple[int, int], rows: int) -> list[CenterBlock]:
    """Cuts centers into blocks of about `rows` listed pairs and centers together.

    A few numbers of each block come back to the host; holds as long as the lists do.

    Args:
        lists: see `kernels.arguments`, of tensors on the device.
        centers: the first, and the one after the last.
        rows: at least one; a block may have as many more as its last center has neighbors.
    """
    first, last = centers
    offsets = lists.offsets[first : last + 1]
    taken = offsets - offsets[0] + torch.arange(last - first + 1, device=offsets.device)
    wanted = torch.arange(0, int(taken[-1]) + rows, rows, device=offsets.device)
    cuts = torch.searchsorted(taken, wanted).clamp(max=last - first).unique_consecutive()
    places, pairs = cuts.tolist(), offsets[cuts].tolist()
    return [
        CenterBlock(first + a, first + b, q - p)
        for a, b, p, q in zip(places, places[1:], pairs, pairs[1:], strict=False)
    ]


def allocate(network: SingleLayer, edges: int, centers: int) -> Workspace:
    """Memory for blocks of at most so many edges and centers.

    Raises:
        ValueError: these are too many for the kernels.
    """
    sizes, table = network.sizes, network.table
    real, device, lanes = table.dtype, table.device, WIDE // table.element_size()
    c, d, columns, widths = sizes.channels, sizes.degrees, table.shape[3], [int(n) for n in sizes.widths]
    if edges * max(columns, d * d * c) >= MOST_NUMBERS:
        raise ValueError(f"{edges} edges are too many for one block")

    def empty(kind: torch.dtype, *shape: int) -> torch.Tensor:
        return torch.empty(shape, dtype=kind, device=device)

    double, whole = torch.float64, torch.int32
    return Workspace(
        bounds=empty(torch.int64, centers + 1), vector=empty(double, edges, 3), center=empty(whole, edges),
        neighbor=empty(whole, edges), inverse=empty(double, edges), spacing=empty(double, edges),
        fraction=empty(double, edges), interval=empty(torch.int64, edges), by_vector=empty(double, edges, 3),
        by_fraction=empty(double, edges), term=empty(double, edges),
        repulsion=empty(double, edges if network.repulsion is not None else 0), harmonics=empty(real, edges, d * d),
        partial=empty(real, edges, lanes), sums=empty(real, edges, d * d), env=empty(real, edges, d * c),
        env_slope=empty(real, edges, d * c), dots=empty(real, edges, d * c),
        environment=empty(real, centers, d * d, c), grad_environment=empty(real, centers, d * d, c),
        row=empty(real, edges, columns - d * c), row_slope=empty(real, edges, columns - d * c),
        inputs=tuple(empty(real, edges, n) for n in widths), slopes=tuple(empty(real, edges, n) for n in widths[1:]),
        gradient=empty(real, edges, max(widths)), other=empty(real, edges, max(widths)),
    )  # fmt: skip
