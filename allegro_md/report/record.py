"""The record of a run, ``run.json``, as the report reads it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from allegro_md.errors import InputError
from allegro_md.io.run_directory import DYNAMICS, TRAINING


class _Part(BaseModel):
    """A part of the record; entries that the report does not use are passed over."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Dynamics(_Part):
    """The keys of ``[dynamics]`` that the report uses; `settings` has all of them. A minimization has no timestep."""

    model_config = ConfigDict(frozen=True, extra="allow")

    ensemble: str
    timestep: float = 0.0
    steps: int
    temperature: float | tuple[float, float] | None = None

    def settings(self) -> dict[str, Any]:
        """The keys of this ensemble."""
        return dict(self.__pydantic_extra__ or {})


class StageInput(_Part):
    """The input of a stage."""

    name: str
    dynamics: Dynamics


class Stage(_Part):
    """A stage that has begun: its first and last step and time so far; `ended_by` is empty while it goes on."""

    name: str
    first_step: int
    last_step: int
    begin_fs: float
    end_fs: float
    ended_by: str = ""


class ResolvedInput(_Part):
    """The input as the run used it, defaults included."""

    model_config = ConfigDict(frozen=True, extra="allow")

    dynamics: Dynamics | None = None
    stage: list[StageInput] = []
    potential: list[dict[str, Any]]


class System(_Part):
    """The atoms and the cell.

    Attributes:
        atoms: number of them.
        elements: number of atoms by symbol.
        mass_amu: of all atoms.
        cell: (3, 3) Å, lattice vectors as rows; zero where an axis has none.
        periodic: one flag per axis.
    """

    atoms: int
    elements: dict[str, int]
    mass_amu: float
    cell: tuple[tuple[float, float, float], tuple[float, float, float], tuple[float, float, float]]
    periodic: tuple[bool, bool, bool]


class Rank(_Part):
    """A process: its place, its atoms, and the seconds it spent in each phase."""

    host: str
    cores: list[int]
    threads: int
    device: str
    atoms: int
    peak_memory_MB: float  # noqa: N815  the entry's name
    seconds: dict[str, float]


class Check(_Part):
    """A check of the start, see `allegro_md.verify.result.Result`."""

    name: str
    passed: bool
    measured: float | None
    tolerance: float | None
    unit: str
    atom: int | None
    meaning: str
    compared: int
    explanation: str
    remedy: str = ""


class Certificate(_Part):
    """All checks of the start, see `allegro_md.verify.result.VerifyReport`."""

    passed: bool
    seconds: float
    samples: int
    checks: list[Check]
    remarks: list[str]


class Rollback(_Part):
    """A return to a checkpoint after a fault."""

    fault: str
    step: int
    to: int
    parts: int


class Time(_Part):
    """The account of the time of a process, see `allegro_md.simulation.time_account.TimeAccount`."""

    floor_us_per_atom_step: float | None = None
    measured_us_per_atom_step: float | None = None
    advice: list[str] = []


class Record(_Part):
    """The content of ``run.json``, see `allegro_md.simulation.record.describe`.

    Attributes:
        degrees_of_freedom: those that the temperature is made of, in the stage that the run has reached; records of
            earlier versions lack them.
        time: of the process that ran last, once it has ended.
        raw_input: the input as it stands in the file.
    """

    status: str
    step: int
    began: str
    wall_s: float
    input: ResolvedInput
    versions: dict[str, str | None]
    model_digests: list[str]
    rank_grid: tuple[int, int, int] | None
    ranks: list[Rank]
    rebuilds: int
    bit_exact: bool
    changed_on_resume: list[str] = []
    rollbacks: list[Rollback] = []
    verify: Certificate | None = None
    system: System | None = None
    degrees_of_freedom: int | None = None
    stages: list[Stage] = []
    time: Time | None = None
    raw_input: dict[str, Any]

    @model_validator(mode="after")
    def _has_dynamics(self) -> Record:
        if self.input.dynamics is None and not 0 < len(self.stages) <= len(self.input.stage):
            raise ValueError("input has neither dynamics nor a stage that has begun")
        return self

    @property
    def parts(self) -> list[tuple[int, Dynamics]]:
        """Steps made before each stage that has begun, and its ensemble; one part where there are no stages."""
        if self.input.dynamics is not None:
            return [(0, self.input.dynamics)]
        pairs = zip(self.stages, self.input.stage, strict=False)
        return [(stage.first_step, made.dynamics) for stage, made in pairs]

    @property
    def first_row(self) -> int:
        """First step whose row belongs to the stage that the run has reached; the row before ends another stage."""
        before = self.parts[-1][0]
        return before + 1 if before else 0

    @property
    def dynamics(self) -> Dynamics:
        """The ensemble of the run, or of the stage that it has reached."""
        return self.parts[-1][1]

    @property
    def steps(self) -> int:
        """Largest number of steps of the whole run."""
        if self.input.dynamics is not None:
            return self.input.dynamics.steps
        coming = self.input.stage[len(self.stages) - 1 :]
        return self.stages[-1].first_step + sum(stage.dynamics.steps for stage in coming)

    @property
    def n_atoms(self) -> int:
        """Number of atoms of the whole system."""
        return sum(rank.atoms for rank in self.ranks)


def read_record(directory: Path) -> Record:
    """Reads the record of a run directory.

    Raises:
        InputError: it is no folder, or no run directory, or a training's, or its record is damaged.
    """
    path = directory / DYNAMICS.record
    if not directory.is_dir():
        what = "is a file" if directory.exists() else "no such folder"
        raise InputError(what, str(directory), "give a run directory, the output.directory of an input")
    if not path.is_file():
        _refuse(directory)
    remedy = "restore it from a copy, or repeat the run"
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return Record.model_validate({**found, "raw_input": found["input"]})
    except ValidationError as error:
        raise InputError(f"damaged ({first_fault(error)})", str(path), remedy) from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        reason = f"entry {error} is missing" if isinstance(error, KeyError) else str(error).splitlines()[0]
        raise InputError(f"damaged ({reason})", str(path), remedy) from None


def first_fault(error: ValidationError) -> str:
    """Says what is wrong with the first faulty entry of a record."""
    first = error.errors()[0]
    return f"entry {'.'.join(map(str, first['loc']))}: {first['msg'].lower()}"


def _refuse(directory: Path) -> None:
    """Says what a directory without a record is instead.

    Raises:
        InputError: always.
    """
    if (directory / TRAINING.record).is_file():
        page = directory / "report.html"
        remedy = f"open {page}" if page.is_file() else "training writes report.html itself when it ends"
        raise InputError("is the directory of a training, which has a report of its own", str(directory), remedy)
    if (directory / "replicas.json").is_file():
        remedy = f"give one of them, as {directory / 'replica-0'}"
        raise InputError("is the directory of several replicas, each of which has a report", str(directory), remedy)
    if (directory / "log.txt").is_file():
        what = f"holds no {DYNAMICS.record}: the run ended before it wrote one"
        raise InputError(what, str(directory), f"read {directory / 'log.txt'}")
    what = f"holds no {DYNAMICS.record}: not a run directory"
    raise InputError(what, str(directory), "give the output.directory of an input")
