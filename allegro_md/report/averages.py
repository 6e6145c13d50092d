"""The table of means of ``thermo.csv``, and the sentence about the drift."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from allegro_md.report.numbers import duration, number, with_error
from allegro_md.report.series import Average, Drift, Series

STRESS = ("sxx", "syy", "szz", "syz", "sxz", "sxy")

UNSURE = "*"
"""Marks an error that is probably too small."""


@dataclass(frozen=True)
class Row:
    """A row of the table, all texts.

    Attributes:
        name: of the quantity, with its unit.
        mean, error: of all rows.
        std: of a single row.
        correlation: correlation time.
        late_mean, late_error: of the second half.
    """

    name: str
    mean: str
    error: str
    std: str
    correlation: str
    late_mean: str
    late_error: str


def averages(series: Series) -> list[Row]:
    """The rows of the table; quantities without numbers are left out."""
    n = series.n_atoms
    quantities = [
        ("temperature (K)", "temperature_K", 1.0), ("potential energy (eV/atom)", "potential_eV", 1.0 / n),
        ("kinetic energy (eV/atom)", "kinetic_eV", 1.0 / n), ("total energy (eV/atom)", "total_eV", 1.0 / n),
        ("pressure (GPa)", "pressure_GPa", 1.0), ("volume (Å³/atom)", "volume_A3", 1.0 / n),
        ("density (g/cm³)", "density_g_cm3", 1.0), *((f"{axis} (Å)", f"{axis}_A", 1.0) for axis in "abc"),
        *((f"stress {name[1:]} (GPa)", f"{name}_GPa", 1.0) for name in STRESS),
        ("largest force std (eV/Å)", "max_force_std_eV_A", 1.0),
    ]  # fmt: skip
    late = series.second_half()
    return [
        _row(name, series.average(factor * series.columns[key]), late.average(factor * late.columns[key]))
        for name, key, factor in quantities
        if series.has(key) and (key != "volume_A3" or series.changes(key))
    ]


def drift_sentence(drift: Drift | None) -> str:
    """The drift of the conserved quantity in words."""
    if drift is None:
        return "The conserved quantity has too few rows for a drift."
    slope, error = with_error(drift.slope, drift.error)
    of = f" ± {error}" if math.isfinite(drift.error) else ""
    return f"Drift of the conserved quantity: {slope}{of} meV per atom and ns, from {duration(drift.span)}."


def late_temperature(series: Series, target: NDArray[np.float64] | None) -> Average | None:
    """The mean deviation of the temperature from its target in the second half of the run, K.

    Args:
        series: the rows.
        target: (rows,) K, or None.
    """
    if target is None or not series.has("temperature_K"):
        return None
    deviation = Series(series.columns | {"deviation": series.columns["temperature_K"] - target}, series.n_atoms)
    late = deviation.second_half()
    return late.average(late.columns["deviation"])


def _row(name: str, whole: Average, late: Average) -> Row:
    mean, error = _texts(whole)
    late_mean, late_error = _texts(late)
    return Row(
        name, mean, error, number(whole.std, 3), duration(whole.correlation_time)
        if math.isfinite(whole.correlation_time) else "–", late_mean, late_error,
    )  # fmt: skip


def _texts(average: Average) -> tuple[str, str]:
    mean, error = with_error(average.mean, average.error)
    return mean, error + (UNSURE if math.isfinite(average.error) and not average.converged else "")
