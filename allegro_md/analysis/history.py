"""Time correlations of atoms: past samples of each atom, and exact sums over atoms of what two samples give.

Each rank keeps the history of a range of ids (`Sample.by_id`), wherever the atoms are: nothing of it moves when atoms
migrate, and a checkpoint takes it as it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from allegro_md.accumulators.counts import Counts, Joint
from allegro_md.accumulators.fixed_point import HIGH_LIMIT, FixedPointSum
from allegro_md.analysis.lags import Lags

_ROWS = 1024  # atoms summed at a time: they stay in the cache


class LaggedSums(Joint):
    """Sums over atoms and origins, by class of atoms and lag.

    Attributes:
        classes: number of classes.
        lags: number of lags.
    """

    def __init__(self, classes: int, lags: int, bits: int) -> None:
        """Sums without terms, in quanta of 2^−bits."""
        self.classes, self.lags = classes, lags
        super().__init__(terms=Counts(classes, lags), sums=FixedPointSum(classes * lags, bits))

    @property
    def terms(self) -> NDArray[np.int64]:
        """(classes, lags) int64, number of terms."""
        return self.parts["terms"].words()[0]

    @property
    def sums(self) -> FixedPointSum:
        """Of classes · lags columns."""
        sums = self.parts["sums"]
        assert isinstance(sums, FixedPointSum)
        return sums

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Replaces the sums by those of a `state_dict`, which may have fewer lags: of a run that has become longer.

        Raises:
            ValueError: it has more lags, or other classes.
        """
        lags = len(state["terms"]["counts"][0])
        saved = LaggedSums(self.classes, lags, self.sums.bits)
        Joint.load_state_dict(saved, state)
        self.terms[:, :lags] = saved.terms
        for mine, theirs in ((self.sums.limbs, saved.sums.limbs), (self.sums.faults, saved.sums.faults)):
            mine.reshape(self.classes, self.lags, -1)[:, :lags] = theirs.reshape(self.classes, lags, -1)

    def means(
        self, members: list[list[int]], weights: NDArray[np.float64] | None = None
    ) -> NDArray[np.float64]:
        """(groups, lags) float64, means over the atoms of each group; NaN without terms.

        Args:
            members: of each group, the classes that it consists of.
            weights: (classes,) float64, of the atoms of each class; default: all have the same.
        """
        weights = np.ones(self.classes) if weights is None else weights
        values = weights[:, None] * self.sums.value().reshape(self.classes, self.lags)
        terms = weights[:, None] * self.terms
        with np.errstate(invalid="ignore"):
            return np.array([values[of].sum(axis=0) / terms[of].sum(axis=0) for of in members])


