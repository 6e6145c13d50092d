"""A balancer as a package beside this one would add it: one class, and one line in the registry."""

from __future__ import annotations

import numpy as np

from allegro_md.comm import Comm
from allegro_md.domain.balance import BalanceRecord, Situation
from allegro_md.domain.costs import Costs
from allegro_md.domain.decomposition import Decomposition


class MovingPlane:
    """Moves the first inner plane of every axis to and fro, each slab and column in its own way, by far."""

    def __init__(self) -> None:
        self.calls = 0
        self.record = BalanceRecord()

    def cut(self, now: Situation, decomposition: Decomposition) -> Decomposition:
        self.calls += 1
        planes = [p.copy() for p in decomposition.planes]
        for p, n in zip(planes, decomposition.grid, strict=True):
            rows = p.reshape(-1, n + 1)
            for row in range(len(rows) if n > 1 else 0):
                share, way = (0.15, 0.45, 0.8)[(self.calls + row) % 3], (-1) ** (self.calls + row)
                last = rows[row, 2]
                rows[row, 1] = last * share if np.isfinite(last) and last > 0.0 else min(rows[row, 1] + way * 0.1, last)
        return Decomposition(decomposition.grid, (planes[0], planes[1], planes[2]), decomposition.periodic)

    def wants_rebuild(self, costs: Costs, comm: Comm, evaluations: int) -> bool:
        return False
