"""Mean of a series of correlated samples, with its standard error by blocking.

Flyvbjerg and Petersen, "Error estimates on averages of correlated data", J. Chem. Phys. 91, 461 (1989). The block
length is chosen as in Lee, Conduit, Nemec, López Ríos and Drummond, Phys. Rev. E 83, 066706 (2011).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import nan, sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from allegro_md.accumulators.total import Total

SPLITTER = 2.0**27 + 1.0
"""Divides the 53 bits of a float64 into two halves (Veltkamp), whose products are exact."""


@dataclass(frozen=True)
class Estimate:
    """A mean and what is known about it, per column.

    Attributes:
        mean: (columns,) float64, in the unit of the samples.
        error: (columns,) float64, standard error of the mean; NaN with fewer than two samples.
        block: (columns,) int64, length of the blocks from which the error is taken, in samples.
        converged: (columns,) bool; False: the series is too short for its correlation, the true error probably larger.
        n_samples: length of the series.
    """

    mean: NDArray[np.float64]
    error: NDArray[np.float64]
    block: NDArray[np.int64]
    converged: NDArray[np.bool_]
    n_samples: int


class _Level:
    """Blocks of one length: how many are complete, the sums of their means and of the squares of these."""

    def __init__(self, columns: int) -> None:
        self.count, self.sums, self.squares = 0, Total(columns), Total(columns)

    def add(self, values: NDArray[np.float64]) -> None:
        """Adds blocks: `values` (n, columns), their means."""
        self.count += len(values)
        self.sums.add(values)
        for part in _square(values):
            self.squares.add(part)

    def merge(self, other: _Level) -> None:
        """Adds the blocks of another series or of another part of it."""
        self.count += other.count
        self.sums.merge(other.sums)
        self.squares.merge(other.squares)

    def variances_of_mean(self) -> list[float]:
        """Estimates of the variance of the mean, from blocks taken as independent: c₀ / (n − 1) of each column."""
        n = self.count
        pairs = zip(self.sums.fractions(), self.squares.fractions(), strict=True)
        return [float((square / n - (total / n) ** 2) / (n - 1)) for total, square in pairs]


class Mean:
    """Mean of a series of samples (n, columns), and its standard error.

    A sample has a number in the series, and blocks begin at multiples of their length. So parts of a series may be
    given to different accumulators, and the merged one has the same bits in any order of adding and merging.
    """

    def __init__(self, columns: int = 1) -> None:
        """A series without samples, of `columns` quantities."""
        self.columns = columns
        self._levels: list[_Level] = []
        self._waiting: dict[tuple[int, int], NDArray[np.float64]] = {}  # (level, number) → block whose other half lacks
        self._next = 0

    @property
    def n_samples(self) -> int:
        """Number of samples so far."""
        return self._levels[0].count if self._levels else 0

    def add(self, samples: NDArray[np.floating[Any]], first: int | None = None) -> None:
        """Adds consecutive samples of the series.

        Args:
            samples: (n, columns) float, or (n,) of one column.
            first: number of the first one in the series, from 0; None: they follow the last one there is.

        Raises:
            ValueError: a sample of that number is there already.
        """
        rows = np.array(samples, dtype=np.float64).reshape(-1, self.columns)
        start = self._next if first is None else first
        self._add(0, start, rows)
        self._next = max(self._next, start + len(rows))

    def merge(self, other: Mean) -> None:
        """Adds the samples of another part of the same series.

        Raises:
            ValueError: it has another number of columns, or samples that are here already.
        """
        if other.columns != self.columns:
            raise ValueError(f"a series of {other.columns} columns cannot be added to one of {self.columns}")
        for number, level in enumerate(other._levels):
            self._level(number).merge(level)
        for (number, index), value in sorted(other._waiting.items()):
            self._offer(number, index, value)
        self._next = max(self._next, other._next)

    def estimate(self) -> Estimate:
        """Returns mean and standard error.

        Raises:
            PhysicsError: a sample was NaN or infinite.
        """
        if not self._levels:
            empty = np.full(self.columns, nan)
            return Estimate(empty, empty, np.ones(self.columns, np.int64), np.zeros(self.columns, np.bool_), 0)
        n = self.n_samples
        mean = np.array([float(total / n) for total in self._levels[0].sums.fractions()])
        useful = [level.variances_of_mean() for level in self._levels if level.count > 1]
        chosen = [_plateau([level[c] for level in useful], n) for c in range(self.columns)]
        errors, blocks, converged = zip(*chosen, strict=True)
        return Estimate(mean, np.array(errors), np.array(blocks, np.int64), np.array(converged, np.bool_), n)

    def state_dict(self) -> dict[str, Any]:
        """Returns the content as JSON-like values."""
        return {
            "next": self._next,
            "levels": [
                {"count": level.count, "sums": level.sums.state_dict(), "squares": level.squares.state_dict()}
                for level in self._levels
            ],
            "waiting": [[*key, value.tolist()] for key, value in sorted(self._waiting.items())],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Replaces the content by that of a `state_dict`.

        Raises:
            ValueError: it has another number of columns.
        """
        self._levels = []
        for number, saved in enumerate(state["levels"]):
            level = self._level(number)
            level.count = saved["count"]
            level.sums.load_state_dict(saved["sums"])
            level.squares.load_state_dict(saved["squares"])
        self._waiting = {(number, index): np.array(value) for number, index, value in state["waiting"]}
        self._next = state["next"]

    def _level(self, number: int) -> _Level:
        while len(self._levels) <= number:
            self._levels.append(_Level(self.columns))
        return self._levels[number]

    def _add(self, number: int, start: int, rows: NDArray[np.float64]) -> None:
        """Adds blocks of level `number`: the means `rows` (n, columns) of consecutive blocks from `start` on."""
        while len(rows):
            self._level(number).add(rows)
            if start % 2:  # the second half of a block whose first half came before, or will come
                self._offer(number, start, rows[0])
                start, rows = start + 1, rows[1:]
            if len(rows) % 2:
                self._offer(number, start + len(rows) - 1, rows[-1])
                rows = rows[:-1]
            number, start, rows = number + 1, start // 2, 0.5 * (rows[0::2] + rows[1::2])

    def _offer(self, number: int, index: int, value: NDArray[np.float64]) -> None:
        """Joins a block that has been counted with its other half, or lets it wait; `value` (columns,) is its mean."""
        if (number, index) in self._waiting:
            raise ValueError(f"samples {index << number} to {((index + 1) << number) - 1} are there already")
        other = self._waiting.pop((number, index ^ 1), None)
        if other is None:
            self._waiting[number, index] = value.copy()
        else:
            self._add(number + 1, index // 2, 0.5 * (value + other)[None])


def _square(values: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Squares without rounding, as sums of two numbers each (Dekker): `values` (…), and the two results alike.

    Variances are small differences of squares, for example of a total energy that fluctuates in its tenth digit.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        square = values * values
        scaled = SPLITTER * values
        high = scaled - (scaled - values)
        low = values - high
        return square, ((high * high - square) + 2.0 * high * low) + low * low


def _plateau(variances: list[float], n: int) -> tuple[float, int, bool]:
    """Standard error, block length, and whether blocks of that length are independent.

    Args:
        variances: of the mean, from blocks of 1, 2, 4, … samples.
        n: number of samples.
    """
    if not variances:
        return nan, 1, False
    if max(variances) <= 0.0:
        return 0.0, 1, True
    for level, variance in enumerate(variances):
        inefficiency = variance / variances[0] if variances[0] > 0.0 else np.inf  # twice the correlation time
        if 8.0**level > 2.0 * n * inefficiency**2:
            return sqrt(max(variance, 0.0)), 1 << level, True
    level = int(np.argmax(variances))
    return sqrt(variances[level]), 1 << level, False
