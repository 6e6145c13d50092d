"""Means of the global observables of ``thermo.csv``, with errors that account for the correlation of samples.

Errors are those of blocking, see `accumulators.Mean`. The correlation time is the integrated one,
τ = ∫ c(t)/c(0) dt from 0 to ∞: samples 2τ apart count as independent. The drift is the slope of a straight line through
all samples; its error takes the scatter about the line and the same correlation.
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any, ClassVar, Literal

import numpy as np

from allegro_md.accumulators.mean import FEWEST_BLOCKS, Estimate, Mean
from allegro_md.accumulators.total import Total
from allegro_md.analysis.base import Quantity, Sample, System, require_samples
from allegro_md.analysis.result import Array, Column, Result, Value
from allegro_md.analysis.table import QuantityTable
from allegro_md.comm import Comm
from allegro_md.errors import PhysicsError
from allegro_md.evaluation import Needs
from allegro_md.reporting import Thermo

VOIGT = ("xx", "yy", "zz", "yz", "xz", "xy")
"""Components of the stress, in their order."""

UNITS = {
    "temperature": "K", "pressure": "GPa", "potential": "eV", "kinetic": "eV", "total": "eV", "conserved": "eV",
    "volume": "Å³", "density": "g/cm³", "max_force_std": "eV/Å",
} | {f"stress_{part}": "GPa" for part in VOIGT}  # fmt: skip
"""Observable → unit."""

LABELS = {
    "potential": "potential energy", "kinetic": "kinetic energy", "total": "total energy",
    "conserved": "conserved energy", "max_force_std": "largest force standard deviation",
}  # fmt: skip
"""Of those whose name is no word for readers."""

ENOUGH = 4.0 * FEWEST_BLOCKS**1.5
"""Samples n per 1 + 2τ with which `accumulators.Mean` finds `FEWEST_BLOCKS` independent blocks: their length b is a
power of 2 with b³ > 2 n (1 + 2τ)², so that it is up to twice as long as it must be."""

DRIFTS = 4.0
"""A drift of so many standard errors is pointed out."""


class AveragesTable(QuantityTable):
    """Means of temperature, pressure, stress, energies and volume, with errors, correlation times and drifts."""

    of_thermo: ClassVar[bool] = True

    kind: Literal["averages"]


class Averages(Quantity):
    """Sums over a series of global observables."""

    fields = ()
    needs: ClassVar[Needs] = frozenset({"thermo"})
    divided: ClassVar[Literal["frames", "atoms", "no"]] = "no"

    def __init__(self, table: AveragesTable, system: System, where: str) -> None:
        """A series without samples."""
        self._interval, self._where = system.interval, where
        self._names: list[str] = []
        self._mean, self._weighted = Mean(0), Total(0)

    def add(self, sample: Sample) -> None:
        """Adds the observables of a sample.

        Raises:
            PhysicsError: one is not finite.
        """
        if sample.thermo is None:
            raise TypeError("a sample without thermo, which this quantity needs")
        values = _observables(sample.thermo)
        if not self._names:
            self._begin([name for name, value in values.items() if math.isfinite(value)])
        row = np.array([values.get(name, math.nan) for name in self._names])
        if not np.isfinite(row).all():
            name = self._names[int(np.argmin(np.isfinite(row)))]
            raise PhysicsError(f"{name} is not finite at step {sample.step} ({self._where})")
        self._mean.add(row, first=sample.number)
        coarse = row.astype(np.float32).astype(np.float64)  # two parts, whose products with a number are exact
        self._weighted.add(sample.number * np.stack([coarse, row - coarse]))

    def result(self, comm: Comm) -> Result:
        """Returns means, errors, correlation times and drifts."""
        n = self._mean.n_samples
        require_samples(n, self._where)
        found = self._mean.estimate()
        drift, drift_error = self._drifts(found)
        tau = np.maximum(0.5 * (found.inefficiency - 1.0), 0.0) * self._interval
        needed = self._needed(found) * self._interval / 1000.0
        units = [UNITS[name] for name in self._names]
        result = Result(
            "Averages of global observables",
            [
                Column("name", self._names), Column("unit", units), Column("mean", found.mean),
                Column("err", found.error), Column("tau_fs", tau), Column("drift_per_ps", drift),
                Column("drift_err_per_ps", drift_error), Column("needed_ps", needed),
            ],
        )  # fmt: skip
        for k, (name, unit) in enumerate(zip(self._names, units, strict=True)):
            label = LABELS.get(name, name.replace("_", " "))
            result.values.append(Value(name, f"mean {label}", float(found.mean[k]), float(found.error[k]), unit))
            if name == "conserved":
                value, error = float(drift[k]), float(drift_error[k])
                result.values.append(Value("drift_conserved", f"drift of the {label}", value, error, "eV/ps"))
        result.notes = [*self._unconverged(found), *self._drifting(found, drift, drift_error)]
        if not math.isfinite(self._interval):
            result.notes.append("The samples are not equally spaced in time: correlation times and drifts are unknown.")
        return result

    def state_dict(self, comm: Comm) -> dict[str, Any]:
        return {
            "names": self._names, "mean": self._mean.state_dict(), "weighted": self._weighted.state_dict()
        }  # fmt: skip

    def load_state_dict(self, state: dict[str, Any], comm: Comm) -> None:
        self._begin(state["names"])
        self._mean.load_state_dict(state["mean"])
        self._weighted.load_state_dict(state["weighted"])

    def bytes_while_called(self, n_local: int) -> float:
        return 0.0

    def _begin(self, names: list[str]) -> None:
        self._names, self._mean, self._weighted = list(names), Mean(len(names)), Total(len(names))

    def _drifts(self, found: Estimate) -> tuple[Array, Array]:
        """Slopes (columns,) of straight lines and their standard errors, per ps."""
        n = found.n_samples
        if n < 3:
            unknown = np.full(len(self._names), np.nan)
            return unknown, unknown
        spread = Fraction(n * (n * n - 1), 12)  # Σ (k − k̄)² of k = 0 … n − 1
        sums = self._weighted.fractions()
        # Σ k (y − ȳ), from sums without rounding: ȳ of an energy has many digits more than the drift
        means = self._mean.exact_means()
        slope = np.array([float((s - m * Fraction(n * (n - 1), 2)) / spread) for s, m in zip(sums, means, strict=True)])
        with np.errstate(divide="ignore", invalid="ignore"):
            variance = np.where(found.error > 0.0, found.error**2 * n / found.inefficiency, 0.0)
        scatter = np.maximum(variance - slope**2 * float(spread) / n, 0.0)
        error = np.sqrt(scatter * found.inefficiency / float(spread))
        per_ps = 1000.0 / self._interval
        return slope * per_ps, error * per_ps

    def _needed(self, found: Estimate) -> Array:
        """(columns,) samples that a series should have at least for a reliable error; NaN where it has."""
        lacking = ~found.converged & (found.error > 0.0)
        return np.where(lacking, np.maximum(ENOUGH * found.inefficiency, 2.0 * found.n_samples), np.nan)

    def _unconverged(self, found: Estimate) -> list[str]:
        """A sentence about the means whose errors are not to be trusted."""
        needed = self._needed(found)
        lacking = [name for name, number in zip(self._names, needed, strict=True) if not math.isnan(number)]
        if not lacking:
            return []
        slowest = int(np.nanargmax(needed))
        times = f"{needed[slowest] / found.n_samples:.2g} times as long"
        length = f", {needed[slowest] * self._interval / 1000.0:.3g} ps" if math.isfinite(self._interval) else ""
        return [
            f"Warning: the series is too short for the errors of {', '.join(lacking)}: the true ones are probably "
            f"larger. For {self._names[slowest]}, the slowest, it should be at least {times}{length}."
        ]

    def _drifting(self, found: Estimate, drift: Array, error: Array) -> list[str]:
        """A sentence about means that change during the series; `drift` and `error` (columns,) per ps."""
        length = found.n_samples * self._interval / 1000.0
        moving = [
            f"{name} by {drift[k] * length:.3g} ± {error[k] * length:.2g} {UNITS[name]}"
            for k, name in enumerate(self._names)
            if name not in ("total", "conserved") and abs(drift[k]) > DRIFTS * error[k]
        ]
        if not moving:
            return []
        return [
            f"Warning: the series drifts, {', '.join(moving)} from beginning to end: its means are not those of an "
            "equilibrium. Leave out the beginning ('after')."
        ]


def _observables(thermo: Thermo) -> dict[str, float]:
    """All observables by name, as in `UNITS`."""
    stress = {f"stress_{part}": float(value) for part, value in zip(VOIGT, thermo.stress, strict=True)}
    plain = {name: getattr(thermo, name) for name in UNITS if name not in stress}
    return {name: math.nan if value is None else float(value) for name, value in (plain | stress).items()}


def build(table: AveragesTable, system: System, where: str) -> Averages:
    """Makes the quantity of a table."""
    return Averages(table, system, where)
