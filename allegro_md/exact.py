"""Sums that do not depend on how the work is split: fixed-point integers, because integer addition is associative.

Two formats, one table of scales:

* forces: one int64 word, unit 2⁻⁴⁴ eV/Å (range ±5.2·10⁵ eV/Å);
* every global sum: a term is split into a high part of whole 2³² fixed-point units and a low part below 2³², which one
  rank adds up in two int64 words; between ranks they travel as three limbs of 32 bits, with 31 bits free for the sum
  over ranks.

A term outside the range of its format is an error, never a wrap.
"""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray

from allegro_md.errors import PhysicsError
from allegro_md.kernel_files import one_file_per_kernel

one_file_per_kernel()

FORCE_SCALE = 2.0**44
"""Fixed-point units per eV/Å of a fixed-point force component."""

FORCE_RANGE = 2.0**63 / FORCE_SCALE
"""Largest magnitude a fixed-point force component can hold, eV/Å."""

GLOBAL_BITS = {
    "energy": 48,  # eV: terms up to 10⁶ eV (an all-electron atom), unit 4·10⁻¹⁵ eV
    "virial": 48,  # eV
    "force": 44,  # eV/Å: the unit of fixed-point forces, so that their sums are exact
    "kinetic": 48,  # eV
    "momentum": 56,  # amu·Å/fs
    "mass": 40,  # amu
    "dipole": 40,  # e·Å
    "mass moment": 36,  # amu·Å: a center of mass, terms up to 4·10⁹
    "product": 60,  # of two vectors that are scaled to lengths of at most 1
    "heat flux": 52,  # eV·Å/fs: terms up to 6·10⁴
}
"""log2 of the fixed-point units per unit of each global sum."""

_HIGH_LIMIT = 2.0**36  # largest |high| of one term …
_TERMS_LIMIT = 2**27  # … and the number of terms one rank may add: 2³⁶ · 2²⁷ = 2⁶³, and 2³² · 2²⁷ < 2⁶³ for `low`


_ROWS = 512  # summed in registers at a time: they stay in the cache while one column after the other is


@numba.njit(cache=True)
def _accumulate(values: NDArray[np.float64], high_scale: float, limbs: NDArray[np.int64]) -> int:
    """Writes the sums of `values` (n, k), in units of 1/`high_scale`, to `limbs` (k, 3), which are zeros.

    Returns:
        The index of the first row with a value out of range, or −1.
    """
    n, k = values.shape
    for first in range(0, n, _ROWS):
        last = min(n, first + _ROWS)
        for c in range(k):
            high_sum, low_sum, fits = np.int64(0), np.int64(0), True
            for i in range(first, last):  # no way out of this loop, so that it is vectorized
                scaled = values[i, c] * high_scale
                fits &= abs(scaled) < _HIGH_LIMIT  # not so for NaN
                high = np.floor(scaled)
                high_sum += np.int64(high)
                low_sum += np.int64(np.rint((scaled - high) * 4294967296.0))
            if not fits:
                return _first_bad(values, high_scale, first)
            limbs[c, 1] += high_sum
            limbs[c, 2] += low_sum
    _to_limbs(limbs)
    return -1


@numba.njit(cache=True)
def _to_limbs(limbs: NDArray[np.int64]) -> None:
    """Makes three limbs of two words: `limbs` (k, 3), whose last two columns are the words of each component."""
    for c in range(len(limbs)):
        high, low = limbs[c, 1] + (limbs[c, 2] >> 32), limbs[c, 2]
        limbs[c, 0], limbs[c, 1], limbs[c, 2] = high >> 32, high & 0xFFFFFFFF, low & 0xFFFFFFFF


@numba.njit(cache=True)
def _first_bad(values: NDArray[np.float64], high_scale: float, first: int) -> int:
    """Index of the first row of `values` (n, k), from `first` on, with a value outside the format; one must exist."""
    for i in range(first, len(values)):
        for c in range(values.shape[1]):
            if not (abs(values[i, c] * high_scale) < _HIGH_LIMIT):
                return i
    return -1


