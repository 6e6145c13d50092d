"""Targets that change over a run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Ramp:
    """A target that goes linearly from one value to another.

    Attributes:
        first: at the start of the run.
        last: after `steps`, and from then on.
        steps: length of the ramp.
    """

    first: float
    last: float
    steps: int

    def __call__(self, end: float) -> float:
        """The target after so many steps; parts of steps count (`Clock.end`)."""
        return self.first + (self.last - self.first) * min(1.0, end / max(1, self.steps))

    def resumed(self, ends: Sequence[float] | None) -> Ramp:
        """The ramp between the ends of a checkpoint, over as many steps; itself where a checkpoint has none."""
        if ends is None:
            return self
        first, last = ends
        return Ramp(first, last, self.steps)

    @property
    def ends(self) -> list[float]:
        """First and last value, for a checkpoint."""
        return [self.first, self.last]

    @staticmethod
    def constant(value: float) -> Ramp:
        """A target that stays."""
        return Ramp(value, value, 0)

    @property
    def highest(self) -> float:
        """The larger of both ends."""
        return max(self.first, self.last)
