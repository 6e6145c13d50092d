"""Self part of the van Hove function, G_s(r, τ), and the non-Gaussian parameter α₂(τ).

G_s(r, τ) is the density of probability of a displacement r in the time τ: the number of displacements in a bin over
their number and the volume of the shell. α₂ = 3 ⟨r⁴⟩ / (5 ⟨r²⟩²) − 1 is 0 where it is Gaussian. Displacements are those
of `comoving`. Hansen and McDonald, "Theory of Simple Liquids", 4th ed., Academic Press (2013), section 7.4; Rahman,
Phys. Rev. 136, A405 (1964).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import numba
import numpy as np
from numpy.typing import NDArray
from pydantic import Field, ValidationInfo

from allegro_md.accumulators.blocks import ENOUGH, Blocks, standard_error
from allegro_md.accumulators.counts import Counts, Joint
from allegro_md.accumulators.fixed_point import HIGH_LIMIT, FixedPointSum
from allegro_md.analysis.base import Sample, System
from allegro_md.analysis.classes import Classes
from allegro_md.analysis.comoving import Comoving
from allegro_md.analysis.lags import Chosen
from allegro_md.analysis.result import Array, Column, Line, Panel, Result, Value
from allegro_md.analysis.table import Bins, GroupedTable
from allegro_md.analysis.time_axis import require_interval
from allegro_md.analysis.tracked import Displaced
from allegro_md.comm import Comm
from allegro_md.config.fields import Length, Marker, Time, Whole, problem, show
from allegro_md.config.fields import Quantity as Dimensioned
from allegro_md.errors import InputError

SQUARES, FOURTHS = 42, 32
"""Bits of the sums of r² and r⁴: displacements are below 512 Å, quanta 2⁻⁴² Å² and 2⁻³² Å⁴."""


class _Times(Marker):
    def parse(self, value: Any, info: ValidationInfo) -> tuple[float, ...]:
        value = [value] if isinstance(value, (int, float, str)) else value
        if not isinstance(value, (list, tuple)) or not value:
            raise problem(f"expected a list of times, got {show(value)}", 'for example [100, "1 ps"]')
        times = tuple(sorted(Dimensioned("time").parse(time, info) for time in value))
        if len(set(times)) < len(times):
            raise problem(f"a time is listed twice in {show(value)}", "list each once")
        return times


class VanHoveTable(GroupedTable):
    """Self part of the van Hove function, and the non-Gaussian parameter.

    Attributes:
        times: list of times of the displacements, fs; multiples of the time between samples.
        rmax: largest displacement, Å.
        bins: number of bins of equal width, from 0 to rmax.
        origin_every: samples between origins of time; memory is 24 bytes per atom for each within the longest time.
    """

    kind: Literal["van-hove"]
    times: Annotated[tuple[Time, ...], _Times()] = Field(examples=["[100, 1000]"])
    rmax: Length = 10.0
    bins: Bins = 200
    origin_every: Annotated[int, Whole(1)] = 10


class _Sums(Joint):
    """By class of atoms and time: displacements by bin, the last one beyond rmax; sums of r² (Å²) and r⁴ (Å⁴)."""

    def __init__(self, classes: int, times: int, bins: int) -> None:
        self.displacements = Counts(classes, times, bins + 1)
        self.squares, self.fourths = FixedPointSum(classes * times, SQUARES), FixedPointSum(classes * times, FOURTHS)
        super().__init__(displacements=self.displacements, squares=self.squares, fourths=self.fourths)

    def moments(self, members: list[list[int]]) -> Array:
        """(groups, times, 2) ⟨r²⟩ in Å² and ⟨r⁴⟩ in Å⁴; NaN without displacements. `members`: classes of each group."""
        terms = self.displacements.counts.sum(axis=2)
        found = []
        for part in (self.squares, self.fourths):
            values = part.value().reshape(terms.shape)
            with np.errstate(invalid="ignore"):
                found.append([values[of].sum(axis=0) / terms[of].sum(axis=0) for of in members])
        return np.moveaxis(np.array(found), 0, 2)


class VanHove(Displaced[_Sums]):
    """Histograms of displacements, by class of atoms and time, and sums of their squares and fourth powers."""

    _lags: Chosen

    def __init__(self, table: VanHoveTable, system: System, where: str) -> None:
        """Bins without displacements.

        Raises:
            InputError: a group that does not exist, or times that samples do not have.
        """
        interval = require_interval(system, where)
        self._times, self._where = table.times, where
        self._lags = Chosen(tuple(_lag(time, interval, where) for time in table.times), table.origin_every)
        self._classes = Classes(table, system, where)
        self._frame = Comoving(system.cell)
        self._last: NDArray[np.float64] = np.zeros((0, 3))  # (n_own, 3) of the last sample
        self._edges: Array = np.linspace(0.0, table.rmax, table.bins + 1)
        self._blocks = Blocks(lambda: _Sums(self._classes.count, len(table.times), table.bins))

    def add(self, sample: Sample) -> None:
        """Counts the displacements from earlier samples."""
        own = sample.by_id(position=sample.as_stored, species=sample.species)
        if self._history is None:
            self._history = self._new_history(sample, own["species"], own["position"])
        self._frame.follow(sample.cell, lambda: self._last)
        self._last = self._frame.relative(own["position"], sample.species_table.masses[own["species"]], sample.comm)
        now, compared = self._history.pairs(sample.number, self._last)
        block = self._blocks.at(sample.number)
        counts, sums = block.displacements.counts, (block.squares, block.fourths)
        scales = block.squares.high_scale, block.fourths.high_scale
        for lag, old in compared:
            words = np.zeros((self._classes.count, 2, 3), dtype=np.int64)
            _count(now, old, self._history.starts, float(1.0 / self._edges[1]), scales, counts[:, lag], words)
            columns = np.arange(self._classes.count) * len(self._times) + lag
            for k, part in enumerate(sums):
                part.add_words(columns, words[:, k, 0], words[:, k, 1])
                part.faults[columns] += words[:, k, 2]

    def result(self, comm: Comm) -> Result:
        """Returns G_s of each group and time, and α₂ with errors from blocks."""
        blocks = self._blocks.reduced(comm)
        lags = self._lags.table(blocks.n_samples)
        if len(lags) == 0:
            what = f"{blocks.n_samples} samples are fewer than the shortest of the times, {self._times[0]:g} fs, needs"
            raise InputError(what, self._where, "choose shorter ones, or more samples")
        joined, length = blocks.joined(ENOUGH)
        moments = blocks.whole().moments(self._classes.members)
        each = [block.moments(self._classes.members) for block in joined]
        alpha = _alpha(moments)
        error = standard_error(np.array([_alpha(one) for one in each]).reshape(-1, *alpha.shape))
        error[:, np.array(self._lags.lags) > length // 2] = np.nan  # blocks are not independent
        result = Result("Van Hove function, self part", [Column("r_A", 0.5 * (self._edges[1:] + self._edges[:-1]))])
        self._functions(result, blocks.whole(), len(lags))
        if len(lags) < len(self._times):
            missing = ", ".join(f"{time:g}" for time in self._times[len(lags) :])
            result.notes.append(f"The samples span less than these times, which are left out (fs): {missing}.")
        time = np.array(self._times[: len(lags)])
        columns = [Column("time_fs", time)]
        for k, name in enumerate(self._classes.names):
            mean, squares = moments[k, : len(lags), 0], alpha[k, : len(lags)]
            columns += [Column(f"msd_{name}_A2", mean), Column(f"alpha2_{name}", squares)]
            columns.append(Column(f"alpha2_{name}_err", error[k, : len(lags)]))
            for at, value, sigma in zip(time, squares, error[k], strict=False):
                label = f"non-Gaussian parameter of {name} at {at:g} fs"
                result.values.append(Value(f"alpha2_{name}_{at:g}fs", label, float(value), float(sigma), ""))
        result.more["non-gaussian"] = columns
        return result

    def rows(self) -> Mapping[str, NDArray[Any]]:
        return {} if self._history is None else {**super().rows(), "last": self._last}

    def load_rows(self, rows: Mapping[str, NDArray[Any]]) -> None:
        super().load_rows(rows)
        self._last = rows["last"]

    def bytes_held(self, n_local: int) -> float:
        blocks = 32.0 * 8.0 * len(self._times) * (len(self._edges) + 8) * max(self._classes.count, 4)
        return (24.0 * self._lags.slots(0)[0] + 64.0) * n_local + blocks

    def bytes_while_called(self, n_local: int) -> float:
        return 350.0 * n_local

    def _functions(self, result: Result, sums: _Sums, n_times: int) -> None:
        """Adds G_s of each group at the first `n_times` times to a result, and their picture."""
        counts = sums.displacements.counts
        shells = 4.0 * np.pi / 3.0 * np.diff(self._edges**3)
        middle = 0.5 * (self._edges[1:] + self._edges[:-1])
        columns, lines = list(result.columns), []
        for name, of in zip(self._classes.names, self._classes.members, strict=True):
            for k, time in enumerate(self._times[:n_times]):
                found = counts[of, k].sum(axis=0)
                density = found[:-1] / (found.sum() * shells)
                columns.append(Column(f"Gs_{name}_{time:g}fs_A-3", density))
                lines.append(Line(middle, 4.0 * np.pi * middle**2 * density, f"{name}, {time / 1000.0:g} ps"))
                if beyond := 100.0 * found[-1] / found.sum():
                    what = f"{name}: {beyond:.3g} % of the displacements in {time:g} fs"
                    result.notes.append(f"{what} are larger than rmax = {self._edges[-1]:g} Å.")
        result.columns = columns
        result.panels = [Panel(lines, "r (Å)", "4π r² $G_s$(r, τ) (1/Å)")]


def _lag(time: float, interval: float, where: str) -> int:
    """Samples in a time.

    Raises:
        InputError: it is no multiple of the time between samples.
    """
    lag = round(time / interval)
    if lag < 1 or abs(lag * interval - time) > 1e-6 * time:
        what = f"the time {time:g} fs is no multiple of the time between samples, {interval:g} fs"
        raise InputError(what, where, "choose other times, or take samples more often")
    return lag


def _alpha(moments: Array) -> Array:
    """α₂ (groups, times) of `moments` (groups, times, 2)."""
    with np.errstate(invalid="ignore"):
        return np.asarray(0.6 * moments[..., 1] / moments[..., 0] ** 2 - 1.0)


@numba.njit(cache=True, error_model="numpy")
def _count(
    now: NDArray[np.float64],
    old: NDArray[np.float64],
    starts: NDArray[np.int64],
    per_width: float,
    scales: tuple[float, float],
    counts: NDArray[np.int64],
    words: NDArray[np.int64],
) -> None:
    """Counts displacements, and adds their squares and fourth powers in fixed point (`FixedPointSum`).

    Args:
        now: (3, n) Å, a sample.
        old: (3, n) Å, an earlier one.
        starts: (classes + 1,) where each class begins.
        per_width: bins per Å.
        scales: quanta of the high word per Å² and Å⁴.
        counts: (classes, bins + 1) changed; the last bin holds all beyond.
        words: (classes, 2, 3) sums of high words, remainders and faults of the squares and fourth powers, changed.
    """
    last = counts.shape[1] - 1
    for c in range(len(starts) - 1):
        for i in range(starts[c], starts[c + 1]):
            square = 0.0
            for axis in range(3):
                square += (now[axis, i] - old[axis, i]) * (now[axis, i] - old[axis, i])
            place = np.sqrt(square) * per_width
            counts[c, np.int64(place) if place < last else last] += 1
            for k in range(2):
                scaled = (square if k == 0 else square * square) * scales[k]
                if scaled < HIGH_LIMIT:
                    whole = np.floor(scaled)
                    words[c, k, 0] += np.int64(whole)
                    words[c, k, 1] += np.int64(np.rint((scaled - whole) * 4294967296.0))
                else:
                    words[c, k, 2] += 1


def build(table: VanHoveTable, system: System, where: str) -> VanHove:
    """Makes the quantity of a table."""
    return VanHove(table, system, where)
