"""Sums of float64 numbers of one known size, exact and fast: fixed point in three words.

`Total` takes numbers of any size. This takes those of one quantity, whose largest value and least digit that matters
are known, and is ten times faster.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from allegro_md.accumulators.base import Summed, require_alike
from allegro_md.errors import PhysicsError

HIGH_LIMIT = 2.0**36
"""Largest size of the high word of one term, in units of 2³² quanta."""

MOST_TERMS = 2**27
"""Terms whose words may be added up before they are handed over: 2³⁶ · 2²⁷ = 2⁶³."""


class FixedPointSum(Summed):
    """Exact sums of n columns in units of 2^−bits; the same bits for any order of terms and merging.

    A term t is two whole numbers: high = floor(t · 2^(bits − 32)), and the remainder in quanta, rounded. Kernels add
    them up over at most `MOST_TERMS` terms and hand the sums over to `add_words`.

    Attributes:
        bits: log2 of the quanta per unit.
        limbs: (n, 3) int64: value = (limb₀·2⁶⁴ + limb₁·2³² + limb₂) quanta.
        faults: (n,) int64, number of terms that were not finite or too large.
    """

    def __init__(self, n: int, bits: int) -> None:
        """Sums of `n` columns without terms; terms are below 2^(68 − bits) in size."""
        self.bits = bits
        self.limbs: NDArray[np.int64] = np.zeros((n, 3), dtype=np.int64)
        self.faults: NDArray[np.int64] = np.zeros(n, dtype=np.int64)

    @property
    def arguments(self) -> dict[str, Any]:
        """Number of columns and bits."""
        return {"columns": len(self.limbs), "bits": self.bits}

    @property
    def high_scale(self) -> float:
        """2^(bits − 32), with which a term's high word is made."""
        return math.ldexp(1.0, self.bits - 32)

    def words(self) -> list[NDArray[np.int64]]:
        """Returns `limbs`, the last two below 2³², and `faults`."""
        return [self.limbs, self.faults]

    def add_words(self, column: slice | NDArray[np.int64], high: NDArray[np.int64], low: NDArray[np.int64]) -> None:
        """Adds sums of terms to some columns.

        Args:
            column: which m columns, each at most once.
            high: (m,) int64, sums of the high words.
            low: (m,) int64, sums of the remainders, in quanta.
        """
        limbs = self.limbs[column]
        last = limbs[:, 2] + (low & 0xFFFFFFFF)
        middle = limbs[:, 1] + (high & 0xFFFFFFFF) + (low >> 32) + (last >> 32)
        limbs[:, 0] += (high >> 32) + (middle >> 32)
        limbs[:, 1], limbs[:, 2] = middle & 0xFFFFFFFF, last & 0xFFFFFFFF
        self.limbs[column] = limbs

    def add(self, column: slice | NDArray[np.int64], terms: NDArray[np.float64]) -> None:
        """Adds one term each to m columns, `column`, each at most once: `terms` (m,) float64."""
        high, low, fits = self._split(terms)
        self.add_words(column, high, low)
        self.faults[column] += ~fits

    def add_at(self, column: NDArray[np.int64], terms: NDArray[np.float64]) -> None:
        """Adds terms to columns that may occur several times: `column` (m,) and `terms` (m,), m ≤ `MOST_TERMS`."""
        words = np.zeros((3, len(self.limbs)), dtype=np.int64)
        high, low, fits = self._split(terms)
        for row, values in zip(words, (high, low, ~fits), strict=True):
            np.add.at(row, column, values)
        self.add_words(slice(None), words[0], words[1])
        self.faults += words[2]

    def add_quanta(self, sums: NDArray[np.int64]) -> None:
        """Adds sums of terms that are in quanta already, small enough for one word: `sums` (n,) int64."""
        self.add_words(slice(None), np.zeros_like(sums), sums)

    def value(self) -> NDArray[np.float64]:
        """Returns the sums (n,), each correctly rounded.

        Raises:
            PhysicsError: a term was NaN, infinite or too large.
        """
        if self.faults.any():
            raise PhysicsError(
                f"{int(self.faults.sum())} terms of an average are not finite, or beyond {2.0 ** (68 - self.bits):g} "
                "in size — atoms move without bound: check the trajectory"
            )
        return np.array([math.ldexp(1.0, -self.bits) * number for number in self._numbers()])

    def state_dict(self) -> dict[str, Any]:
        """Returns the sums as JSON-like values, hexadecimal numbers of quanta."""
        numbers = [f"{number:x}" for number in self._numbers()]
        return {"bits": self.bits, "sums": numbers, "faults": self.faults.tolist()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Replaces the sums by those of a `state_dict`.

        Raises:
            ValueError: they are of another number of columns, or have other quanta.
        """
        require_alike("FixedPointSum", self.arguments, {"columns": len(state["sums"]), "bits": state["bits"]})
        for limbs, digits in zip(self.limbs, state["sums"], strict=True):
            number = int(digits, 16)
            limbs[:] = number >> 64, (number >> 32) & 0xFFFFFFFF, number & 0xFFFFFFFF
        self.faults[:] = state["faults"]

    def _split(self, terms: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
        """High words and remainders of `terms` (m,), and which are finite and not too large; words of others are 0."""
        scaled = terms * self.high_scale
        fits = np.abs(scaled) < HIGH_LIMIT  # not so NaN
        scaled = np.where(fits, scaled, 0.0)
        high = np.floor(scaled)
        return high.astype(np.int64), np.rint((scaled - high) * 2.0**32).astype(np.int64), fits

    def _numbers(self) -> list[int]:
        return [(a << 64) + (b << 32) + c for a, b, c in self.limbs.tolist()]
