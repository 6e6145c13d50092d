"""The whole input as one frozen object, and its way back to TOML."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from pydantic import Field, model_validator

from allegro_md.config.dynamics import Dynamics, TemperatureConfig
from allegro_md.config.fields import Table, problem
from allegro_md.config.groups import Groups, require_known
from allegro_md.config.guard import GuardConfig, StopConfig
from allegro_md.config.output import OutputConfig, ParallelConfig
from allegro_md.config.potential import AllegroTerm, LennardJonesTerm, PotentialConfig
from allegro_md.config.replicas import ReplicasConfig, filled, require_exchangeable, with_seeds_raised
from allegro_md.config.stage import StageConfig, completed
from allegro_md.config.system import SystemConfig

SEEDED = ("system", "dynamics", "stage", "output")
"""Tables whose seeds differ from replica to replica."""

REPLICA = "replica-"
"""Beginning of the name of a replica's directory."""


class Input(Table):
    """A validated input: every default filled in, quantities in eV, Å, fs, amu, K, GPa, paths absolute.

    Attributes:
        system: the atoms.
        potential: the terms whose energies are summed, at least one.
        group: groups of atoms, of which the dynamics may name some.
        dynamics: the integrator and its parameters; the class tells the ensemble. Of a run in stages: of the first.
        stage: the stages of a run, if it has any.
        parallel: decomposition.
        guard: limits beyond which the physics has broken.
        stop: an end before the last step.
        output: what is written.
        replicas: copies of the run; None: it is one run.
    """

    system: SystemConfig = Field(examples=['{ structure = "start.extxyz" }'])
    potential: PotentialConfig = Field(examples=['{ model = "ag.allegro" }'])
    group: Groups = ()
    dynamics: Dynamics = Field(examples=['{ ensemble = "nve", timestep = 2.0, steps = 1000 }'])
    stage: tuple[StageConfig, ...] = ()
    parallel: ParallelConfig = ParallelConfig()
    guard: GuardConfig = GuardConfig()
    stop: StopConfig = StopConfig()
    output: OutputConfig = Field(default_factory=lambda: OutputConfig())
    replicas: ReplicasConfig | None = None

    @model_validator(mode="before")
    @classmethod
    def _fill_temperatures(cls, data: Any) -> Any:
        """Fills the temperatures that replicas have one by one."""
        return filled(data) if isinstance(data, dict) else data

    @model_validator(mode="before")
    @classmethod
    def _complete_stages(cls, data: Any) -> Any:
        """Fills the stages from the tables above them, which are templates then."""
        if not isinstance(data, dict) or "stage" not in data or data["stage"] == ():
            return data
        stages = completed(data["stage"], data.get("dynamics"), data.get("output", {}))
        return {**data, "stage": stages, "dynamics": stages[0]["dynamics"]}

    @model_validator(mode="after")
    def _one_trajectory(self) -> Input:
        for index, stage in enumerate(self.stage):
            first, now = self.stage[0].output.trajectory, stage.output.trajectory
            if (first is None) != (now is None):
                what, key = "a trajectory goes through all stages or none", f"stage.{index}.output"
                raise problem(what, "set output.trajectory, and every = 0 in stages without frames", key)
            if first and now and (first.fields, first.dtype) != (now.fields, now.dtype):
                key = f"stage.{index}.output.trajectory"
                raise problem("fields and dtype are those of the whole run", "set them in output.trajectory", key)
        return self

    @model_validator(mode="after")
    def _exchanges(self) -> Input:
        if self.replicas is not None and self.replicas.exchange is not None:
            require_exchangeable(self.dynamics, self.output, self.guard, bool(self.stage), self.replicas.exchange)
        return self

    def replica(self, index: int) -> Input:
        """The input of a replica alone: seeds raised by its index, its temperature and its directory."""
        assert self.replicas is not None
        raised = {name: with_seeds_raised(getattr(self, name), index) for name in SEEDED}
        place = {"directory": self.output.directory / f"{REPLICA}{index}"}
        raised["output"] = raised["output"].model_copy(update=place)
        raised["stage"] = tuple(
            stage.model_copy(update={"output": stage.output.model_copy(update=place)}) for stage in raised["stage"]
        )
        if self.replicas.temperatures is not None:
            warm = {"temperature": self.replicas.temperatures[index]}
            if isinstance(self.dynamics, TemperatureConfig):
                raised["dynamics"] = raised["dynamics"].model_copy(update=warm)
            if self.system.velocities is not None:
                velocities = raised["system"].velocities.model_copy(update=warm)
                raised["system"] = raised["system"].model_copy(update={"velocities": velocities})
        return self.model_copy(update={**raised, "replicas": None})

    @property
    def stages(self) -> tuple[StageConfig, ...]:
        """The stages; a run without any is one stage without a name."""
        if self.stage:
            return self.stage
        return (StageConfig.model_construct(name="", dynamics=self.dynamics, output=self.output),)

    @property
    def steps(self) -> int:
        """Largest number of steps of the whole run."""
        return sum(stage.dynamics.steps for stage in self.stages)

    @property
    def changes_cell(self) -> bool:
        """The cell changes in some stage."""
        return any(stage.dynamics.changes_cell for stage in self.stages)

    def of_stage(self, index: int) -> Input:
        """The input as it is for a stage: its dynamics, output and velocities; other tables are those of the run."""
        stage = self.stages[index]
        own: dict[str, Any] = {"dynamics": stage.dynamics, "output": stage.output}
        if stage.velocities is not None:
            own["system"] = self.system.model_copy(update={"velocities": stage.velocities})
        return self.model_copy(update=own)

    @model_validator(mode="after")
    def _crystal_in_potential(self) -> Input:
        crystal = self.system.crystal
        for index, term in enumerate(self.potential):
            if crystal and isinstance(term, LennardJonesTerm) and term.pairs is not None:
                named = {symbol for pair in term.pairs for symbol in pair.split("-")}
                if crystal.symbol not in named:
                    key = f"potential.{index}.pairs" if len(self.potential) > 1 else "potential.pairs"
                    remedy = f'add "{crystal.symbol}-{crystal.symbol}" and its pairs'
                    raise problem(f"no pair names {crystal.symbol}, the element of the crystal", remedy, key)
        return self

    @model_validator(mode="after")
    def _known_groups(self) -> Input:
        places = [(f"stage.{k}.dynamics", stage.dynamics) for k, stage in enumerate(self.stage)]
        for place, dynamics in places or [("dynamics", self.dynamics)]:
            require_known([(f"{place}.{key}", name) for key, name in dynamics.group_names], self.group)
        return self

    @model_validator(mode="after")
    def _committee(self) -> Input:
        members = [term.committee for term in self.potential if isinstance(term, AllegroTerm) and term.committee]
        if len(members) > 1:
            raise problem("two committees are given", "one of the terms may be a committee", "potential")
        if self.guard.max_force_std is not None:
            if not members:
                raise problem("only a committee has a force standard deviation",
                              'remove it, or set potential.committee = ["a-1.allegro", "a-2.allegro"]',
                              "guard.max_force_std")
            if not self.guard.force_std_every and not self.output.thermo.every:
                raise problem("is never looked at: there are no rows of thermo.csv", "set guard.force_std_every",
                              "guard.max_force_std")
        return self

    def as_dict(self) -> dict[str, Any]:
        """The input as plain tables of strings, numbers, booleans and lists; keys without a value are left out."""
        tables: dict[str, Any] = _plain(self.model_dump())
        if self.system.crystal is not None:
            del tables["system"]["frame"], tables["system"]["constraints"]
        del tables["dynamics" if self.stage else "stage"]
        for stage in tables.get("stage", ()):
            del stage["output"]["directory"]
        if self.replicas is not None and self.replicas.temperatures is not None:
            tables.get("dynamics", {}).pop("temperature", None)
            tables["system"].get("velocities", {}).pop("temperature", None)
        for term, table in zip(self.potential, tables["potential"], strict=True):
            if isinstance(term, AllegroTerm):
                del table["kind"]
        return tables

    def to_toml(self) -> str:
        """TOML that `load_input` reads back to an equal object."""
        lines: list[str] = []
        for section, content in self.as_dict().items():
            for table in content if isinstance(content, list) else [content]:
                header = f"[[{section}]]" if isinstance(content, list) else f"[{section}]"
                lines += [header, *(f"{_key(k)} = {_value(v)}" for k, v in table.items()), ""]
        return "\n".join(lines)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items() if v is not None}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    return str(value) if isinstance(value, Path) else value


def _key(key: str) -> str:
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else _text(key)


def _text(text: str) -> str:
    # JSON's escapes are TOML's, but for DEL, which TOML forbids unescaped.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007F")


def _value(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{_key(k)} = {_value(v)}" for k, v in value.items()) + " }" if value else "{}"
    if isinstance(value, list):
        return "[" + ", ".join(_value(v) for v in value) + "]"
    if isinstance(value, bool):
        return "true" if value else "false"
    return _text(value) if isinstance(value, str) else repr(value)
