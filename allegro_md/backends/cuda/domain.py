"""Ownership of atoms, and which of them become ghosts: see `base.DomainFunctions`."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from allegro_md.backends.base import AtomCost, Bins, Columns
from allegro_md.kernels.gpu.launch import Kernel, kernel
from allegro_md.state import AtomState

_LOWEST = 2**52 - 1
"""What stands for −∞ among the extremes on the device: reals as unsigned integers of the same order."""

_TYPES = {2: (torch.int16, "short"), 4: (torch.int32, "int"), 8: (torch.int64, "i64")}
"""Bytes of an element → types by which it is copied."""


def _kernel(name: str) -> Kernel:
    return kernel("domain.cuh", name)


def first_beyond(state: AtomState, farthest: float) -> int:
    """The first local atom with a coordinate that is NaN or not below `farthest` (Å) in size; −1: none."""
    n = state.n_local
    first = torch.full((1,), n, dtype=torch.int64, device=state.device)
    _kernel("first_beyond").over(n, n, state.array_local("position"), farthest, first)
    found = int(first)
    return found if found < n else -1


def extremes(state: AtomState) -> NDArray[np.float64]:
    """(6,) the largest −f, then the largest f, of the fractional coordinates f; −infinity without atoms."""
    n, cell = state.n_local, state.cell
    largest = torch.full((6,), _LOWEST, dtype=torch.int64, device=state.device)
    _kernel("extremes").over(n, n, state.array_local("position"), cell.origin, cell.inverse, largest)
    ordered = largest.cpu().numpy() ^ np.int64(-(2**63))
    return np.where(ordered < 0, ordered ^ np.int64(2**63 - 1), ordered).view(np.float64)


def costs_along(state: AtomState, columns: Columns, bins: Bins, cost: AtomCost) -> NDArray[np.int64]:
    """Costs of the local atoms by their wrapped fractional coordinate along an axis, (columns, bins)."""
    n, n_columns = state.n_local, columns.y.shape[0] * (columns.y.shape[1] - 1)
    costs = torch.zeros((n_columns, bins.n), dtype=torch.int64, device=state.device)
    planes = _planes(state, *columns)
    _kernel("add_costs").over(n, n, *_unwrapped(state), *planes, *bins, *cost, costs)
    return costs.cpu().numpy()


def assign_owners(
    state: AtomState, planes: tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]
) -> torch.Tensor:
    """Finds the rank that owns each local atom, (n_local,) int32, by fractional planes; sets the lattice shifts."""
    n = state.n_local
    owner = torch.empty(n, dtype=torch.int32, device=state.device)
    arguments = *_unwrapped(state), *_planes(state, *planes)
    _kernel("assign_owners").over(n, n, *arguments, owner, state.array_local("shift"))
    return owner


def within(
    state: AtomState, inner: NDArray[np.float64], boxes: NDArray[np.float64]
) -> tuple[torch.Tensor, NDArray[np.int64]]:
    """Indices of the local atoms in each of `boxes` (m, 2, 3), and how many there are; none is in `inner` (2, 3).

    Only atoms near a face are outside of `inner`: flags of all boxes are held for these alone.
    """
    n, m, cell = state.n_local, len(boxes), state.cell
    where = state.array_local("position"), state.array_local("shift"), cell.origin, cell.inverse
    outside = torch.empty(n, dtype=torch.uint8, device=state.device)
    _kernel("flag_outside").over(n, n, *where, inner[0], inner[1], outside)
    near = outside.nonzero().flatten()
    inside = torch.empty((m, len(near)), dtype=torch.uint8, device=state.device)
    bounds = state.device_array(np.ascontiguousarray(boxes, dtype=np.float64))
    _kernel("flag_inside").over(len(near), len(near), near, *where, m, bounds, inside)
    counts: NDArray[np.int64] = inside.sum(dim=1).cpu().numpy()
    return near[inside.nonzero()[:, 1]].to(torch.int32), counts  # box by box, each in the order of `near`


def gather(values: torch.Tensor, rows: torch.Tensor, out: torch.Tensor) -> None:
    """Copies rows (m,) of a per-atom array: out[k] = values[rows[k]]; `values` (n, …), `out` (m, …)."""
    kind, name = _TYPES[values.dtype.itemsize]
    width = math.prod(values.shape[1:])
    _kernel(f"gather<{name}>").over(len(rows), len(rows), width, values.view(kind), rows, out.view(kind))


def scatter_add(values: torch.Tensor, rows: torch.Tensor, addends: torch.Tensor) -> None:
    """Adds to rows (m,) of a per-atom array: values[rows[k]] += addends[k]; `values` (n, …), `addends` (m, …) int64."""
    width = math.prod(values.shape[1:])
    _kernel("scatter_add").over(len(rows), len(rows), width, values, rows, addends)


def _unwrapped(state: AtomState) -> tuple[Any, ...]:
    """Positions of the local atoms, and the cell: arguments of kernels that wrap them."""
    periodic = sum(flag << axis for axis, flag in enumerate(state.cell.periodic))
    return state.array_local("position"), state.cell.origin, state.cell.inverse, periodic


def _planes(state: AtomState, *planes: NDArray[np.float64]) -> list[Any]:
    """For each array of fractional planes (…, n) their number n, and themselves on the device."""
    arrays = (np.ascontiguousarray(each, dtype=np.float64) for each in planes)
    return [argument for each in arrays for argument in (each.shape[-1], state.device_array(each))]