class History:
    """Past samples of the atoms of this rank's range of ids.

    Attributes:
        lags: which samples are kept and compared.
        starts: (classes + 1,) int64: the atoms of class c are those from starts[c] to before starts[c + 1] in the order
            of `order`.
        order: (n_own,) int64, atoms of this rank's range in the order of classes.
        classes: (n_own,) int64, of each atom, in the order of ids.
    """

    def __init__(self, lags: Lags, classes: NDArray[np.int64], n_classes: int) -> None:
        """A history without samples.

        Args:
            lags: which samples are kept and compared.
            classes: (n_own,) int64, class of each atom; `n_classes`: it is kept, but not summed.
            n_classes: on all ranks the same.
        """
        self.lags = lags
        self.classes = classes
        self.order: NDArray[np.int64] = np.argsort(classes, kind="stable")
        self.starts: NDArray[np.int64] = np.searchsorted(classes[self.order], np.arange(n_classes + 1))
        self._rings: list[NDArray[np.float64]] = []  # per level (slots, 3, n_own)

    def add(
        self, number: int, rows: NDArray[np.float64], sums: LaggedSums, product: bool, axes: Sequence[int] = (0, 1, 2)
    ) -> None:
        """Keeps a sample, and adds what it gives with those kept.

        Args:
            number: of the sample, from 0.
            rows: (n_own, 3) float64, in the order of ids.
            sums: to add to.
            product: a · b of two samples; otherwise |a − b|².
            axes: components that count.
        """
        now = self._keep(number, rows)
        compared = np.array(self.lags.compared(number), dtype=np.int64).reshape(-1, 3)
        size = np.diff(self.starts)
        sums.terms[:, compared[:, 2]] += size[:, None]
        if not product:
            compared = compared[compared[:, 2] > 0]  # the first lag is 0, and its terms are zero
        for level in np.unique(compared[:, 0]).tolist():
            chosen = compared[compared[:, 0] == level, 1:]
            high, low, faults = np.zeros((3, sums.classes, len(chosen)), dtype=np.int64)
            how = np.array(axes), sums.sums.high_scale, product
            _add(self._rings[level], chosen[:, 0].copy(), now, self.starts, how, high, low, faults)
            columns = (np.arange(sums.classes)[:, None] * sums.lags + chosen[:, 1]).ravel()
            sums.sums.add_words(columns, high.ravel(), low.ravel())
            sums.sums.faults[columns] += faults.ravel()

    def pairs(
        self, number: int, rows: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], list[tuple[int, NDArray[np.float64]]]]:
        """Keeps a sample, and returns it with those it is to be compared with.

        Args:
            number: of the sample, from 0.
            rows: (n_own, 3) float64, in the order of ids.

        Returns:
            The sample, (3, n_own) in the order of `order`, and the index of the lag and the sample (3, n_own) of each
            comparison: views that the next sample may change.
        """
        now = self._keep(number, rows)
        return now, [(kept.lag, self._rings[kept.level][kept.slot]) for kept in self.lags.compared(number)]

    def _keep(self, number: int, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        """Puts a sample, `rows` (n_own, 3), into the rings of its levels; returns it by component, (3, n_own)."""
        for slots in self.lags.slots(number)[len(self._rings) :]:
            ring = np.zeros((slots, 3, len(rows)))
            if self._rings:
                ring[0] = self._rings[-1][0]  # sample 0
            self._rings.append(ring)
        places = [self._rings[level][slot] for level, slot in self.lags.stored(number)]
        now = places[0] if places else np.empty((3, len(rows)))
        _by_component(rows, self.order, now)
        for place in places[1:]:
            place[:] = now
        return now

    def newest(self, number: int) -> NDArray[np.float64]:
        """(n_own, 3) float64, the sample `number`, which was the last one added, in the order of ids."""
        slot = dict(self.lags.stored(number))[0]
        rows = np.empty((len(self.order), 3))
        rows[self.order] = self._rings[0][slot].T
        return rows

    def rows(self) -> dict[str, NDArray[Any]]:
        """Returns classes (n_own,) int64, and per level the samples kept (n_own, slots, 3), in the order of ids."""
        saved: dict[str, NDArray[Any]] = {"class": self.classes}
        for level, ring in enumerate(self._rings):
            rows = np.empty((len(self.order), *ring.shape[:2]))
            rows[self.order] = np.moveaxis(ring, 2, 0)
            saved[f"level{level}"] = rows
        return saved

    @staticmethod
    def restored(lags: Lags, n_classes: int, rows: Mapping[str, NDArray[Any]]) -> History:
        """Makes the history whose `rows` these are."""
        history = History(lags, rows["class"], n_classes)
        levels = sum(name.startswith("level") for name in rows)
        history._rings = [
            np.ascontiguousarray(np.moveaxis(rows[f"level{level}"][history.order], 0, 2)) for level in range(levels)
        ]
        return history


@numba.njit(cache=True, error_model="numpy")
def _add(
    ring: NDArray[np.float64],
    slots: NDArray[np.int64],
    now: NDArray[np.float64],
    starts: NDArray[np.int64],
    how: tuple[NDArray[np.int64], float, bool],
    high: NDArray[np.int64],
    low: NDArray[np.int64],
    faults: NDArray[np.int64],
) -> None:
    """Adds what a sample gives with kept ones, in fixed point (`FixedPointSum`).

    Args:
        ring: (slots, 3, n) kept samples.
        slots: (k,) which of them.
        now: (3, n) the sample.
        starts: (classes + 1,) where each class begins.
        how: components that count; quanta of the high word per unit; a · b, otherwise |a − b|².
        high: (classes, k) sums of high words, changed.
        low: (classes, k) sums of remainders, changed.
        faults: (classes, k) number of terms that are not finite or too large, changed.
    """
    axes, high_scale, product = how
    scaled, whole, rest = np.empty((3, _ROWS))
    for c in range(len(starts) - 1):
        for first in range(starts[c], starts[c + 1], _ROWS):
            n = min(_ROWS, starts[c + 1] - first)
            for k in range(len(slots)):
                old = ring[slots[k]]
                for i in range(n):
                    scaled[i] = 0.0
                for axis in axes:
                    a, b = now[axis, first : first + n], old[axis, first : first + n]
                    if product:
                        for i in range(n):
                            scaled[i] += a[i] * b[i]
                    else:
                        for i in range(n):
                            scaled[i] += (a[i] - b[i]) * (a[i] - b[i])
                for i in range(n):
                    scaled[i] *= high_scale
                    whole[i] = np.floor(scaled[i])
                    rest[i] = np.rint((scaled[i] - whole[i]) * 4294967296.0)
                size, high_sum, low_sum = _sums(scaled, whole, rest, n)
                if size < HIGH_LIMIT:
                    high[c, k] += np.int64(high_sum)
                    low[c, k] += np.int64(low_sum)
                else:
                    _add_singly(scaled[:n], whole, rest, (c, k), high, low, faults)


@numba.njit(cache=True, error_model="numpy", fastmath={"reassoc"})
def _sums(
    scaled: NDArray[np.float64], whole: NDArray[np.float64], rest: NDArray[np.float64], n: int
) -> tuple[float, float, float]:
    """Sums of the sizes of n terms, of their high words and of their remainders.

    The arguments are `scaled` (≥ n,), `whole` (≥ n,) and `rest` (≥ n,), of which the first n count. If the first sum
    is below `HIGH_LIMIT`, all sizes are: then the others are sums of whole numbers below 2⁵³, and exact in any order.
    That leaves the compiler free to add several at a time.
    """
    size, high, low = 0.0, 0.0, 0.0
    for i in range(n):
        size += abs(scaled[i])
        high += whole[i]
        low += rest[i]
    return size, high, low


@numba.njit(cache=True, error_model="numpy")
def _add_singly(
    scaled: NDArray[np.float64],
    whole: NDArray[np.float64],
    rest: NDArray[np.float64],
    where: tuple[int, int],
    high: NDArray[np.int64],
    low: NDArray[np.int64],
    faults: NDArray[np.int64],
) -> None:
    """Adds terms of which some may be too large, or not numbers; they are faults.

    Args:
        scaled: (n,) terms in units of the high word.
        whole: (n,) their high words.
        rest: (n,) their remainders.
        where: class and column.
        high: (classes, k) changed, as are `low` (classes, k) and `faults` (classes, k).
        low: (classes, k).
        faults: (classes, k).
    """
    for i in range(len(scaled)):
        if abs(scaled[i]) < HIGH_LIMIT:
            high[where] += np.int64(whole[i])
            low[where] += np.int64(rest[i])
        else:
            faults[where] += 1


@numba.njit(cache=True)
def _by_component(rows: NDArray[np.float64], order: NDArray[np.int64], to: NDArray[np.float64]) -> None:
    """Copies `rows` (n, 3), in the order of `order` (n,), to `to` (3, n)."""
    for i in range(len(order)):
        row = rows[order[i]]
        to[0, i], to[1, i], to[2, i] = row[0], row[1], row[2]
