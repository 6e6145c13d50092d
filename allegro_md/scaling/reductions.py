"""Reductions over all ranks per step: counted on one rank, and fewer where steps are made in windows."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from allegro_md.comm import Comm
from allegro_md.exact import ExactSum
from allegro_md.simulation.loop import MEETINGS
from allegro_md.simulation.windows import Windows

T = TypeVar("T")

MOST_STEPS, REBUILDS = 5_000, 20
"""Steps that are followed: those between so many rebuilds, and not more than these."""


class CountingComm(Comm):
    """One rank that counts what would be reductions over ranks or messages from one rank to all.

    What one rank leaves out altogether is not counted: the loop's own `MEETINGS`.

    Attributes:
        count: so far.
    """

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def sum(self, values: NDArray[np.int64]) -> NDArray[np.int64]:
        """Sums `values` (…) over ranks, see `Comm.sum`."""
        self.count += 1
        return super().sum(values)

    def reduce(self, total: ExactSum) -> NDArray[np.float64]:
        """Makes an exact sum over ranks, see `Comm.reduce`."""
        self.count += 1
        return super().reduce(total)

    def max(self, values: float | NDArray[np.float64]) -> Any:
        """Finds the largest of the `values` (…) of all ranks, see `Comm.max`."""
        self.count += 1
        return super().max(values)

    def on_root(self, compute: Callable[[], T]) -> T:
        """Returns the result of `compute` on rank 0, see `Comm.on_root`: its errors are looked for, and it is sent."""
        self.count += 2
        return super().on_root(compute)

    def bcast(self, value: Any, root: int = 0) -> Any:
        """Returns the root's object, see `Comm.bcast`."""
        self.count += 1
        return super().bcast(value, root)


def in_windows(ordinary: float, rebuild: float, row: float, seconds: float) -> float:
    """Reductions per step where steps are made in windows: `Windows` is followed at a steady pace through the skin.

    Args:
        ordinary: reductions of a step that is not in a window.
        rebuild: steps between rebuilds; infinite: there are none.
        row: steps between rows of thermo.csv, which are not in a window; infinite: there are none.
        seconds: of a step.
    """
    windows, count, step, moved, rebuilt = Windows(), 0.0, 0, 0.0, True
    last = int(min(MOST_STEPS, REBUILDS * rebuild))
    made = 1
    while step < last:
        windows.note(moved - 1.0)  # the skin is 1 wide
        windows.learn(windows.report(made, seconds), rebuilt)
        left = math.inf if math.isinf(row) else row - 1 - step % row
        made = int(min(windows.length(), left, last - step))
        count += MEETINGS if made else ordinary
        made = max(1, made)
        moved += made / rebuild
        rebuilt = moved > 1.0
        moved, step = 0.0 if rebuilt else moved, step + made
    return count / step