def high_scale(kind: str) -> float:
    """High words per unit of a kind of sum."""
    return 2.0 ** GLOBAL_BITS[kind] / 4294967296.0


def _too_many(n_terms: int) -> str:
    """Says what is wrong with the number of terms; nothing where they fit."""
    return f"more than {_TERMS_LIMIT} terms on one rank" if n_terms > _TERMS_LIMIT else ""


@dataclass(frozen=True)
class ExactSum:
    """Sum of k quantities in fixed point.

    Attributes:
        limbs: (k, 3) int64, value = (limb₀·2⁶⁴ + limb₁·2³² + limb₂) · unit; of 32 bits each until sums are added up.
        kind: key of `GLOBAL_BITS`.
        fault: why the sum is none, or empty. It travels with the limbs and is raised where ranks meet or a value is
            read: raised here, on one rank, it would leave the others waiting.
        culprit: id of the atom whose term it was, if known.
    """

    limbs: NDArray[np.int64]
    kind: str
    fault: str = ""
    culprit: int | None = None

    @staticmethod
    def of(values: NDArray[np.float64], kind: str, ids: NDArray[np.int64] | None = None) -> ExactSum:
        """Sums values, (n,) or (n, k), over their first axis.

        Args:
            values: the terms.
            kind: key of `GLOBAL_BITS`.
            ids: (n,) atom ids, to name the atom of a term that is not finite or too large.
        """
        table = np.ascontiguousarray(values, dtype=np.float64)
        table = table[:, None] if table.ndim == 1 else table
        limbs = np.zeros((table.shape[1], 3), dtype=np.int64)
        fault = _too_many(len(table))
        bad = -1 if fault else _accumulate(table, high_scale(kind), limbs)
        culprit = int(ids[bad]) if bad >= 0 and ids is not None else None
        if bad >= 0:
            owner = f"row {bad}" if culprit is None else f"atom {culprit}"
            fault = f"the {kind} of {owner} is not finite or out of range: {table[bad].tolist()}"
        return ExactSum(limbs, kind, fault, culprit)

    @staticmethod
    def of_words(words: NDArray[np.int64], kind: str, n_terms: int, culprit: int | None = None) -> ExactSum:
        """Takes sums that were made elsewhere, of terms split as in `of`.

        Args:
            words: (k, 2) sums of the high words, whose unit is `high_scale`⁻¹, and of the low ones, 2³² times smaller.
            kind: key of `GLOBAL_BITS`.
            n_terms: of each sum.
            culprit: id of an atom whose term is not finite or out of range; None: there is none.
        """
        limbs = np.zeros((len(words), 3), dtype=np.int64)
        limbs[:, 1:] = words
        _to_limbs(limbs)
        fault = _too_many(n_terms)
        if culprit is not None:
            fault = f"the {kind} of atom {culprit} is not finite or out of range"
        return ExactSum(limbs, kind, fault, culprit)

    def plus(self, other: ExactSum) -> ExactSum:
        """Both, of the same kind, together."""
        culprit = self.culprit if self.fault else other.culprit
        return ExactSum(self.limbs + other.limbs, self.kind, self.fault or other.fault, culprit)

    @property
    def error(self) -> PhysicsError | None:
        """Returns the exception to raise, if any."""
        return PhysicsError(self.fault, () if self.culprit is None else (self.culprit,)) if self.fault else None

    def value(self) -> NDArray[np.float64]:
        """The k sums, each correctly rounded to float64.

        Raises:
            PhysicsError: a term was NaN or too large for the format.
        """
        if self.error is not None:
            raise self.error
        unit = 1 << GLOBAL_BITS[self.kind]  # Python rounds the quotient of two integers correctly
        return np.array([((a << 64) + (b << 32) + c) / unit for a, b, c in self.limbs.tolist()])
