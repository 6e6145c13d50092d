"""Steps at which something is due: a small algebra, equal on all ranks because it is a function of the step alone."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass


class Trigger(ABC):
    """Trigger of an event at some steps; ``a & b`` and ``a | b`` combine two triggers."""

    @abstractmethod
    def __call__(self, step: int) -> bool:
        """Tells if the event is due."""

    def __and__(self, other: Trigger) -> Trigger:
        return Both(self, other)

    def __or__(self, other: Trigger) -> Trigger:
        return Either(self, other)

    def count(self, first: int, last: int) -> int:
        """Number of steps from `first` to `last`, both included, at which it is due."""
        return sum(self(step) for step in range(first, last + 1))


@dataclass(frozen=True)
class Every(Trigger):
    """Due at every multiple of `period` steps; never when `period` is 0."""

    period: int

    def __call__(self, step: int) -> bool:
        return self.period > 0 and step % self.period == 0

    def next(self, step: int, last: int) -> int:
        """The first step after `step` at which it is due; `last` where there is none before it."""
        return min(last, (step // self.period + 1) * self.period) if self.period > 0 else last

    def count(self, first: int, last: int) -> int:
        """Number of multiples from `first` to `last`."""
        if self.period == 0 or last < first:
            return 0
        return last // self.period - (first - 1) // self.period


@dataclass(frozen=True)
class After(Trigger):
    """Due from a step on."""

    step: int

    def __call__(self, step: int) -> bool:
        return step >= self.step


@dataclass(frozen=True)
class Before(Trigger):
    """Due before a step."""

    step: int

    def __call__(self, step: int) -> bool:
        return step < self.step


@dataclass(frozen=True)
class Both(Trigger):
    """Due where both are."""

    first: Trigger
    second: Trigger

    def __call__(self, step: int) -> bool:
        return self.first(step) and self.second(step)


@dataclass(frozen=True)
class Either(Trigger):
    """Due where one of two is."""

    first: Trigger
    second: Trigger

    def __call__(self, step: int) -> bool:
        return self.first(step) or self.second(step)
