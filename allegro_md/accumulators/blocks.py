"""The same sums over consecutive blocks of samples, from which the error of what is made of them follows."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from allegro_md.accumulators.base import Summed, reduced
from allegro_md.comm import Comm

FEWEST = 16
"""Blocks of a series that is long enough are 16 to 32."""

ENOUGH = 10
"""Blocks that a standard error needs where no interval of Student's t is given beside it."""

S = TypeVar("S", bound=Summed)


class Blocks(Generic[S]):
    """Sums of equal blocks of samples; when 2 · `FEWEST` do not suffice, every two become one of twice the length.

    Samples may come in any order, and to several ranks: block b holds the samples b · length … (b + 1) · length − 1.

    Attributes:
        length: samples per block.
        n_samples: one more than the highest number of a sample so far.
    """

    def __init__(self, make: Callable[[], S]) -> None:
        """Blocks without samples; `make` makes the empty sums of one."""
        self._make = make
        self._sums: list[S] = []
        self.length, self.n_samples = 1, 0

    def at(self, number: int) -> S:
        """The sums of the block of a sample, by its `number` from 0."""
        while number >= 2 * FEWEST * self.length:
            self._join()
        block = number // self.length
        while len(self._sums) <= block:
            self._sums.append(self._make())
        self.n_samples = max(self.n_samples, number + 1)
        return self._sums[block]

    def reduced(self, comm: Comm) -> Blocks[S]:
        """Adds up the blocks of all ranks into new ones, equal on all of them (collective)."""
        total = Blocks(self._make)
        total._sums, total.length = copy.deepcopy(self._sums), self.length
        longest = int(comm.max(float(self.length)))
        while total.length < longest:
            total._join()
        count = int(comm.max(float(len(total._sums))))
        total._sums += [self._make() for _ in range(count - len(total._sums))]
        total._sums = [reduced(block, comm) for block in total._sums]
        total.n_samples = int(comm.max(float(self.n_samples)))
        return total

    def whole(self) -> S:
        """The sums of all samples."""
        whole = self._make()
        for block in self._sums:
            whole.merge(block)
        return whole

    def complete(self) -> list[S]:
        """The sums of each block that has all of its samples; the samples have no gaps."""
        return self._sums[: self.n_samples // self.length]

    def joined(self, fewest: int) -> tuple[list[S], int]:
        """The complete blocks, as many of them made one as leaves `fewest` or more; and their length in samples."""
        complete = self.complete()
        each = max(1, len(complete) // fewest)
        joined = []
        for first in range(0, len(complete) - each + 1, each):
            joined.append(self._make())
            for block in complete[first : first + each]:
                joined[-1].merge(block)
        return joined, each * self.length

    def state_dict(self) -> dict[str, Any]:
        """Returns the content as JSON-like values."""
        return {
            "length": self.length, "n_samples": self.n_samples, "blocks": [block.state_dict() for block in self._sums]
        }  # fmt: skip

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Replaces the content by that of a `state_dict`.

        Raises:
            ValueError: the sums in it were made with other arguments.
        """
        self.length, self.n_samples = state["length"], state["n_samples"]
        self._sums = [self._make() for _ in state["blocks"]]
        for block, saved in zip(self._sums, state["blocks"], strict=True):
            block.load_state_dict(saved)

    def clear(self) -> None:
        """Empties all blocks, which keep their length and number: another rank holds their content."""
        self._sums = [self._make() for _ in self._sums]

    def _join(self) -> None:
        """Makes one block of every two."""
        if len(self._sums) % 2:
            self._sums.append(self._make())
        for block, other in zip(self._sums[0::2], self._sums[1::2], strict=True):
            block.merge(other)
        self._sums, self.length = self._sums[0::2], 2 * self.length


def standard_error(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Standard error of the mean of independent blocks: `values` (blocks, …); NaN of fewer than two."""
    n = len(values)
    if n < 2:
        return np.full(values.shape[1:], np.nan)
    return np.asarray(np.std(values, axis=0, ddof=1) / np.sqrt(n))


def load_on_root(blocks: Blocks[Any], state: dict[str, Any], comm: Comm) -> None:
    """Takes up sums of all ranks: one rank holds them, the others hold as many empty blocks."""
    blocks.load_state_dict(state)
    if comm.rank > 0:
        blocks.clear()
