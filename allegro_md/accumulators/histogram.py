"""A histogram: whole numbers of samples in equal bins."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from allegro_md.accumulators.base import Summed, require_alike
from allegro_md.errors import PhysicsError


class Histogram(Summed):
    """Numbers of samples in equal bins over a range; exact in any order of samples and merging.

    Bins are half-open, [low, high), but for the last, which holds its upper edge, as in `numpy.histogram`.

    Attributes:
        edges: (bins + 1,) float64, limits of the bins, in the unit of the samples.
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
        self._counts: NDArray[np.int64] = np.zeros(bins, dtype=np.int64)
        self._outside: NDArray[np.int64] = np.zeros(3, dtype=np.int64)  # below, above, NaN

    @property
    def arguments(self) -> dict[str, Any]:
        """Limits and number of bins."""
        return {"low": float(self.edges[0]), "high": float(self.edges[-1]), "bins": len(self._counts)}

    def words(self) -> list[NDArray[np.int64]]:
        """Returns numbers of samples: in the bins; below, above, and NaN."""
        return [self._counts, self._outside]

    @property
    def below(self) -> int:
        """Number of samples below the range."""
        return int(self._outside[0])

    @property
    def above(self) -> int:
        """Number of samples above the range."""
        return int(self._outside[1])

    @property
    def counts(self) -> NDArray[np.int64]:
        """(bins,) int64, number of samples in each bin.

        Raises:
            PhysicsError: a sample was NaN.
        """
        if self._outside[2]:
            raise PhysicsError(f"{self._outside[2]} samples of a histogram are not numbers")
        return self._counts.copy()

    def add(self, values: NDArray[np.floating[Any]]) -> None:
        """Adds samples: `values` (…), any shape."""
        values = np.asarray(values, dtype=np.float64)  # numpy rounds its edges to a shorter type
        low, high = self.edges[0], self.edges[-1]
        self._counts += np.histogram(values, len(self._counts), (low, high))[0]
        self._outside += [np.count_nonzero(kind) for kind in (values < low, values > high, np.isnan(values))]

    def state_dict(self) -> dict[str, Any]:
        """Returns range, counts and what lies outside as JSON-like values."""
        low, high = float(self.edges[0]), float(self.edges[-1])
        return {"range": [low, high], "counts": self._counts.tolist(), "outside": self._outside.tolist()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Replaces the counts by those of a `state_dict`.

        Raises:
            ValueError: its bins are others.
        """
        low, high = state["range"]
        require_alike("Histogram", self.arguments, {"low": low, "high": high, "bins": len(state["counts"])})
        self._counts[:] = state["counts"]
        self._outside[:] = state["outside"]
