"""``[guard]`` and ``[stop]``: when a run must end although its steps are not all made."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal

from pydantic import ValidationInfo, model_validator

from allegro_md.config.fields import Choice, LengthOrZero, Marker, Quantity, Table, Temperature, Whole, problem, show
from allegro_md.config.registry import Entry, Registry

FORCE_STD = Registry(
    "on_force_std",
    {
        "stop": Entry("allegro_md.config.guard:GuardConfig", "allegro_md.guards:build"),
        "save": Entry("allegro_md.config.guard:GuardConfig", "allegro_md.io.uncertain:build"),
    },
)
"""Observers of the force standard deviation of a committee, built as those of `config.output.OBSERVERS`."""


class _Fraction(Marker):
    def parse(self, value: Any, info: ValidationInfo) -> float:
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0.0 <= value <= 1.0:
            raise problem(f"expected a fraction between 0 and 1, got {show(value)}", "0 switches this guard off")
        return float(value)


class _Ratio(Marker):
    def parse(self, value: Any, info: ValidationInfo) -> float:
        number = not isinstance(value, bool) and isinstance(value, (int, float))
        if not number or not (value == 0 or 1.0 < value < 1e6):
            raise problem(f"expected a ratio above 1, got {show(value)}", "0 switches this guard off")
        return float(value)


class _Limit(Marker):
    def parse(self, value: Any, info: ValidationInfo) -> float | str:
        return value if value == "auto" else Quantity("temperature").parse(value, info)


class GuardConfig(Table):
    """Limits beyond which the physics has broken; looked at in every step.

    Attributes:
        max_force: largest force on an atom, eV/Å.
        max_displacement: farthest an atom may move in one step, Å; 0: no limit.
        min_distance: of a pair, as a fraction of the shortest distance its model has seen in training; 0: no limit.
        max_temperature: K; "auto": ten times the highest temperature the input asks for, at least 10,000 K.
        max_volume_ratio: how many times larger or smaller than at the beginning of the run, or of its stage, the volume
            of a cell that changes may become; 0: no limit.
        rollback: how often a run that broke goes back to its last checkpoint and on with half the timestep.
        max_force_std: of a committee, largest standard deviation of the force on an atom, eV/Å; None: no limit.
        force_std_every: steps between looks at that; None: with every row of ``thermo.csv``.
        on_force_std: beyond that limit the run ends (``stop``), or writes the frame and continues (``save``).
    """

    max_force: Annotated[float, Quantity("force")] = 1000.0
    max_displacement: LengthOrZero = 1.0
    min_distance: Annotated[float, _Fraction()] = 0.7
    max_temperature: Annotated[Literal["auto"] | Temperature, _Limit()] = "auto"
    max_volume_ratio: Annotated[float, _Ratio()] = 3.0
    rollback: Annotated[int, Whole(0)] = 0
    max_force_std: Annotated[float, Quantity("force")] | None = None
    force_std_every: Annotated[int, Whole(1)] | None = None
    on_force_std: Annotated[str, Choice(tuple(FORCE_STD))] = "stop"

    @model_validator(mode="after")
    def _limit_of_std(self) -> GuardConfig:
        if self.max_force_std is None:
            given = {"force_std_every": self.force_std_every is not None, "on_force_std": self.on_force_std != "stop"}
            for key in (key for key, value in given.items() if value):
                raise problem("has no effect without max_force_std", "set guard.max_force_std, eV/Å", key)
        return self

    def observers(self) -> list[tuple[Callable[..., Any], Table]]:
        """Builder and table of the observer of force standard deviations, if there is a limit."""
        return [] if self.max_force_std is None else [(FORCE_STD.builder(self.on_force_std), self)]


class StopConfig(Table):
    """An end before the last step, with a checkpoint.

    Attributes:
        walltime: seconds that the program may take; None: no limit.
    """

    walltime: Annotated[float, Quantity("wall time")] | None = None
