"""``thermo.csv``: one row of global observables per sample."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from allegro_md.comm import Comm
from allegro_md.config.output import ThermoConfig
from allegro_md.errors import InputError
from allegro_md.io.row_writer import RowWriter
from allegro_md.reporting import PRIORITY, ObserverSetting, Snapshot, Thermo
from allegro_md.triggers import Every

NAME = "thermo.csv"
"""In the run directory."""

HEADER = (
    "step,time_fs,potential_eV,kinetic_eV,total_eV,conserved_eV,temperature_K,pressure_GPa,volume_A3,"
    "sxx_GPa,syy_GPa,szz_GPa,syz_GPa,sxz_GPa,sxy_GPa"
)
"""The first columns of every file."""

CELL_COLUMNS = "a_A,b_A,c_A,alpha_deg,beta_deg,gamma_deg,density_g_cm3"
"""They follow where the cell can change."""

WALL_COLUMN = "wall_s"

STD_COLUMN = "max_force_std_eV_A"
"""At the end of the rows of a committee: the largest force standard deviation of an atom."""


class ThermoWriter(RowWriter):
    """Observer that writes ``thermo.csv``."""

    name = "thermo"
    priority = PRIORITY["write"]
    needs = frozenset({"thermo"})
    files = (NAME,)

    def __init__(self, path: Path, every: int, comm: Comm, changes_cell: bool = False) -> None:
        """Nothing is written before the first row.

        Args:
            path: the file; an existing one is replaced, unless `load_state_dict` continues it.
            every: steps between rows.
            comm: all ranks of the simulation.
            changes_cell: the cell can change: it has columns of its own.
        """
        super().__init__(path, comm)
        self.trigger, self._changes_cell = Every(every), changes_cell

    def bytes_per_sample(self, n_atoms: int) -> float:
        """Bytes of a row."""
        return 430.0 if self._changes_cell else 300.0

    def header(self, snapshot: Snapshot) -> str:
        """The first line; that of a committee has one more column."""
        std = snapshot.thermo is not None and snapshot.thermo.max_force_std is not None
        names = [HEADER, *([CELL_COLUMNS] if self._changes_cell else []), WALL_COLUMN, *([STD_COLUMN] if std else [])]
        return ",".join(names)

    def numbers(self, snapshot: Snapshot) -> list[float]:
        """All observables, with all their digits."""
        thermo = snapshot.thermo
        if thermo is None:
            raise ValueError("the thermo reporter was called without observables")
        shape = (*snapshot.state.cell.lengths, *snapshot.state.cell.angles) if self._changes_cell else ()
        return [
            snapshot.time,
            thermo.potential,
            thermo.kinetic,
            thermo.total,
            thermo.conserved,
            thermo.temperature,
            thermo.pressure,
            thermo.volume,
            *thermo.stress,
            *shape,
            *([thermo.density] if self._changes_cell else []),
            snapshot.wall,
            *([] if thermo.max_force_std is None else [thermo.max_force_std]),
        ]


@dataclass(frozen=True)
class ThermoRows:
    """The rows of a ``thermo.csv``.

    Attributes:
        columns: name of each column → (n,) float64, in the unit that the name ends in.
    """

    columns: dict[str, NDArray[np.float64]]

    @property
    def steps(self) -> NDArray[np.int64]:
        """(n,) int64, numbers of the steps."""
        return self.columns["step"].astype(np.int64)

    @property
    def times(self) -> NDArray[np.float64]:
        """(n,) float64, fs."""
        return self.columns["time_fs"]

    def thermo(self, row: int) -> Thermo:
        """The observables of a row."""
        potential, kinetic, total, conserved, temperature, pressure, volume, *stress = (
            float(self.columns[name][row]) for name in HEADER.split(",")[2:]
        )
        std, density = self.columns.get(STD_COLUMN), self.columns.get(CELL_COLUMNS.split(",")[-1])
        return Thermo(
            potential, kinetic, total, conserved, temperature, pressure, volume, np.array(stress),
            np.nan if density is None else float(density[row]), None if std is None else float(std[row]),
        )  # fmt: skip


def read_thermo(path: Path) -> ThermoRows:
    """Reads a ``thermo.csv``, also while the run goes on; a last line without an end is left out.

    Raises:
        InputError: there is no such file, or it is none.
    """
    if not path.is_file():
        raise InputError("no such file", str(path), f"give a {NAME}, or the run directory that holds it")
    try:
        lines = path.read_text(encoding="utf-8").split("\n")[:-1]
        header = lines[0].split(",") if lines else []
        if header[: len(HEADER.split(","))] != HEADER.split(","):
            raise InputError(f"is no {NAME}: its first line names other columns", str(path), f"give a {NAME} of a run")
        rows = np.array([line.split(",") for line in lines[1:]], dtype=np.float64).reshape(-1, len(header))
    except UnicodeDecodeError:
        raise InputError(f"is no {NAME}: it is not a text", str(path), f"give a {NAME}, or the run directory") from None
    except (OSError, ValueError) as error:
        raise InputError(f"is damaged ({error})", str(path), f"give a {NAME} of a run") from None
    return ThermoRows(dict(zip(header, rows.T.copy(), strict=True)))


def build(table: ThermoConfig, setting: ObserverSetting) -> ThermoWriter:
    """Makes the observer of an input table."""
    return ThermoWriter(setting.directory / NAME, table.every, setting.comm, setting.changes_cell)
