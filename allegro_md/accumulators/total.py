"""Sums of float64 numbers of any size, exact: a fixed-point number as wide as the range of float64.

Kulisch, "Computer Arithmetic and Validity", de Gruyter (2013), chapter 8. `exact.ExactSum` is smaller and faster, but
its range belongs to one physical quantity; products and squares of an observable can have any size and unit.
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from allegro_md.accumulators.base import Summed, require_alike
from allegro_md.errors import PhysicsError

QUANTUM_BITS = 1126
"""The last bit of a sum is 2⁻¹¹²⁶: a term is a mantissa of 53 bits, whole and shifted by at least nothing."""

LIMBS = 70
"""Words of a sum, of 32 bits each in an int64: 2⁻¹¹²⁶ … 2¹¹¹³, more than 2⁶² terms of the largest size."""

MOST_TERMS = 2**29
"""Terms after which carries are passed on: one adds less than 2³³ to a word."""


@numba.njit(cache=True)
def add_term(limbs: NDArray[np.int64], value: float) -> None:
    """Adds a finite value to one sum; `limbs` (LIMBS,) is changed."""
    mantissa, exponent = math.frexp(value)
    whole = np.int64(mantissa * 9007199254740992.0)  # 2⁵³
    sign = np.int64(-1) if whole < 0 else np.int64(1)
    whole *= sign
    place = exponent - 53 + QUANTUM_BITS if whole else 0
    k, shift = place >> 5, place & 31
    low, high = (whole & 0xFFFFFFFF) << shift, (whole >> 32) << shift
    limbs[k] += sign * (low & 0xFFFFFFFF)
    limbs[k + 1] += sign * ((low >> 32) + (high & 0xFFFFFFFF))
    limbs[k + 2] += sign * (high >> 32)


@numba.njit(cache=True)
def _add_rows(limbs: NDArray[np.int64], faults: NDArray[np.int64], rows: NDArray[np.float64]) -> None:
    """Adds `rows` (m, n) to `limbs` (n, LIMBS); terms that are not finite are counted in `faults` (n,)."""
    for i in range(len(rows)):
        for c in range(rows.shape[1]):
            if math.isfinite(rows[i, c]):
                add_term(limbs[c], rows[i, c])
            else:
                faults[c] += 1


@numba.njit(cache=True)
def _carry(limbs: NDArray[np.int64]) -> None:
    """Brings the words of `limbs` (n, LIMBS) into 0 … 2³² − 1, the last excepted: the one way to write each sum."""
    for c in range(len(limbs)):
        for k in range(LIMBS - 1):
            limbs[c, k + 1] += limbs[c, k] >> 32
            limbs[c, k] &= 0xFFFFFFFF


def as_rows(values: NDArray[np.floating[Any]], columns: int) -> NDArray[np.float64]:
    """Returns `values` (m, columns) float32 or float64, or (m,) of one column, as float64 rows (m, columns).

    Raises:
        ValueError: they are of another shape.
    """
    rows = np.asarray(values, dtype=np.float64, order="C")
    if columns == 1 and rows.ndim == 1:
        return rows[:, None]
    if rows.ndim != 2 or rows.shape[1] != columns:
        raise ValueError(f"numbers of shape {rows.shape}, where rows of shape (m, {columns}) are wanted")
    return rows


class Total(Summed):
    """Exact sums of n columns, each rounded once when it is asked for.

    The result has the same bits for any order of terms and merging.

    Attributes:
        limbs: (n, LIMBS) int64, the words of the sums; kernels that call `add_term` announce it by `reserve`.
        faults: (n,) int64, number of terms that were not finite.
    """

    def __init__(self, n: int = 1) -> None:
        """Sums of `n` columns without terms."""
        self.limbs: NDArray[np.int64] = np.zeros((n, LIMBS), dtype=np.int64)
        self.faults: NDArray[np.int64] = np.zeros(n, dtype=np.int64)
        self._terms = 0  # since carries were passed on, at most, of any column

    @property
    def arguments(self) -> dict[str, Any]:
        """Number of columns."""
        return {"columns": len(self.limbs)}

    def words(self) -> list[NDArray[np.int64]]:
        """Returns `limbs`, each below 2³² but for the last of a sum, and `faults`."""
        _carry(self.limbs)
        self._terms = MOST_TERMS  # the caller may add to them: carries are passed on before the next term
        return [self.limbs, self.faults]

    def add(self, values: NDArray[np.float64]) -> None:
        """Adds terms: `values` (m, n) float64, or (m,) where there is one column.

        Raises:
            ValueError: they are of another shape.
        """
        rows = as_rows(values, len(self.limbs))
        for start in range(0, len(rows), MOST_TERMS):
            part = rows[start : start + MOST_TERMS]
            self.reserve(len(part))
            _add_rows(self.limbs, self.faults, part)

    def reserve(self, terms: int) -> None:
        """Makes room for so many terms per column, at most `MOST_TERMS`."""
        if self._terms + terms > MOST_TERMS:
            _carry(self.limbs)
            self._terms = 1  # a word after a carry is less than what one term may add
        self._terms += terms

    def fractions(self) -> list[Fraction]:
        """Returns the n sums as they are, without rounding.

        Raises:
            PhysicsError: a term was NaN or infinite.
        """
        if self.faults.any():
            what = f"{int(self.faults.sum())} samples of an average are not finite"
            raise PhysicsError(f"{what} (the first in column {int(np.flatnonzero(self.faults)[0])})")
        return [Fraction(number, 1 << QUANTUM_BITS) for number in self._numbers()]

    def value(self) -> NDArray[np.float64]:
        """Returns the sums (n,), each correctly rounded.

        Raises:
            PhysicsError: a term was NaN or infinite, or a sum is too large for float64.
        """
        sums = np.empty(len(self.limbs))
        for column, number in enumerate(self.fractions()):
            try:
                sums[column] = float(number)
            except OverflowError:
                raise PhysicsError(
                    f"the sum in column {column} is beyond the range of float64 (1.8e308), although its terms are not "
                    "— give the terms in a larger unit"
                ) from None
        return sums

    def state_dict(self) -> dict[str, Any]:
        """Returns the sums as JSON-like values: each number as [hexadecimal digits, bits behind them]."""
        numbers = self._numbers()
        behind = [max(0, (number & -number).bit_length() - 1) for number in numbers]
        sums = [[f"{number >> bits:x}", bits] for number, bits in zip(numbers, behind, strict=True)]
        return {"sums": sums, "faults": self.faults.tolist()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Replaces the sums by those of a `state_dict`.

        Raises:
            ValueError: they are of another number of columns.
        """
        require_alike("Total", self.arguments, {"columns": len(state["sums"])})
        top = 32 * (LIMBS - 1)
        for limbs, (digits, bits) in zip(self.limbs, state["sums"], strict=True):
            number = int(digits, 16) << bits
            low = (number & ((1 << top) - 1)).to_bytes(top // 8, "little")
            limbs[:-1], limbs[-1] = np.frombuffer(low, dtype="<u4"), number >> top
        self.faults[:] = state["faults"]
        self._terms = 1

    def _numbers(self) -> list[int]:
        """The sums in units of 2⁻¹¹²⁶."""
        _carry(self.limbs)
        self._terms = 1
        low = self.limbs[:, :-1].astype("<u4")
        top = 32 * (LIMBS - 1)
        return [
            int.from_bytes(words.tobytes(), "little") + (int(high) << top)
            for words, high in zip(low, self.limbs[:, -1], strict=True)
        ]
