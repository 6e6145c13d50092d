"""The arrays of a network of one layer (`models.fused.fold`), and the memory of one block of its edges."""

from __future__ import annotations

from typing import Any, NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from allegro_md.kernels.cpu_matrix import ROWS
from allegro_md.kernels.cpu_vector import aligned_zeros

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
    )  # fmt: skip


@numba.njit(cache=True)
def part(values: NDArray[Any], level: int, network: PackedSingleLayer) -> NDArray[Any]:
    """The (rows · width,) numbers of the input of a level in a buffer of a block, `values` (rows · total width,)."""
    total = network.widths.sum()
    rows = len(values) // total
    start = rows * network.widths[:level].sum()
    return values[start : start + rows * network.widths[level]]
