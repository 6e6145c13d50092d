"""Targets that change over a run."""

from __future__ import annotations

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

    @staticmethod
    def constant(value: float) -> Ramp:
        """A target that stays."""
        return Ramp(value, value, 0)

    @property
    def highest(self) -> float:
        """The larger of both ends."""
        return max(self.first, self.last)
