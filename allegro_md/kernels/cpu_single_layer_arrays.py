"""The arrays of a network of one layer (`models.fused.fold`), and the memory of one block of its edges."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from allegro_md.kernels.cpu_aligned import aligned_zeros
from allegro_md.kernels.cpu_matrix import ROWS
from allegro_md.kernels.cpu_vector import WIDE

BLOCK_ROWS = 192
"""Rows of the smallest block."""

TILE = 48
"""Edges that go through all levels together, and back: what is kept of them is to stay in the fastest cache."""


class PackedSingleLayer(NamedTuple):
    """A network of one layer with K levels. Real: float32 or float64, of everything that is not stated.

    Channels and rows are whole wide vectors, filled up with zeros. The first columns of a table, degrees · C, are those
    of the environment; the others are counted from there on.

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
    """Memory of one block of `rows` edges, a multiple of `BLOCK_ROWS`, and of one tile of them; see `allocate`.

    Of a block: `bounds` is the first edge of each center; `env` and `env_slope` are the radial functions of the
    environment; `partial` holds vectors whose lanes are still to be added up, as they are in `sums`: dE/dY_lm, and in
    place of that of the constant Y_0 dE/d(fraction of the interval). Of a tile: `inputs` and `slopes` hold for each
    level its input, and the derivatives of the activations that made it; `gradient` and `other` hold dE/dinput of two
    levels; `lanes` is lent.
    """

    vector: NDArray[np.float64]
    center: NDArray[np.int64]
    neighbor: NDArray[np.int64]
    bounds: NDArray[np.int64]
    inverse: NDArray[np.float64]
    by_vector: NDArray[np.float64]
    by_fraction: NDArray[np.float64]
    spacing: NDArray[np.float64]
    fraction: NDArray[np.float64]
    interval: NDArray[np.int64]
    harmonics: NDArray[Any]
    partial: NDArray[Any]
    sums: NDArray[Any]
    env: NDArray[Any]
    env_slope: NDArray[Any]
    dots: NDArray[Any]
    on_env: NDArray[Any]
    environment: NDArray[Any]
    grad_environment: NDArray[Any]
    row: NDArray[Any]
    row_slope: NDArray[Any]
    product: NDArray[Any]
    seed: NDArray[Any]
    inputs: NDArray[Any]
    slopes: NDArray[Any]
    gradient: NDArray[Any]
    other: NDArray[Any]
    lanes: NDArray[Any]


def allocate(network: PackedSingleLayer, rows: int) -> Workspace:
    """Memory for blocks of at most `rows` edges and as many centers."""
    real = network.table.dtype
    c, d, columns = network.channels, network.degrees, network.table.shape[3]
    lanes, widest = WIDE // real.itemsize, int(network.widths.max())

    def wide(*shape: int) -> NDArray[Any]:
        return aligned_zeros(shape, real)

    def of_edges(*shape: int) -> NDArray[Any]:
        return aligned_zeros((rows + ROWS, *shape), real)

    def plain(kind: type, *shape: int) -> NDArray[Any]:
        return np.zeros((rows, *shape), dtype=kind)

    return Workspace(
        vector=plain(np.float64, 3), center=plain(np.int64), neighbor=plain(np.int64),
        bounds=np.zeros(rows + 1, dtype=np.int64), inverse=plain(np.float64), by_vector=plain(np.float64, 3),
        by_fraction=plain(np.float64), spacing=plain(np.float64), fraction=plain(np.float64),
        interval=plain(np.int64), harmonics=of_edges(d * d), partial=wide(rows, d * d, lanes),
        sums=wide(rows, d * d), env=of_edges(d * c), env_slope=of_edges(d * c), dots=of_edges(d * c),
        on_env=of_edges(d * c), environment=wide(rows, d * d, c), grad_environment=wide(rows, d * d, c),
        row=wide(TILE, columns - d * c), row_slope=wide(TILE, columns - d * c), product=wide(TILE), seed=wide(TILE),
        inputs=wide(len(network.widths), TILE * widest), slopes=wide(len(network.widths), TILE * widest),
        gradient=wide(TILE * widest), other=wide(TILE * widest), lanes=wide(TILE * lanes),
    )  # fmt: skip
