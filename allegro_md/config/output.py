"""``[parallel]`` and ``[output]``: how the work is divided and what is written."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, ValidationInfo

from allegro_md.config.fields import (
    Choice,
    Every,
    FilePath,
    LengthOrZero,
    Marker,
    Quantity,
    Table,
    Triple,
    Whole,
    choose,
    problem,
    show,
)
from allegro_md.config.registry import Chosen, Entry, Registry
from allegro_md.errors import InputError
from allegro_md.launcher import MOST_RANKS

FIELDS = ("position", "velocity", "force", "image")


BALANCERS: dict[str, str] = {}
"""Further balancers by their name in ``parallel.balance``: "module:class" of a `domain.balance.Balancer`."""


class _Ratio(Marker):
    def parse(self, value: Any, info: ValidationInfo) -> float:
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 1.0 <= value < math.inf:
            raise problem(f"expected a number of at least 1, got {show(value)}", "for example 1.1")
        return float(value)


class BalanceTable(Table):
    """Conditions under which planes between ranks move.

    Attributes:
        threshold: largest cost of a rank, in means of all ranks, with which they stay.
    """

    threshold: Annotated[float, _Ratio()] = 1.1


class _Balance(Marker):
    def parse(self, value: Any, info: ValidationInfo) -> str | BalanceTable:
        if isinstance(value, (dict, BalanceTable)):
            return BalanceTable.model_validate(value)
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            raise problem(f"expected a word or a table, got {show(value)}", f"write {{ threshold = {value} }}")
        return choose(value, ("auto", "off", *BALANCERS))


class _Grid(Triple):
    def parse(self, value: Any, info: ValidationInfo) -> Any:
        grid = super().parse(value, info)
        if not isinstance(grid, str) and math.prod(grid) > MOST_RANKS:
            raise problem(f"the grid {list(grid)} is for {math.prod(grid)} ranks", f"at most {MOST_RANKS} are possible")
        return grid


class ParallelConfig(Table):
    """Decomposition over ranks; nothing here changes a result.

    Attributes:
        grid: ranks along the three axes, or ``"auto"`` (least surface).
        skin: how far the neighbor list reaches beyond the cutoff, Å.
        balance: ``"auto"``: planes are moved so that all ranks are busy alike; a table says when; ``"off"``: bricks of
            equal width, or of equal numbers of atoms along free axes; or a name of `BALANCERS`.
        patience: seconds that a rank may wait for others before they are taken for lost and the run ends; 0: no limit.
    """

    grid: Annotated[Literal["auto"] | tuple[int, int, int], _Grid(word="auto")] = "auto"
    skin: LengthOrZero = 0.5
    balance: Annotated[str | BalanceTable, _Balance()] = "auto"
    patience: Annotated[float, Quantity("wall time", zero=True)] = 600.0

    def ranks_wanted(self, size: int) -> int:
        """Number of ranks the grid is for; `size`, the number of ranks of this run, if the grid is "auto"."""
        return size if isinstance(self.grid, str) else math.prod(self.grid)

    def grid_for(self, size: int, where: str = "parallel.grid") -> tuple[int, int, int] | None:
        """The rank grid asked for; None leaves the choice to the decomposition.

        Raises:
            InputError: it is for another number of ranks.
        """
        if isinstance(self.grid, str):
            return None
        wanted = self.ranks_wanted(size)
        if wanted != size:
            raise InputError(
                f"the grid {list(self.grid)} is for {wanted} ranks, but there are {size}",
                where,
                f'use mpirun -n {wanted}, or grid = "auto"',
            )
        return self.grid


class _Fields(Marker):
    def parse(self, value: Any, info: ValidationInfo) -> tuple[str, ...]:
        if not isinstance(value, (list, tuple)) or not value:
            raise problem(f"expected a list of fields, got {show(value)}", 'for example ["position", "velocity"]')
        names = tuple(choose(v, FIELDS) for v in value)
        if len(set(names)) < len(names):
            raise problem(f"a field is listed twice in {show(value)}", "list each once")
        return names


class TrajectoryConfig(Table):
    """Frames of ``trajectory.h5``.

    Attributes:
        every: steps between frames; 0: never.
        fields: what each frame holds.
        dtype: of position, velocity and force.
    """

    every: Every = Field(examples=["100"])
    fields: Annotated[tuple[str, ...], _Fields()] = ("position",)
    dtype: Annotated[Literal["float32", "float64"], Choice(("float32", "float64"))] = "float32"


class ThermoConfig(Table):
    """Rows of ``thermo.csv``.

    Attributes:
        every: steps between rows; 0: never.
    """

    every: Every = 10


class CheckpointConfig(Table):
    """Files ``checkpoint-STEP.h5``; one is always written at the end.

    Attributes:
        every: steps between checkpoints; 0: at the end only.
        keep: how many are kept.
    """

    every: Every = 1000
    keep: Annotated[int, Whole(1)] = 2


TABLES = Registry(
    "table of [output]",
    {
        "thermo": Entry("allegro_md.config.output:ThermoConfig", "allegro_md.io.thermo:build"),
        "trajectory": Entry("allegro_md.config.output:TrajectoryConfig", "allegro_md.io.h5md:build"),
    },
)
"""Observers with a key of their own in ``[output]``, built as those of `OBSERVERS`."""

def _quantity(module: str, table: str) -> Entry:
    return Entry(f"allegro_md.analysis.{module}:{table}", "allegro_md.analysis.observer:build")


OBSERVERS = Registry(
    "kind",
    {
        "rdf": _quantity("rdf", "RdfTable"),
        "msd": _quantity("msd", "MsdTable"),
        "adf": _quantity("adf", "AdfTable"),
        "coordination": _quantity("coordination", "CoordinationTable"),
        "steinhardt": _quantity("steinhardt", "SteinhardtTable"),
        "structure-factor": _quantity("structure_factor", "StructureFactorTable"),
        "profile": _quantity("profile", "ProfileTable"),
        "averages": _quantity("averages", "AveragesTable"),
        "vacf": _quantity("vacf", "VacfTable"),
        "van-hove": _quantity("van_hove", "VanHoveTable"),
        "viscosity": _quantity("viscosity", "ViscosityTable"),
        "conductivity": _quantity("conductivity", "ConductivityTable"),
        "heat-flux": Entry("allegro_md.analysis.heat_flux:HeatFluxTable", "allegro_md.analysis.heat_flux:build"),
        "thermal-conductivity": _quantity("thermal_conductivity", "ThermalConductivityTable"),
    },
)
"""Observers of ``output.observe`` by name; a builder takes the table and a `reporting.ObserverSetting`."""


def _as_list(data: Any) -> Any:
    if not isinstance(data, (list, tuple)):
        raise problem(f"expected a list of tables, got {show(data)}", 'for example [{ kind = "rdf", every = 10 }]')
    return data


Observed = Annotated[tuple[Annotated[Table, Chosen(OBSERVERS, "rdf")], ...], BeforeValidator(_as_list)]


class OutputConfig(Table):
    """Files that a run writes.

    Attributes:
        directory: the run directory, absolute path.
        trajectory: None writes none.
        thermo: rows of ``thermo.csv``.
        checkpoint: restart files.
        observe: observables computed during the run.
    """

    directory: Annotated[Path, FilePath(exists=False)] = Field(default=Path("run"), validate_default=True)
    trajectory: TrajectoryConfig | None = None
    thermo: ThermoConfig = ThermoConfig()
    checkpoint: CheckpointConfig = CheckpointConfig()
    observe: Observed = ()

    def files(self) -> list[tuple[Callable[..., Any], Table]]:
        """Builder and table of every observer with a table of its own; they go through all stages of a run."""
        return [(TABLES.builder(name), getattr(self, name)) for name in TABLES if getattr(self, name) is not None]

    def observables(self) -> list[tuple[Callable[..., Any], Table]]:
        """Builder and table of every observer in `observe`; each belongs to one stage of a run."""
        return [(OBSERVERS.builder(getattr(table, OBSERVERS.key)), table) for table in self.observe]
