"""CPU time of the potential on a rank; other programs on the same core do not change it.

Where another device does the work, the rank waits for it, and that is CPU time too.
"""

from __future__ import annotations

from collections import deque
from statistics import median

REMEMBERED = 64
"""Evaluations of which the median is taken: one that compiles a kernel or is interrupted does not count."""


class Costs:
    """CPU time of the latest evaluations of this rank.

    Attributes:
        evaluations: their number since `forget`.
    """

    def __init__(self, total: float = 0.0) -> None:
        """Starts with none; `total` is the CPU time of earlier ones, s."""
        self.evaluations = 0
        self._total = total
        self._latest: deque[float] = deque(maxlen=REMEMBERED)

    def end_evaluation(self, total: float) -> None:
        """Counts an evaluation; `total` is the CPU time of all so far, s."""
        self._latest.append(total - self._total)
        self._total = total
        self.evaluations += 1

    def forget(self) -> None:
        """Forgets past evaluations: this rank has other atoms from now on."""
        self._latest.clear()
        self.evaluations = 0

    @property
    def typical(self) -> float:
        """Median of the evaluations remembered, s; 0 without any."""
        return median(self._latest) if self._latest else 0.0
