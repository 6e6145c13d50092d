"""The extremes that guards look at: see `base.LimitFunctions`. A few numbers come back to the host."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray

from allegro_md.kernels.gpu.launch import kernel
from allegro_md.state import AtomState

_TYPES = {torch.float64: "double", torch.int64: "i64"}
_HIGHEST = 2**63 - 1


def largest_length(rows: torch.Tensor) -> float:
    """Largest length of `rows` (n, 3) float64 or int64, in their unit; infinite if one is not finite."""
    largest = torch.zeros(1, dtype=torch.int64, device=rows.device)
    kernel("limits.cuh", f"largest_square<{_TYPES[rows.dtype]}>").over(len(rows), len(rows), rows, largest)
    return math.sqrt(float(largest.view(torch.float64)))


def least_clearance(
    state: AtomState, lists: tuple[torch.Tensor, torch.Tensor], shortest: NDArray[np.float64]
) -> tuple[float, int, int]:
    """Finds the listed pair that is closest to its limit; `shortest` (n_species, n_species) Å."""
    offsets, neighbors = lists
    n, device = len(offsets) - 1, offsets.device
    position, shift, species = (state.array_all(name) for name in ("position", "shift", "species"))
    table = state.device_array(np.ascontiguousarray(shortest, dtype=np.float64))
    found = torch.full((2,), _HIGHEST, dtype=torch.int64, device=device)  # the least clearance; the first such center
    nearest = torch.empty(n, dtype=torch.float64, device=device)
    slot = torch.empty(n, dtype=torch.int64, device=device)
    kernel("limits.cuh", "clearances").over(
        n, n, position, shift, species, state.cell.matrix, offsets, neighbors, len(table), table, found[:1], nearest,
        slot,
    )  # fmt: skip
    kernel("limits.cuh", "first_with").over(n, n, nearest, slot, found[:1], found[1:])
    center = int(found[1])
    if center == _HIGHEST:
        return math.inf, -1, -1
    return float(nearest[center]), center, int(neighbors[slot[center]])
