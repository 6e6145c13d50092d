"""A balancer as a package beside this one would add it: one class, and one line in the registry."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from allegro_md.domain.decomposition import Decomposition


class MovingPlane:
    """Moves the first inner plane of every axis to and fro, each slab and column in its own way, by far."""

    def __init__(self) -> None:
        self.calls = 0

    def planes(self, decomposition: Decomposition, loads: NDArray[np.float64]) -> Decomposition:
        assert loads.shape == (decomposition.n_ranks,) and (loads >= 0.0).all()
        self.calls += 1
        planes = [p.copy() for p in decomposition.planes]
        for p, n in zip(planes, decomposition.grid, strict=True):
            rows = p.reshape(-1, n + 1)
            for row in range(len(rows) if n > 1 else 0):
                share, way = (0.15, 0.5, 0.8)[(self.calls + row) % 3], (-1) ** (self.calls + row)
                rows[row, 1] = rows[row, 2] * share if np.isfinite(rows[row, 2]) else rows[row, 1] + way * 0.1
        return Decomposition(decomposition.grid, (planes[0], planes[1], planes[2]), decomposition.periodic)
