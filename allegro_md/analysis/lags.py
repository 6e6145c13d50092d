"""Lags of time correlations, and the earlier samples that are kept for them: memory is bounded, lags are exact.

Kept samples are not averaged: a value at lag τ is that of pairs of samples exactly τ apart.
"""

from __future__ import annotations

from typing import Annotated, Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationInfo

from allegro_md.config.fields import Marker, Whole, problem, show


class _Points(Marker):
    def parse(self, value: Any, info: ValidationInfo) -> int:
        points = Whole(4).parse(value)
        if points % 4:
            raise problem(f"must be a multiple of 4, got {show(value)}", "for example 16")
        return points


Points = Annotated[int, _Points()]
"""The points of `Logarithmic` lags whose levels are a factor of 4 apart."""


class Comparison(NamedTuple):
    """A sample that is kept: its level and slot there, and the index of its lag."""

    level: int
    slot: int
    lag: int


class Lags(Protocol):
    """A choice of lags and origins."""

    def slots(self, number: int) -> list[int]:
        """Number of slots of each level that exists once sample `number` has been taken."""

    def stored(self, number: int) -> list[tuple[int, int]]:
        """Levels and slots that sample `number` is kept in."""

    def compared(self, number: int) -> list[Comparison]:
        """Samples that sample `number` is compared with, itself at lag 0 among them."""

    def table(self, n_samples: int) -> NDArray[np.int64]:
        """(n_lags,) lag of each index, in samples, of those that occur among `n_samples` samples."""

    def strides(self, n_samples: int) -> NDArray[np.int64]:
        """(n_lags,) samples between the origins of each lag of `table`."""


class Logarithmic:
    """Lags that grow with their size: every sample is compared with the last p, every m-th with the last p of those, ….

    Level l keeps the last p of the samples whose number is a multiple of mˡ. Memory is p samples times log_m of the
    number of samples. Frenkel and Smit, "Understanding Molecular Simulation", 2nd ed. (2002), section 4.4.2.
    """

    def __init__(self, points: int = 16, factor: int = 4) -> None:
        """Args are p and m; p is a multiple of m."""
        self.points, self.factor = points, factor
        self._first = points // factor  # of the lags of a level above the lowest

    def slots(self, number: int) -> list[int]:
        """p for each level; level l is made with sample mˡ, and begins with sample 0, which the level below has."""
        levels = 1
        while self.factor**levels <= number:
            levels += 1
        return [self.points] * levels

    def stored(self, number: int) -> list[tuple[int, int]]:
        """The levels of whose step `number` is a multiple."""
        return [(level, place % self.points) for level, place in self._places(number)]

    def compared(self, number: int) -> list[Comparison]:
        """The last p samples of each of those levels, of which higher ones leave out lags of the level below."""
        found = []
        for level, place in self._places(number):
            first = self._first if level else 0
            for lag in range(first, min(self.points, place + 1)):
                index = lag if level == 0 else self.points + (level - 1) * (self.points - first) + lag - first
                found.append(Comparison(level, (place - lag) % self.points, index))
        return found

    def table(self, n_samples: int) -> NDArray[np.int64]:
        """Lags of all levels, ascending."""
        lags = list(range(self.points))
        step = self.factor
        while self._first * step < n_samples:
            lags += [lag * step for lag in range(self._first, self.points)]
            step *= self.factor
        return np.array([lag for lag in lags if lag < n_samples], dtype=np.int64)

    def strides(self, n_samples: int) -> NDArray[np.int64]:
        """1 for the lowest level, m for the next, …."""
        level = np.maximum(np.arange(len(self.table(n_samples))) - self._first, 0) // (self.points - self._first)
        return np.asarray(self.factor**level, dtype=np.int64)

    def _places(self, number: int) -> list[tuple[int, int]]:
        """Levels that sample `number` belongs to, and its number within each."""
        found, step = [(0, number)], self.factor
        while number >= step and number % step == 0:
            found.append((len(found), number // step))
            step *= self.factor
        return found


class Window:
    """All lags below a longest one, with an origin at every so many samples."""

    def __init__(self, longest: int, stride: int) -> None:
        """Lags 0 … `longest` − 1; every `stride`-th sample is an origin."""
        self.longest, self.stride = longest, stride
        self._kept = -(-longest // stride)

    def slots(self, number: int) -> list[int]:
        """One level, of as many slots as there are origins within the longest lag."""
        return [self._kept]

    def stored(self, number: int) -> list[tuple[int, int]]:
        """Its slot, if it is an origin."""
        return [] if number % self.stride else [(0, number // self.stride % self._kept)]

    def compared(self, number: int) -> list[Comparison]:
        """The origins within the longest lag."""
        newest = number // self.stride
        oldest = max(0, -(-(number - self.longest + 1) // self.stride))
        return [Comparison(0, k % self._kept, number - k * self.stride) for k in range(oldest, newest + 1)]

    def table(self, n_samples: int) -> NDArray[np.int64]:
        """All of them: 0, 1, 2, …."""
        return np.arange(min(self.longest, n_samples), dtype=np.int64)

    def strides(self, n_samples: int) -> NDArray[np.int64]:
        """The same for all."""
        return np.full(len(self.table(n_samples)), self.stride, dtype=np.int64)


class Chosen:
    """Some lags, with an origin at every so many samples."""

    def __init__(self, lags: tuple[int, ...], stride: int) -> None:
        """Ascending lags above 0; every `stride`-th sample is an origin."""
        self.lags = lags
        self._window = Window(lags[-1] + 1, stride)

    def slots(self, number: int) -> list[int]:
        """One level, of as many slots as there are origins within the longest lag."""
        return self._window.slots(number)

    def stored(self, number: int) -> list[tuple[int, int]]:
        """Its slot, if it is an origin."""
        return self._window.stored(number)

    def compared(self, number: int) -> list[Comparison]:
        """Origins that are one of the lags before."""
        return [
            kept._replace(lag=self.lags.index(kept.lag))
            for kept in self._window.compared(number)
            if kept.lag in self.lags
        ]

    def table(self, n_samples: int) -> NDArray[np.int64]:
        """The lags below the number of samples."""
        return np.array([lag for lag in self.lags if lag < n_samples], dtype=np.int64)

    def strides(self, n_samples: int) -> NDArray[np.int64]:
        """The same for all."""
        return self._window.strides(n_samples)[: len(self.table(n_samples))]
