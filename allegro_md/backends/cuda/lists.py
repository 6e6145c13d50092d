"""Neighbor lists, and how far atoms have moved: see `base.ListFunctions`.

When pairs are sought, bounds of the atoms, the number of pairs and that of the longest list come back to the host.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from allegro_md.backends.cuda.grid import cells_around, neighbors_kernel, sorted_into
from allegro_md.state import AtomState

_TYPES = {torch.float32: "float", torch.float64: "double"}
_SHARED_MEMORY = 48 * 1024  # bytes of a block
_ROOM = 12  # bytes of an atom there
_IDENTITY = np.eye(3)


def sort_order(state: AtomState, distance: float) -> torch.Tensor | None:
    """Returns the order of the local atoms by cells for pairs within `distance` (Å), (n_local,); None without atoms.

    Nobody asks whether they are in this order already: the host would have to wait for the answer.
    """
    if state.n_local == 0:
        return None
    position, shift = state.array_local("position"), state.array_local("shift")
    return sorted_into(cells_around(position, shift, state.cell, distance), position, shift)[1]


def find_pairs(
    state: AtomState, n_centers: int, distance: float, order: torch.Tensor | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Finds the neighbors within `distance` (Å) of the first atoms of the order, (n_all,) int64."""
    position, shift, ids = (state.array_all(name) for name in ("position", "shift", "id"))
    if n_centers == 0:
        nothing = torch.zeros(1, dtype=torch.int64, device=position.device)
        return nothing, nothing[:0].int()
    if order is not None:
        position, shift, ids = (rows[order] for rows in (position, shift, ids))
    offsets, neighbors, longest = _unsorted(state, position, shift, n_centers, distance)
    sort_lists(ids, shift, offsets, neighbors, longest)
    return offsets, neighbors


def sort_lists(
    ids: torch.Tensor, shift: torch.Tensor, offsets: torch.Tensor, neighbors: torch.Tensor, longest: int
) -> None:
    """Sorts each list by (id, shift), where it is.

    Args:
        ids: (n,) int64.
        shift: (n, 3) int32.
        offsets: (n_centers + 1,) int64.
        neighbors: (offsets[-1],) int32, sorted.
        longest: number of neighbors in the longest list.
    """
    n_centers = len(offsets) - 1
    room = (min(longest, _SHARED_MEMORY // (4 * _ROOM) - 12) + 11) // 16 * 16 + 4  # lists of a warp in different banks
    threads = 32 * max(1, min(8, _SHARED_MEMORY // (4 * _ROOM * room)))
    groups = threads // 8
    arguments = n_centers, room, ids, shift, offsets, neighbors
    sort = neighbors_kernel("sort_lists")
    sort(-(-n_centers // groups), *arguments, threads=threads, shared=groups * room * _ROOM)
    if longest > room:
        neighbors_kernel("sort_long_lists").over(n_centers, *arguments)


def farthest(state: AtomState) -> float:
    """Largest absolute coordinate of a wrapped position of the local atoms, Å; infinite if one is not finite."""
    return _largest(state, "farthest")


def wrapped(state: AtomState, dtype: type[np.floating[Any]]) -> torch.Tensor:
    """Positions of the local atoms in the rank's frame, x + shift · h, (n_local, 3) of a floating-point type, Å."""
    n, position, shift, matrix = _where(state)
    places = torch.empty((n, 3), dtype=getattr(torch, np.dtype(dtype).name), device=position.device)
    neighbors_kernel(f"wrapped<{_TYPES[places.dtype]}>").over(n, n, position, shift, matrix, places)
    return places


def largest_displacement(state: AtomState, reference: torch.Tensor, deformation: NDArray[np.float64] | None) -> float:
    """Largest displacement beyond a deformation (3, 3) from `reference` (n_local, 3) Å, wrapped, Å."""
    stretch = _IDENTITY if deformation is None else deformation  # times which a number stays what it is
    return math.sqrt(_largest(state, f"displacement<{_TYPES[reference.dtype]}>", reference, stretch))


def _where(state: AtomState) -> tuple[int, torch.Tensor, torch.Tensor, NDArray[np.float64]]:
    """Number of local atoms, unwrapped positions (n, 3) Å, shifts (n, 3), and lattice rows (3, 3) Å."""
    return state.n_local, state.array_local("position"), state.array_local("shift"), state.cell.matrix


def _largest(state: AtomState, name: str, *arguments: Any) -> float:
    """Runs a kernel that finds the largest of a number of each local atom, which is not negative."""
    n, position, shift, matrix = _where(state)
    largest = torch.zeros(1, dtype=torch.int64, device=position.device)
    neighbors_kernel(name).over(n, n, position, shift, matrix, *arguments, largest)
    return float(largest.view(torch.float64))


def _unsorted(
    state: AtomState, position: torch.Tensor, shift: torch.Tensor, n_centers: int, distance: float
) -> tuple[torch.Tensor, torch.Tensor, int]:
    """Lists in no order.

    Args:
        state: its cell is used.
        position: (n, 3) float64 Å, unwrapped.
        shift: (n, 3) int32 lattice translations.
        n_centers: the first so many atoms get a list.
        distance: Å.

    Returns:
        offsets (n_centers + 1,) int64, neighbors int32, and how many the longest list has.
    """
    n, device = len(position), position.device
    grid = cells_around(position, shift, state.cell, distance)
    cell, members = sorted_into(grid, position, shift)
    places = torch.empty((n, 4), dtype=torch.float64, device=device)
    neighbors_kernel("arrange").over(n, n, members, position, shift, grid.matrix, places)
    del members  # a gigabyte for 10^8 atoms
    numbers = torch.arange(int(grid.bins.prod()) + 1, dtype=torch.int32, device=device)
    starts = torch.searchsorted(cell, numbers, out_int32=True)
    del numbers
    offsets = torch.zeros(n_centers + 1, dtype=torch.int64, device=device)
    arguments = n, n_centers, distance * distance, grid.bins, places, cell, starts, offsets
    neighbors_kernel("pairs<0>").over(n, *arguments, None)
    longest = offsets.max()
    offsets.cumsum_(0)
    total, most = torch.stack([offsets[-1], longest]).tolist()
    neighbors = torch.empty(total, dtype=torch.int32, device=device)
    neighbors_kernel("pairs<1>").over(n, *arguments, neighbors)
    return offsets, neighbors, most
