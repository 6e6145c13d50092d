"""Mean square displacement, MSD(τ) = ⟨|r(t + τ) − r(t)|²⟩ over the atoms of a group and all origins t.

r is the unwrapped position relative to the centre of mass of all atoms. Where the cell changes between two samples, the
displacement is that in scaled coordinates, (s(t₂) − s(t₁)) · h(t₂): what the deformation carries along is no diffusion.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, ValidationInfo

from allegro_md.accumulators.blocks import Blocks, standard_error
from allegro_md.analysis.base import Quantity, Sample, System
from allegro_md.analysis.classes import Classes
from allegro_md.analysis.history import History, LaggedSums
from allegro_md.analysis.lags import Logarithmic
from allegro_md.analysis.result import Column, Line, Panel, Result
from allegro_md.analysis.table import AXES, GroupedTable
from allegro_md.analysis.time_axis import require_interval
from allegro_md.cell import Cell
from allegro_md.comm import Comm
from allegro_md.config.fields import Marker, Whole, problem, show
from allegro_md.errors import InputError
from allegro_md.exact import ExactSum
from allegro_md.io.wrapping import wrap

BITS = 42
"""Quanta of 2⁻⁴² Å²; squares are below 6.7e7 Å², displacements below 8 µm."""


class _Axes(Marker):
    def parse(self, value: Any, info: ValidationInfo) -> str:
        if not isinstance(value, str) or not value or value != "".join(axis for axis in AXES if axis in value):
            raise problem(f"expected axes, got {show(value)}", '"xyz", or for example "xy"')
        return value


class MsdTable(GroupedTable):
    """Mean square displacement and self-diffusion.

    Attributes:
        axes: components of the displacement that count.
        points: samples kept per factor of 4 in time, a multiple of 4: ``24 points`` bytes per atom for each factor.
    """

    kind: Literal["msd"]
    axes: Annotated[str, _Axes()] = "xyz"
    points: Annotated[int, Whole(4)] = Field(default=16)


class Msd(Quantity):
    """Sums of squares of displacements, by class of atoms and lag."""

    fields: ClassVar[tuple[str, ...]] = ("position", "image")
    divided: ClassVar[Literal["frames", "atoms", "no"]] = "atoms"

    def __init__(self, table: MsdTable, system: System, where: str) -> None:
        """Sums without terms.

        Raises:
            InputError: a group that does not exist, or no time between samples.
        """
        self._interval = require_interval(system.interval, where)
        if table.points % 4:
            raise InputError(f"points = {table.points}", where, "give a multiple of 4")
        self._classes = Classes(table, system, where)
        self._axes = [AXES.index(axis) for axis in table.axes]
        self._lags = Logarithmic(table.points)
        self._n_lags = len(self._lags.table(max(system.n_samples, 2)))
        self._where = where
        self._history: History | None = None
        self._center: NDArray[np.float64] = np.zeros(3)
        self._cell = system.cell
        self._affine: NDArray[np.float64] | None = None  # (n_own, 3) what the cell's changes have carried along
        self._blocks = Blocks(self._sums)
        self._number = -1

    def add(self, sample: Sample) -> None:
        """Compares the positions of a sample with earlier ones."""
        own = sample.by_id(position=sample.position, species=sample.species)
        if self._history is None:
            self._history = self._new_history(sample, own)
        self._follow(sample.cell)
        position = own["position"] if self._affine is None else own["position"] - self._affine
        center = centre_of_mass(position, sample.species_table.masses[own["species"]], sample.comm)
        sums = self._blocks.at(sample.number)
        self._history.add(sample.number, position - center, sums, product=False, axes=self._axes)
        self._center, self._number = center, sample.number

    def result(self, comm: Comm) -> Result:
        """Returns the MSD of each group at all lags, with errors from blocks."""
        blocks = self._blocks.reduced(comm)
        if blocks.n_samples < 2:
            raise InputError(f"{blocks.n_samples} samples give no displacement", self._where, "two are needed at least")
        lags = self._lags.table(blocks.n_samples)
        members = self._classes.members
        msd = blocks.whole().means(members)[:, : len(lags)]
        each = np.array([block.means(members)[:, : len(lags)] for block in blocks.complete()])
        error = standard_error(each)
        error[:, lags >= blocks.length] = np.nan  # the blocks are not independent of each other
        time = np.asarray(lags * self._interval, dtype=np.float64)
        columns = [Column("time_fs", time)]
        for name, values, errors in zip(self._classes.names, msd, error, strict=True):
            columns += [Column(f"msd_{name}_A2", values), Column(f"msd_{name}_err_A2", errors)]
        result = Result("Mean square displacement", columns)
        lines = [
            Line(time[1:] / 1000.0, values[1:], name, errors[1:])
            for name, values, errors in zip(self._classes.names, msd, error, strict=True)
        ]
        result.panels = [Panel(lines, "time (ps)", "MSD (Å²)"), Panel(lines, "time (ps)", "MSD (Å²)", logarithmic=True)]
        return result

    def state_dict(self, comm: Comm) -> dict[str, Any]:
        return {
            "blocks": self._blocks.reduced(comm).state_dict(), "classes": self._classes.state_dict(),
            "center": self._center.tolist(), "cell": self._cell.matrix.tolist(), "number": self._number,
            "lags": self._n_lags,
        }  # fmt: skip

    def load_state_dict(self, state: dict[str, Any], comm: Comm) -> None:
        self._classes.load_state_dict(state["classes"])
        self._n_lags = max(self._n_lags, state["lags"])
        self._blocks.load_state_dict(state["blocks"])
        if comm.rank > 0:
            self._blocks.clear()
        self._center, self._number = np.array(state["center"]), state["number"]
        self._cell = self._cell.with_matrix(np.array(state["cell"]))

    def rows(self) -> Mapping[str, NDArray[Any]]:
        if self._history is None:
            return {}
        return self._history.rows() | ({} if self._affine is None else {"affine": self._affine})

    def load_rows(self, rows: Mapping[str, NDArray[Any]]) -> None:
        self._history = History.restored(self._lags, self._classes.count, rows)
        self._affine = rows["affine"] if "affine" in rows else None

    def bytes_held(self, n_local: int) -> float:
        levels = max(1, self._n_lags // self._lags.points + 2)
        return 24.0 * n_local * self._lags.points * levels + 1e6 * len(self._classes.names)

    def _new_history(self, sample: Sample, own: Mapping[str, NDArray[Any]]) -> History:
        """An empty history of the atoms of this rank's range of ids (collective); `own` are their rows."""
        ids = np.arange(sample.partition.start, sample.partition.stop)
        wrapped, _ = wrap(own["position"], sample.cell, np.float64)
        self._cell = sample.cell
        return History(self._lags, self._classes.assign(sample, ids, own["species"], wrapped), self._classes.count)

    def _follow(self, cell: Cell) -> None:
        """Adds what a change of the cell since the last sample carries along: s · (h − h₀), with s of that sample."""
        before, self._cell = self._cell, cell
        if self._history is None or np.array_equal(before.matrix, cell.matrix):
            return
        carried = 0.0 if self._affine is None else self._affine
        last = self._history.newest(self._number) + self._center + carried
        self._affine = carried + (last - before.origin) @ (before.inverse @ cell.matrix - np.eye(3))

    def _sums(self) -> LaggedSums:
        return LaggedSums(self._classes.count, self._n_lags, BITS)


def centre_of_mass(
    position: NDArray[np.float64], masses: NDArray[np.float64], comm: Comm
) -> NDArray[np.float64]:
    """(3,) Å, the same bits on any number of ranks (collective).

    Args:
        position: (n, 3) float64, Å, unwrapped, of atoms that no other rank gives.
        masses: (n,) float64, amu.
        comm: all ranks.
    """
    moment = comm.reduce(ExactSum.of(position * masses[:, None], "mass moment"))
    return np.asarray(moment / comm.reduce(ExactSum.of(masses, "mass")))


def build(table: MsdTable, system: System, where: str) -> Msd:
    """Makes the quantity of a table."""
    return Msd(table, system, where)
