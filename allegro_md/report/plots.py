"""Plots of the rows of ``thermo.csv`` and of tables of observables, as SVG."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from allegro_md.figures import COLORS, figure, svg
from allegro_md.report.series import MEV, NS, PS, Series

Array = NDArray[np.float64]

MOST_POINTS = 800
"""Of a curve; of longer series intervals are drawn: their means, and their smallest and largest values as a band."""

WIDTH, HEIGHT = 5.6, 2.9
"""Inches of a plot."""


def thermo_plots(series: Series, target: Array | None) -> list[tuple[str, bytes]]:
    """Titles and SVG pictures of the quantities over time.

    Args:
        series: the rows.
        target: (rows,) temperature that the input asks for, K, or None.
    """
    n, columns = series.n_atoms, series.columns
    found = []
    if series.has("temperature_K"):
        found.append(("Temperature", _over_time(series, columns["temperature_K"], "temperature (K)", target)))
    if series.has("potential_eV"):
        label = "potential energy (eV/atom)"
        found.append(("Potential energy", _over_time(series, columns["potential_eV"] / n, label)))
    if series.has("conserved_eV"):
        energy = columns["conserved_eV"]
        change = MEV * (energy - energy[np.isfinite(energy)][0]) / n
        label = "conserved, change (meV/atom)"
        found.append(("Change of the conserved quantity", _over_time(series, change, label)))
    if series.has("pressure_GPa"):
        found.append(("Pressure", _over_time(series, columns["pressure_GPa"], "pressure (GPa)")))
    if series.has("volume_A3") and series.changes("volume_A3"):
        found.append(("Volume", _over_time(series, columns["volume_A3"] / n, "volume (Å³/atom)")))
    if series.has("max_force_std_eV_A"):
        label = "largest force std (eV/Å)"
        found.append(("Largest force standard deviation", _over_time(series, columns["max_force_std_eV_A"], label)))
    return found


def table_plot(names: list[str], columns: Array) -> bytes:
    """The curves of a table against its first column: `names` and `columns` (rows, columns)."""
    made, (axis,) = figure(1, 1, width=WIDTH, height=HEIGHT)
    for k, name in enumerate(names[1:]):
        axis.plot(columns[:, 0], columns[:, k + 1], color=COLORS[k % len(COLORS)], lw=1.2, label=name)
    axis.set_xlabel(names[0])
    if 1 < len(names) <= 9:
        axis.legend(frameon=False, fontsize=8)
    _finish(axis)
    return svg(made)


def thinned(time: Array, values: Array) -> tuple[Array, Array, Array, Array]:
    """Means and extremes of `MOST_POINTS` intervals of a long series; a short one as it is.

    Args:
        time: (rows,).
        values: (rows,) finite numbers.

    Returns:
        Times, means, smallest and largest values, each (points,).
    """
    if len(values) <= MOST_POINTS:
        return time, values, values, values
    first = np.linspace(0, len(values), MOST_POINTS, endpoint=False).astype(np.int64)
    count = np.diff(np.append(first, len(values)))
    times, means = (np.add.reduceat(x, first) / count for x in (time, values))
    return times, means, np.minimum.reduceat(values, first), np.maximum.reduceat(values, first)


def _over_time(series: Series, values: Array, label: str, target: Array | None = None) -> bytes:
    """A quantity, `values` (rows,), against the time; `target` (rows,) is drawn beside it."""
    made, (axis,) = figure(1, 1, width=WIDTH, height=HEIGHT)
    fine = np.isfinite(values)
    unit, factor = ("ns", NS) if series.time[-1] >= 10.0 * NS else ("ps", PS)
    time, mean, low, high = thinned(series.time[fine] / factor, values[fine])
    if fine.sum() > MOST_POINTS:
        axis.fill_between(time, low, high, color=COLORS[0], alpha=0.25, lw=0)
    axis.plot(time, mean, color=COLORS[0], lw=1.1, marker="." if len(time) < 3 else None)
    if target is not None:
        axis.plot(series.time / factor, target, color=COLORS[1], lw=1.1, ls="--", label="target")
        axis.legend(frameon=False, fontsize=8, loc="best")
    axis.set(xlabel=f"time ({unit})", ylabel=label)
    _finish(axis)
    return svg(made)


def _finish(axis: Any) -> None:
    axis.grid(alpha=0.25)
    axis.spines[["top", "right"]].set_visible(False)
    axis.ticklabel_format(useOffset=False)
