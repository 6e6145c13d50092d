"""``[[stage]]``: a run in several stages, each with an ensemble, outputs and end conditions of its own."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, ValidationInfo, model_validator

from allegro_md.config.dynamics import INTEGRATORS, Dynamics
from allegro_md.config.fields import Choice, Marker, Table, Time, problem, show
from allegro_md.config.output import OutputConfig
from allegro_md.config.system import VelocitiesConfig

KEYS = ("name", "dynamics", "output", "velocities", "end")
"""Keys of a stage."""

CONVERGING = {
    "density": "density", "volume": "volume", "temperature": "temperature", "potential-energy": "potential",
}
"""Values of ``converged`` → attribute of `reporting.Thermo`."""

FEWEST_ROWS = 4
"""Of ``thermo.csv`` in a window."""

_IN_PLACE = (("thermostats", "temperature"), ("temperature", "thermostats"))
"""Keys of ``dynamics`` in a stage, each in place of another one above it."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


class _Name(Marker):
    def parse(self, value: Any, info: ValidationInfo) -> str:
        if not isinstance(value, str) or not _NAME.fullmatch(value):
            raise problem(f"{show(value)} cannot be the name of a folder", 'use letters, digits, "-" and "_"')
        return value


class _Share(Marker):
    def parse(self, value: Any, info: ValidationInfo) -> float:
        if isinstance(value, str) and (percent := re.fullmatch(r"\s*([0-9.]+)\s*%\s*", value)):
            value = float(percent[1]) / 100.0 if percent[1].count(".") < 2 else value
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0.0 < value < 1.0:
            raise problem(f"expected a fraction between 0 and 1, got {show(value)}", 'for example 0.002, or "0.2 %"')
        return float(value)


class EndConfig(Table):
    """A condition that ends a stage before its last step: a quantity has converged.

    Means are taken over windows that follow each other; the condition holds when the means of the last three differ
    from each other by at most a fraction of the last one.

    Attributes:
        converged: the quantity, a key of `CONVERGING`.
        within: largest difference of the means, as a fraction of the last one.
        window: length of a window, fs.
    """

    converged: Annotated[str, Choice(tuple(CONVERGING))] = Field(examples=['"density"'])
    within: Annotated[float, _Share()] = Field(examples=["0.002"])
    window: Time = Field(examples=['"5 ps"'])


def _as_list(data: Any) -> Any:
    return [data] if isinstance(data, dict) else data


class StageConfig(Table):
    """A part of a run.

    Attributes:
        name: of the stage; its observers write into a folder of this name.
        dynamics: the integrator and its parameters.
        output: what is written; the directory is that of the run.
        velocities: drawn at the beginning of the stage; None: atoms keep theirs.
        end: conditions beside the number of steps; all of them must hold.
    """

    name: Annotated[str, _Name()]
    dynamics: Dynamics
    output: OutputConfig
    velocities: VelocitiesConfig | None = None
    end: Annotated[tuple[EndConfig, ...], BeforeValidator(_as_list)] = ()

    def rows_of(self, condition: EndConfig) -> int:
        """Number of rows of ``thermo.csv`` in a window of a condition."""
        between = self.output.thermo.every * self.dynamics.length_of_step
        return round(condition.window / between) if between else 0

    @model_validator(mode="after")
    def _filled_windows(self) -> StageConfig:
        for condition in self.end:
            if condition.converged in ("density", "volume") and not self.dynamics.changes_cell:
                what = f"the {condition.converged} does not change with {self.dynamics.ensemble}"
                raise problem(what, 'use an npt ensemble, or converged = "potential-energy"', "end")
            if self.rows_of(condition) < FEWEST_ROWS:
                what = f"a window of {condition.window:g} fs holds fewer than {FEWEST_ROWS} rows of thermo.csv"
                raise problem(what, "give a longer window, or a smaller output.thermo.every", "end")
        return self


def completed(stages: Any, dynamics: Any, output: Any) -> list[dict[str, Any]]:
    """Fills what stages leave out from the tables above them.

    Of ``dynamics`` a stage takes over the keys that its own ensemble has; of ``output`` whole tables are
    completed key by key, and lists replaced.

    Args:
        stages: value of ``stage`` in the input.
        dynamics: the table above the stages, or None.
        output: likewise.

    Raises:
        PydanticCustomError: the stages are no list of tables, or a key has no place there.
    """
    if not isinstance(stages, (list, tuple)) or not stages:
        raise problem(f"expected a list of tables, got {show(stages)}", 'write [[stage]] above each of them', "stage")
    found = []
    for index, stage in enumerate(stages):
        if isinstance(stage, StageConfig):
            found.append({key: getattr(stage, key) for key in KEYS if key in stage.model_fields_set})
            continue
        where = f"stage.{index}"
        if not isinstance(stage, dict):
            raise problem(f"expected a table, got {show(stage)}", f"its keys are {', '.join(KEYS)}", where)
        own_output = stage.get("output", {})
        if isinstance(own_output, dict) and "directory" in own_output:
            raise problem("a run has one directory for all its stages", "set output.directory", f"{where}.output")
        found.append(
            {"name": str(index + 1)} | stage
            | {"dynamics": _motion(stage.get("dynamics", {}), dynamics), "output": _merged(output, own_output)}
        )  # fmt: skip
    names = [str(stage["name"]) for stage in found]
    for name in names:
        if names.count(name) > 1:
            raise problem(f"{names.count(name)} stages are named '{name}'", "give each a name of its own", "stage")
    return found


def _motion(own: Any, above: Any) -> Any:
    """The ``dynamics`` of a stage: its own keys, and those from above that its ensemble has."""
    if not isinstance(own, dict) or not isinstance(above, dict):
        return own if own or above is None else above
    both = {**above, **own}
    for key, other in _IN_PLACE:
        if own.get(key) and other not in own:
            both.pop(other, None)
    ensemble = both.get("ensemble")
    if ensemble == above.get("ensemble") or not isinstance(ensemble, str) or ensemble not in INTEGRATORS:
        return both
    known = INTEGRATORS.table(ensemble).model_fields
    return {key: value for key, value in both.items() if key in own or key in known}


def _merged(above: Any, own: Any) -> Any:
    """Tables completed key by key; anything else is that of the stage, where it has it."""
    if not isinstance(above, dict) or not isinstance(own, dict):
        return own if above is None else above if own == {} else own
    return {**above, **{key: _merged(above.get(key), value) for key, value in own.items()}}
