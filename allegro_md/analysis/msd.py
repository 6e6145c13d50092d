"""Mean square displacement, MSD(τ) = ⟨|r(t + τ) − r(t)|²⟩ over the atoms of a group and all origins t.

r is the unwrapped position in a frame that moves with the center of mass and with the cell (`comoving`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationInfo, model_validator

from allegro_md.accumulators.blocks import Blocks
from allegro_md.analysis.base import Sample, System
from allegro_md.analysis.classes import Classes
from allegro_md.analysis.comoving import Comoving
from allegro_md.analysis.diffusion import (
    FEWEST_BLOCKS,
    Diffusion,
    Displacements,
    diffusion,
    finite_size_correction,
    is_cube,
)
from allegro_md.analysis.history import LaggedSums
from allegro_md.analysis.lags import Logarithmic, Points
from allegro_md.analysis.result import Array, Column, Line, Panel, Result, Value
from allegro_md.analysis.table import GroupedTable
from allegro_md.analysis.time_axis import require_interval
from allegro_md.analysis.tracked import Displaced
from allegro_md.comm import Comm
from allegro_md.config.fields import Marker, Temperature, Viscosity, problem, show
from allegro_md.config.groups import AXES
from allegro_md.errors import InputError
from allegro_md.units import A2_PER_FS_IN_CM2_PER_S

BITS = 42
"""Quanta of 2⁻⁴² Å²; squares are below 6.7e7 Å², displacements below 8192 Å."""


class _Axes(Marker):
    def parse(self, value: Any, info: ValidationInfo) -> str:
        if not isinstance(value, str) or not value or value != "".join(axis for axis in AXES if axis in value):
            raise problem(f"expected axes, got {show(value)}", '"xyz", or for example "xy"')
        return value


class MsdTable(GroupedTable):
    """Mean square displacement and self-diffusion.

    Attributes:
        axes: components of the displacement that count, for example xy.
        points: samples kept per factor of 4 in time, a multiple of 4: 24 · points bytes per atom for each factor.
        temperature: K, for the finite-size correction of D.
        viscosity: mPa·s, of the same model, for the finite-size correction of D.
    """

    kind: Literal["msd"]
    axes: Annotated[str, _Axes()] = "xyz"
    points: Points = 16
    temperature: Temperature | None = None
    viscosity: Viscosity | None = None

    @model_validator(mode="after")
    def _both(self) -> MsdTable:
        if (self.temperature is None) != (self.viscosity is None):
            given, lacks = ("viscosity", "temperature") if self.temperature is None else ("temperature", "viscosity")
            raise problem(f"{given} without {lacks}: the finite-size correction needs both", f"give {lacks}", given)
        return self


class Msd(Displaced[LaggedSums]):
    """Sums of squares of displacements, by class of atoms and lag."""

    def __init__(self, table: MsdTable, system: System, where: str) -> None:
        """Sums without terms.

        Raises:
            InputError: a group that does not exist, or no time between samples.
        """
        self._interval = require_interval(system, where)
        self._classes = Classes(table, system, where)
        self._axes = [AXES.index(axis) for axis in table.axes]
        self._lags = Logarithmic(table.points)
        self._n_lags = len(self._lags.table(max(system.n_samples, 2)))
        self._where, self._table = where, table
        self._frame = Comoving(system.cell)
        self._blocks = Blocks(self._sums)
        self._number, self._n_total, self._n_samples = -1, system.n_total, system.n_samples

    def add(self, sample: Sample) -> None:
        """Compares the positions of a sample with earlier ones."""
        own = sample.by_id(position=sample.position, species=sample.species)
        if self._history is None:
            self._history = self._new_history(sample, own["species"], own["position"])
        history, last = self._history, self._number
        self._frame.follow(sample.cell, lambda: history.newest(last))
        moved = self._frame.relative(own["position"], sample.species_table.masses[own["species"]], sample.comm)
        history.add(sample.number, moved, self._blocks.at(sample.number), product=False, axes=self._axes)
        self._number = sample.number

    def result(self, comm: Comm) -> Result:
        """Returns the MSD of each group at all lags, with errors from blocks, and D."""
        groups = self.displacements(comm)
        found = {name: diffusion(name, moved, self.spacing) for name, moved in groups.items()}
        some = next(iter(groups.values()))
        time = np.asarray(some.lags * self._interval, dtype=np.float64)
        columns = [Column("time_fs", time)]
        for name, moved in groups.items():
            columns += [Column(f"msd_{name}_A2", moved.msd), Column(f"msd_{name}_err_A2", moved.errors)]
        result = Result("Mean square displacement", columns, panels=_panels(time, groups, found))
        self._report(result, found)
        return result

    def displacements(self, comm: Comm) -> dict[str, Displacements]:
        """Those of each group so far (collective).

        Raises:
            InputError: there are too few samples.
        """
        blocks = self._blocks.reduced(comm)
        if blocks.n_samples < 2:
            raise InputError(f"{blocks.n_samples} samples give no displacement", self._where, "two are needed at least")
        lags, strides = self._lags.table(blocks.n_samples), self._lags.strides(blocks.n_samples)
        members = self._classes.members
        joined, length = blocks.joined(FEWEST_BLOCKS)
        whole = blocks.whole().means(members)[:, : len(lags)]
        each = np.array([block.means(members)[:, : len(lags)] for block in joined])
        return {
            name: Displacements(
                lags, strides, self._interval, blocks.n_samples, len(self._axes), whole[k], each[:, k], length
            )
            for k, name in enumerate(self._classes.names)
        }

    def newest(self) -> NDArray[np.float64]:
        """(n_own, 3) Å, positions of the last sample in the frame of `comoving`, in the order of ids."""
        assert self._history is not None
        return self._history.newest(self._number)

    @property
    def spacing(self) -> float:
        """About the distance between neighbors, Å; NaN: the cell has no volume."""
        return float(np.cbrt(self._frame.cell.volume / self._n_total)) if self._frame.cell.bounded else np.nan

    def state_dict(self, comm: Comm) -> dict[str, Any]:
        return super().state_dict(comm) | {"number": self._number, "lags": self._n_lags}

    def load_state_dict(self, state: dict[str, Any], comm: Comm) -> None:
        self._n_lags = max(self._n_lags, state["lags"])
        super().load_state_dict(state, comm)
        self._number = state["number"]

    def bytes_held(self, n_local: int) -> float:
        slots = sum(self._lags.slots(max(self._n_samples, 1) - 1))
        return (24.0 * slots + 40.0) * n_local + 1e6 * len(self._classes.names)

    def _sums(self) -> LaggedSums:
        return LaggedSums(self._classes.count, self._n_lags, BITS)

    def _report(self, result: Result, found: Mapping[str, Diffusion]) -> None:
        """Adds the diffusion coefficients of the groups, `found`, as a table, values and notes."""
        correction = self._correction(result.notes)
        rows: list[tuple[str, float, float, str, float, float, float]] = []
        for name, one in found.items():
            result.notes.append(one.note)
            label = f"self-diffusion coefficient of {name}"
            result.values.append(Value(f"D_{name}", label, one.value, one.error, "cm2/s"))
            rows += [
                (name, one.value, one.error, "gls", one.first, one.last, one.value + correction),
                (name, one.plain, one.plain_error, "ols", one.first, one.last, one.plain + correction),
            ]
            if np.isfinite(correction):
                corrected = one.value + correction
                label += ", corrected for the size of the cell"
                result.values.append(Value(f"D_corrected_{name}", label, corrected, one.error, "cm2/s"))
        names = ("element", "D_cm2_s", "D_err_cm2_s", "method", "from_fs", "to_fs", "D_corrected_cm2_s")
        columns = zip(names, zip(*rows, strict=True), strict=True)
        result.more["diffusion"] = [
            Column(name, [str(v) for v in values] if name in ("element", "method") else np.array(values, np.float64))
            for name, values in columns
        ]

    def _correction(self, notes: list[str]) -> float:
        """The finite-size correction, cm²/s, with its assumptions added to `notes`; NaN: none."""
        if self._table.temperature is None or self._table.viscosity is None:
            return np.nan
        if not all(self._frame.cell.periodic) or len(self._axes) < 3:
            notes.append("There is no finite-size correction: it is for three axes, all of them periodic.")
            return np.nan
        if not is_cube(self._frame.cell):
            edge = np.cbrt(self._frame.cell.volume)
            notes.append(f"The finite-size correction is that of a cube of the same volume, of edge {edge:.4g} Å.")
        return finite_size_correction(self._table.temperature, self._table.viscosity, self._frame.cell)


def _panels(time: Array, groups: Mapping[str, Displacements], found: Mapping[str, Diffusion]) -> list[Panel]:
    """Pictures of the MSD with the lines that were fitted, over their ranges: `time` (n,) fs."""
    lines = [Line(time[1:] / 1000.0, moved.msd[1:], name, moved.errors[1:]) for name, moved in groups.items()]
    for name, one in found.items():
        if np.isfinite(one.value):
            x = np.geomspace(one.first, one.last, 50)
            y = one.offset + 2.0 * groups[name].dimensions * one.value / A2_PER_FS_IN_CM2_PER_S * x
            lines.append(Line(x / 1000.0, y, f"{name}: fit", dashed=True))
    return [Panel(lines, "time (ps)", "MSD (Å²)"), Panel(lines, "time (ps)", "MSD (Å²)", logarithmic=True)]


def build(table: MsdTable, system: System, where: str) -> Msd:
    """Makes the quantity of a table."""
    return Msd(table, system, where)
