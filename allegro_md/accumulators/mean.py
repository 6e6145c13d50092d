"""Mean of a series of correlated samples, with its standard error by blocking.

Flyvbjerg and Petersen, "Error estimates on averages of correlated data", J. Chem. Phys. 91, 461 (1989). The block
length is chosen as in Lee, Conduit, Nemec, López Ríos and Drummond, Phys. Rev. E 83, 066706 (2011).
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from fractions import Fraction
from math import nan, sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from allegro_md.accumulators.total import Total, as_rows
from allegro_md.errors import PhysicsError

SPLITTER = 2.0**27 + 1.0
"""Divides the 53 bits of a float64 into two halves (Veltkamp), whose products are exact."""

FEWEST_BLOCKS = 8
"""Blocks from which an error may be called converged. Of fewer, the variance scatters so much that it often looks
independent of the block length in a series that is shorter than its correlation."""


@dataclass(frozen=True)
class Estimate:
    """A mean and what is known about it, per column.

    Attributes:
        mean: (columns,) float64, in the unit of the samples.
        error: (columns,) float64, standard error of the mean; NaN with fewer than two samples.
        block: (columns,) int64, length of the blocks from which the error is taken, in samples.
        converged: (columns,) bool; False: the series is too short for its correlation (fewer than `FEWEST_BLOCKS`
            independent blocks), and the true error is probably larger.
        inefficiency: (columns,) float64, 1 + 2τ with τ the integrated correlation time in samples: so many samples
            count as one independent one; a lower limit where it is not converged, NaN with fewer than two samples.
        n_samples: length of the series.
    """

    mean: NDArray[np.float64]
    error: NDArray[np.float64]
    block: NDArray[np.int64]
    converged: NDArray[np.bool_]
    inefficiency: NDArray[np.float64]
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
    given to different accumulators, and the merged one has the same bits in any order of adding and merging. Memory
    grows with the number of gaps in the series, not with its length.

    Samples may be of any size from 1e-145 to 1e154: the error needs their squares, which float64 has to hold.
    """

    def __init__(self, columns: int = 1) -> None:
        """A series without samples, of `columns` quantities."""
        self.columns = columns
        self._levels: list[_Level] = []
        self._waiting: dict[tuple[int, int], NDArray[np.float64]] = {}  # (level, number) → block whose other half lacks
        self._covered: list[tuple[int, int]] = []  # [first, last) of numbers, ascending, with gaps between

    @property
    def n_samples(self) -> int:
        """Number of samples so far."""
        return self._levels[0].count if self._levels else 0

    def add(self, samples: NDArray[np.floating[Any]], first: int | None = None) -> None:
        """Adds consecutive samples of the series.

        Args:
            samples: (n, columns) float, or (columns,) of one sample, or (n,) where there is one column.
            first: number of the first one in the series, from 0; None: they follow the last one there is.

        Raises:
            ValueError: samples of another shape, or a sample of that number is there already; nothing is added.
        """
        values = np.asarray(samples)
        rows = as_rows(values[None] if values.shape == (self.columns,) else values, self.columns)
        start = (self._covered[-1][1] if self._covered else 0) if first is None else first
        _cover(self._covered, start, start + len(rows))
        self._add(0, start, rows)

    def merge(self, other: Mean) -> None:
        """Adds the samples of another part of the same series.

        Raises:
            ValueError: it has another number of columns, or samples that are here already; nothing is added.
        """
        if other.columns != self.columns:
            raise ValueError(f"a series of {other.columns} columns cannot be added to one of {self.columns}")
        covered = self._covered.copy()
        for first, last in other._covered:
            _cover(covered, first, last)
        self._covered = covered
        for number, level in enumerate(other._levels):
            self._level(number).merge(level)
        for (number, index), value in sorted(other._waiting.items()):
            self._offer(number, index, value)

    def exact_means(self) -> list[Fraction]:
        """Returns the means of the columns without rounding; there is a sample at least.

        Raises:
            PhysicsError: a sample was NaN or infinite.
        """
        return [total / self.n_samples for total in self._levels[0].sums.fractions()]

    def estimate(self) -> Estimate:
        """Returns mean and standard error.

        Raises:
            PhysicsError: a sample was NaN or infinite, or too large for its square.
        """
        if not self._levels:
            empty = np.full(self.columns, nan)
            return Estimate(empty, empty, np.ones(self.columns, np.int64), np.zeros(self.columns, np.bool_), empty, 0)
        n = self.n_samples
        mean = np.array([float(exact) for exact in self.exact_means()])
        self._require_squares()
        useful = [level for level in self._levels if level.count > 1]
        variances, counts = [level.variances_of_mean() for level in useful], [level.count for level in useful]
        chosen = [_plateau([level[c] for level in variances], counts, n) for c in range(self.columns)]
        errors, blocks, converged, inefficiencies = (np.array(part) for part in zip(*chosen, strict=True))
        return Estimate(mean, errors, blocks, converged, inefficiencies, n)

    def state_dict(self) -> dict[str, Any]:
        """Returns the content as JSON-like values."""
        return {
            "columns": self.columns,
            "covered": [list(interval) for interval in self._covered],
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
        if state["columns"] != self.columns:
            raise ValueError(f"a state of {state['columns']} columns for a series of {self.columns}")
        self._levels = []
        for number, saved in enumerate(state["levels"]):
            level = self._level(number)
            level.count = saved["count"]
            level.sums.load_state_dict(saved["sums"])
            level.squares.load_state_dict(saved["squares"])
        self._waiting = {(number, index): np.array(value) for number, index, value in state["waiting"]}
        self._covered = [(first, last) for first, last in state["covered"]]

    def _require_squares(self) -> None:
        """Refuses samples that are finite while their squares are not.

        Raises:
            PhysicsError: there are such samples.
        """
        columns = np.flatnonzero(self._levels[0].squares.faults)
        if len(columns):
            raise PhysicsError(
                f"samples of a mean are larger than 1e154 in column {columns[0]}: their squares, from which the error "
                "is made, are beyond the range of float64 — give the samples in a larger unit"
            )

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
            with np.errstate(over="ignore", invalid="ignore"):  # told by `estimate`
                number, start, rows = number + 1, start // 2, 0.5 * (rows[0::2] + rows[1::2])

    def _offer(self, number: int, index: int, value: NDArray[np.float64]) -> None:
        """Joins a block that has been counted with its other half, or lets it wait; `value` (columns,) is its mean."""
        other = self._waiting.pop((number, index ^ 1), None)
        if other is None:
            self._waiting[number, index] = value.copy()
        else:
            with np.errstate(over="ignore", invalid="ignore"):
                joined = 0.5 * (value + other)
            self._add(number + 1, index // 2, joined[None])


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


def _cover(covered: list[tuple[int, int]], first: int, last: int) -> None:
    """Adds the numbers [first, last) to `covered`: ascending intervals with gaps between them.

    Raises:
        ValueError: some are there already, or negative; nothing is changed.
    """
    if first < 0:
        raise ValueError(f"the first sample has the number {first}, but numbers begin at 0")
    if first == last:
        return
    at = bisect_left(covered, (first, first))
    for low, high in covered[max(0, at - 1) : at + 1]:  # of those before, only the last one can reach so far
        if low < last and first < high:
            raise ValueError(f"samples {max(low, first)} to {min(high, last) - 1} are there already")
    begin, end = at, at
    if at > 0 and covered[at - 1][1] == first:
        begin, first = at - 1, covered[at - 1][0]
    if at < len(covered) and covered[at][0] == last:
        end, last = at + 1, covered[at][1]
    covered[begin:end] = [(first, last)]


def _plateau(variances: list[float], counts: list[int], n: int) -> tuple[float, int, bool, float]:
    """Standard error, block length, whether there are enough blocks of that length, and statistical inefficiency.

    Args:
        variances: of the mean, from blocks of 1, 2, 4, … samples.
        counts: number of blocks of each length.
        n: number of samples.
    """
    if not variances:
        return nan, 1, False, nan
    if max(variances) <= 0.0:
        return 0.0, 1, n >= FEWEST_BLOCKS, 1.0
    for level, (variance, count) in enumerate(zip(variances, counts, strict=True)):
        inefficiency = variance / variances[0] if variances[0] > 0.0 else np.inf  # twice the correlation time
        if count >= FEWEST_BLOCKS and 8.0**level > 2.0 * n * inefficiency**2:
            return sqrt(max(variance, 0.0)), 1 << level, True, max(inefficiency, 0.0)
    level = int(np.argmax(variances))
    return sqrt(variances[level]), 1 << level, False, variances[level] / variances[0] if variances[0] > 0.0 else np.inf
