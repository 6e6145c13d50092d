"""The rows of ``thermo.csv``: means with errors, drift, deviation from the target temperature."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from allegro_md.accumulators import Mean
from allegro_md.report.record import Dynamics, Record

Array = NDArray[np.float64]

MEV = 1e3
"""meV in an eV."""

PS = 1e3
"""fs in a ps."""

NS = 1e6
"""fs in a ns."""


@dataclass(frozen=True)
class Average:
    """The mean of a quantity over some rows.

    Attributes:
        mean: in the unit of the quantity.
        error: standard error of the mean by blocking; NaN with fewer than two rows.
        std: standard deviation of a single row.
        converged: False if the rows are too few for their correlation, so that the error is probably too small.
        correlation_time: fs between rows that are independent, divided by two; NaN with fewer than two rows.
        n_rows: number of rows.
    """

    mean: float
    error: float
    std: float
    converged: bool
    correlation_time: float
    n_rows: int


@dataclass(frozen=True)
class Drift:
    """Slope of the conserved quantity, from a least-squares fit of a straight line.

    Attributes:
        slope: meV per atom and ns.
        error: its standard error, with the correlation of the rows taken into account; where the rows are too few for
            their correlation, at least their standard deviation about the line over its length. NaN with fewer than
            four rows.
        span: length of the rows, fs.
    """

    slope: float
    error: float
    span: float


class Series:
    """The rows of a run.

    Attributes:
        time: (rows,) float64, fs.
        step: (rows,) float64.
        n_atoms: of the system.
        columns: by the names in the file, (rows,) float64 each.
    """

    def __init__(self, columns: dict[str, Array], n_atoms: int) -> None:
        """`columns`: by the names in the header of the file, (rows,) each; `n_atoms` of the system."""
        self.columns, self.n_atoms = columns, n_atoms
        self.time, self.step = columns["time_fs"], columns["step"]

    def __len__(self) -> int:
        return len(self.step)

    def has(self, name: str) -> bool:
        """Tells if there is such a column with a number in it."""
        return name in self.columns and bool(np.isfinite(self.columns[name]).any())

    def second_half(self) -> Series:
        """The rows of the second half of the time."""
        later = self.time >= 0.5 * (self.time[0] + self.time[-1]) if len(self) else slice(None)
        return Series({name: values[later] for name, values in self.columns.items()}, self.n_atoms)

    def since(self, step: int) -> Series:
        """The rows from a step on."""
        later = self.step >= step
        return Series({name: values[later] for name, values in self.columns.items()}, self.n_atoms)

    def changes(self, name: str) -> bool:
        """Tells if a quantity has more than one value."""
        values = self.columns[name][np.isfinite(self.columns[name])]
        return len(values) > 1 and bool(np.ptp(values) > 0.0)

    def average(self, values: Array) -> Average:
        """The mean of a quantity, `values` (rows,); rows in which it is no number are left out."""
        values = values[np.isfinite(values)]
        if len(values) == 0:
            return Average(math.nan, math.nan, math.nan, False, math.nan, 0)
        total = Mean()
        total.add(values)
        found = total.estimate()
        std = float(values.std(ddof=1)) if len(values) > 1 else math.nan
        independent = float(found.error[0])
        naive = std / math.sqrt(len(values))
        spacing = float(np.median(np.diff(self.time))) if len(self) > 1 else math.nan
        time = 0.5 * spacing * (independent / naive) ** 2 if naive > 0.0 else math.nan
        return Average(float(found.mean[0]), independent, std, bool(found.converged[0]), time, len(values))

    def drift(self) -> Drift | None:
        """The drift of the conserved quantity; None where there is none, or fewer than two rows."""
        if not self.has("conserved_eV") or len(self) < 2:
            return None
        energy = MEV * self.columns["conserved_eV"] / self.n_atoms
        fine = np.isfinite(energy)
        time, energy = self.time[fine] / NS, energy[fine]
        if len(time) < 2 or np.ptp(time) == 0.0:
            return None
        about = time - time.mean()
        spread = float(about @ about)
        slope = float(about @ (energy - energy.mean())) / spread
        span, error = float(np.ptp(time)), math.nan
        if len(time) > 3:
            rest = self.average(energy - energy.mean() - slope * about)
            error = rest.error * math.sqrt(len(time) / spread) * math.sqrt(len(time) / (len(time) - 2))
            error = error if rest.converged else max(error, rest.std / span)
        return Drift(slope, error, span * NS)

    def speed(self) -> tuple[float, float] | None:
        """ns/day, and µs per atom and step, between the first and the last row; None where nothing can be told."""
        if len(self) < 2 or "wall_s" not in self.columns:
            return None
        seconds, steps = (float(np.ptp(self.columns[name])) for name in ("wall_s", "step"))
        if seconds <= 0.0 or steps <= 0.0:
            return None
        return float(np.ptp(self.time)) / NS / seconds * 86400.0, 1e6 * seconds / steps / self.n_atoms


def target_temperature(parts: Sequence[tuple[int, Dynamics]], step: Array) -> Array | None:
    """The temperature that the input asks for at some steps.

    Args:
        parts: steps before each stage, and its ensemble (`Record.parts`).
        step: (rows,).

    Returns:
        (rows,) K, NaN in stages without a temperature; None where no stage has one.
    """
    found = np.full(len(step), np.nan)
    for before, dynamics in parts:
        target = dynamics.temperature
        first, last = target if isinstance(target, tuple) else (target, target)
        if first is None or last is None:
            found[step > before] = np.nan
        else:
            share = np.clip((step - before) / max(1, dynamics.steps), 0.0, 1.0)
            found = np.where(step >= before, first + (last - first) * share, found)
    return found if np.isfinite(found).any() else None


def single_reading_std(record: Record, temperature: float) -> float:
    """The standard deviation of a single reading of the temperature in the canonical ensemble, T·√(2/f), K."""
    given = record.degrees_of_freedom
    freedom = max(1, 3 * record.n_atoms - 3 if given is None else given)
    return temperature * math.sqrt(2.0 / freedom)
