"""Atoms by cells, on a device. Cells, their numbers and the order of atoms are those of `cpu.grid`.

Atoms are sorted by a stable radix sort, not by counting: what atomic operations return would put the atoms of a cell in
another order each time.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from allegro_md.backends.cpu.grid import REACH, STRIP, count_columns, halvings, most_cells
from allegro_md.cell import Cell
from allegro_md.kernels.gpu.launch import Kernel, kernel

_MIDDLE = 2**62  # of neighbors.cuh


class Grid(NamedTuple):
    """Cells around a set of atoms: the fields of `cpu.grid.Grid`.

    Attributes:
        matrix: (3, 3) Å, lattice rows.
        columns: (3, 3) 1/Å; ``place @ columns`` counts cells.
        low: (3,) least count of any atom.
        bins: (3,) number of cells.
        counts: (3, m) int64 on the device, the counts that occur, where stretches are cut out; else None.
        merged: (3, m) int32 on the device, the index of the cell of each of them; else None.
    """

    matrix: NDArray[np.float64]
    columns: NDArray[np.float64]
    low: NDArray[np.int64]
    bins: NDArray[np.int64]
    counts: torch.Tensor | None
    merged: torch.Tensor | None


def cells_around(position: torch.Tensor, shift: torch.Tensor, cell: Cell, distance: float) -> Grid:
    """Cells for pairs within a distance of atoms, as `cpu.grid.cells_around`: six numbers come back to the host,
    and more where there are wide gaps.

    Args:
        position: (n, 3) float64 Å, unwrapped, n > 0.
        shift: (n, 3) int32 lattice translations.
        cell: current cell.
        distance: of the pairs, Å.
    """
    n, columns = len(position), count_columns(cell, distance)
    bounds = torch.zeros(6, dtype=torch.int64, device=position.device)
    neighbors_kernel("bounds_of").over(n, n, position, shift, cell.matrix, columns, bounds)
    found = bounds.cpu().numpy()
    low, high = _MIDDLE - found[:3], found[3:] - _MIDDLE
    low[0] -= low[0] % STRIP
    most = most_cells(n)
    if (high - low + 1.0).prod() <= most:
        return Grid(cell.matrix, columns, low, high - low + 1, None, None)
    counts = _occurring(position, shift, cell, columns)
    merged = torch.zeros_like(counts)
    merged[:, 1:] = counts.diff(dim=1).clamp(max=REACH + 1).cumsum(1)
    last = merged[:, -1].cpu().numpy()
    halved = halvings(last, most)
    joined = (merged >> torch.from_numpy(halved).to(merged.device)[:, None]).int()
    return Grid(cell.matrix, columns, np.zeros(3, dtype=np.int64), (last >> halved) + 1, counts, joined)


def sorted_into(grid: Grid, position: torch.Tensor, shift: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Sorts atoms by cell; those of a cell stay in their present order.

    Args:
        grid: the cells.
        position: (n, 3) float64 Å, unwrapped.
        shift: (n, 3) int32 lattice translations.

    Returns:
        Cells (n,) int32, ascending, and the atoms in this order, (n,) int64.
    """
    n, counts = len(position), grid.counts
    cell = torch.empty(n, dtype=torch.int32, device=position.device)
    m = 0 if counts is None else counts.shape[1]
    where = position, shift, grid.matrix, grid.columns, grid.low, grid.bins
    neighbors_kernel("cells_of").over(n, n, *where, m, counts, grid.merged, cell)
    found = torch.sort(cell, stable=True)
    return found.values, found.indices


def neighbors_kernel(instance: str) -> Kernel:
    """A kernel of ``neighbors.cuh``."""
    return kernel("neighbors.cuh", instance)


def _occurring(position: torch.Tensor, shift: torch.Tensor, cell: Cell, columns: NDArray[np.float64]) -> torch.Tensor:
    """Counts that occur along each axis, (3, m) int64, ascending, the last repeated.

    Args:
        position: (n, 3) float64 Å, unwrapped.
        shift: (n, 3) int32 lattice translations.
        cell: current cell.
        columns: (3, 3) 1/Å, see `Grid`.
    """
    n, found = len(position), []
    counts = torch.empty(n, dtype=torch.int64, device=position.device)
    for axis in range(3):
        neighbors_kernel("counts_along").over(n, n, position, shift, cell.matrix, columns[:, axis], counts)
        found.append(torch.unique(counts))
    widest = max(map(len, found))
    return torch.stack([torch.cat([each, each[-1:].expand(widest - len(each))]) for each in found])
