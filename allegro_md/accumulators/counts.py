"""Tables of whole numbers that are added up."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from allegro_md.accumulators.base import Summed, require_alike


class Counts(Summed):
    """An array of counts.

    Attributes:
        counts: int64 array, any shape.
    """

    def __init__(self, *shape: int) -> None:
        """Zeros."""
        self.counts: NDArray[np.int64] = np.zeros(shape, dtype=np.int64)

    @property
    def arguments(self) -> dict[str, Any]:
        """Its shape."""
        return {"shape": self.counts.shape}

    def words(self) -> list[NDArray[np.int64]]:
        """Returns `counts`."""
        return [self.counts]

    def state_dict(self) -> dict[str, Any]:
        """Returns the counts as lists."""
        return {"counts": self.counts.tolist()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Replaces the counts by those of a `state_dict`.

        Raises:
            ValueError: they have another shape.
        """
        counts = np.array(state["counts"], dtype=np.int64)
        require_alike("Counts", self.arguments, {"shape": counts.shape})
        self.counts[:] = counts


class Joint(Summed):
    """Several sums that belong together, by name.

    Attributes:
        parts: name → sum.
    """

    def __init__(self, **parts: Summed) -> None:
        """Joins sums without terms."""
        self.parts = parts

    @property
    def arguments(self) -> dict[str, Any]:
        """Those of the parts."""
        return {name: part.arguments for name, part in self.parts.items()}

    def words(self) -> list[NDArray[np.int64]]:
        """Returns the words of all parts."""
        return [words for part in self.parts.values() for words in part.words()]

    def state_dict(self) -> dict[str, Any]:
        """Returns the states of the parts."""
        return {name: part.state_dict() for name, part in self.parts.items()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Replaces the parts by those of a `state_dict`.

        Raises:
            ValueError: one was made with other arguments.
        """
        for name, part in self.parts.items():
            part.load_state_dict(state[name])
