"""A histogram: whole numbers of samples in equal bins."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from allegro_md.errors import PhysicsError


class Histogram:
    """Numbers of samples in equal bins over a range; exact in any order of samples and merging.

    Bins are half-open, [low, high), but for the last, which holds its upper edge, as in `numpy.histogram`.

    Attributes:
        edges: (bins + 1,) float64, limits of the bins, in the unit of the samples.
        below: number of samples below the range.
        above: number of samples above it.
    """

    def __init__(self, low: float, high: float, bins: int) -> None:
        """Empty bins.

        Args:
            low: lower limit of the first bin.
            high: upper limit of the last bin.
            bins: how many there are.

        Raises:
            ValueError: no bins, or limits that are not finite or not ascending.
        """
        if bins < 1 or not (np.isfinite([low, high]).all() and low < high):
            raise ValueError(f"a histogram of {bins} bins from {low} to {high}")
        self.edges: NDArray[np.float64] = np.histogram_bin_edges([], bins, (low, high))
        self.below = self.above = self._faults = 0
        self._counts: NDArray[np.int64] = np.zeros(bins, dtype=np.int64)

    @property
    def counts(self) -> NDArray[np.int64]:
        """(bins,) int64, number of samples in each bin.

        Raises:
            PhysicsError: a sample was NaN.
        """
        if self._faults:
            raise PhysicsError(f"{self._faults} samples of a histogram are not numbers")
        return self._counts.copy()

    def add(self, values: NDArray[np.floating[Any]]) -> None:
        """Adds samples: `values` (…), any shape."""
        values = np.asarray(values, dtype=np.float64)  # numpy rounds its edges to a shorter type
        low, high = self.edges[0], self.edges[-1]
        self._counts += np.histogram(values, len(self._counts), (low, high))[0]
        self.below += int(np.count_nonzero(values < low))
        self.above += int(np.count_nonzero(values > high))
        self._faults += int(np.count_nonzero(np.isnan(values)))

    def merge(self, other: Histogram) -> None:
        """Adds the samples of another one.

        Raises:
            ValueError: its bins are others.
        """
        self._require_bins(other.edges[0], other.edges[-1], len(other.edges) - 1)
        self._counts += other._counts
        self.below, self.above = self.below + other.below, self.above + other.above
        self._faults += other._faults

    def state_dict(self) -> dict[str, Any]:
        """Returns range, counts and what lies outside as JSON-like values."""
        return {
            "range": [float(self.edges[0]), float(self.edges[-1])],
            "counts": self._counts.tolist(),
            "outside": [self.below, self.above, self._faults],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Replaces the counts by those of a `state_dict`.

        Raises:
            ValueError: its bins are others.
        """
        low, high = state["range"]
        self._require_bins(low, high, len(state["counts"]))
        self._counts[:] = state["counts"]
        self.below, self.above, self._faults = state["outside"]

    def _require_bins(self, low: float, high: float, bins: int) -> None:
        mine = (self.edges[0], self.edges[-1], len(self._counts))
        if (low, high, bins) != mine:
            raise ValueError(f"{bins} bins from {low} to {high} do not fit {mine[2]} bins from {mine[0]} to {mine[1]}")
