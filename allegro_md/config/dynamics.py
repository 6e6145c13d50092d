"""``[dynamics]``: how the atoms move. One class per ensemble, holding only the keys it uses.

The tables of ensembles may stand here, where they are read without torch, or beside their integrator.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, ValidationInfo, model_validator

from allegro_md.config.fields import Flag, Marker, Quantity, Table, Time, Whole, problem, show
from allegro_md.config.registry import Chosen, Entry, Registry


class _Ramp(Marker):
    """A temperature, or [first, last] of a linear ramp over the run."""

    def parse(self, value: Any, info: ValidationInfo) -> float | tuple[float, float]:
        kelvin = Quantity("temperature")
        if not isinstance(value, (list, tuple)):
            return kelvin.parse(value, info)
        if len(value) != 2:
            raise problem(f"expected a temperature or [first, last], got {show(value)}", "for example [300, 600]")
        return kelvin.parse(value[0], info), kelvin.parse(value[1], info)


class _Order(Marker):
    def parse(self, value: Any, info: ValidationInfo) -> int:
        if isinstance(value, bool) or value not in (1, 3, 5, 7):
            raise problem(f"must be 1, 3, 5 or 7, got {show(value)}", "3 is enough for almost everything")
        return int(value)


class DynamicsConfig(Table):
    """Keys of every ensemble, and of minimizers.

    Attributes:
        ensemble: its name.
        steps: number of steps.
    """

    ensemble: str
    steps: Annotated[int, Whole(0)] = Field(examples=["10000"])

    @property
    def length_of_step(self) -> float:
        """Time of a step, fs; 0 where steps take no time."""
        return 0.0

    @property
    def removes_momentum(self) -> bool:
        """The net momentum of the start is to be removed where the potential conserves it."""
        return False

    @property
    def is_ramped(self) -> bool:
        """A target changes over the steps, so that their number cannot change later."""
        return any(isinstance(getattr(self, key, None), tuple) for key in ("temperature", "pressure"))


class MotionConfig(DynamicsConfig):
    """Keys of every ensemble in which time passes.

    Attributes:
        timestep: fs.
        remove_momentum: the net momentum of the start is removed where the potential conserves it; 3N − 3 degrees of
            freedom are counted then, else 3N.
    """

    timestep: Time = Field(examples=["2.0"])
    remove_momentum: Flag = True

    @property
    def length_of_step(self) -> float:
        """Time of a step, fs."""
        return self.timestep

    @property
    def removes_momentum(self) -> bool:
        """The net momentum of the start is to be removed where the potential conserves it."""
        return self.remove_momentum


class NveConfig(MotionConfig):
    """Velocity Verlet at constant energy."""

    ensemble: Literal["nve"]


class ThermostatConfig(MotionConfig):
    """Keys of every ensemble at a given temperature.

    Attributes:
        temperature: K, or (first, last) of a linear ramp over the run.
        thermostat_time: relaxation time, fs.
    """

    temperature: Annotated[float | tuple[float, float], _Ramp()] = Field(examples=["300.0"])
    thermostat_time: Time = 100.0

    @property
    def ramp(self) -> tuple[float, float]:
        """Temperature at the first and at the last step, K."""
        return self.temperature if isinstance(self.temperature, tuple) else (self.temperature, self.temperature)

    @model_validator(mode="after")
    def _slower_than_step(self) -> ThermostatConfig:
        if self.thermostat_time <= self.timestep:
            raise problem(f"must be longer than the timestep, got {self.thermostat_time} fs against {self.timestep} fs",
                          "a thermostat time of 100 fs and a timestep of 0.5 to 5 fs are usual", "thermostat_time")
        return self


class NvtNoseHooverConfig(ThermostatConfig):
    """Nosé–Hoover chains at constant volume (Martyna–Tuckerman).

    Attributes:
        thermostat_chain: number of thermostats in the chain.
        suzuki_yoshida: number of Suzuki–Yoshida factors: 1, 3, 5 or 7.
    """

    ensemble: Literal["nvt-nose-hoover"]
    thermostat_chain: Annotated[int, Whole(1)] = 3
    suzuki_yoshida: Annotated[int, _Order()] = 3


INTEGRATORS = Registry(
    "ensemble",
    {
        "nve": Entry("allegro_md.config.dynamics:NveConfig", "allegro_md.integrators.nve:build"),
        "nvt-nose-hoover": Entry(
            "allegro_md.config.dynamics:NvtNoseHooverConfig", "allegro_md.integrators.nvt_nose_hoover:build"
        ),
        "nvt-bussi": Entry(
            "allegro_md.integrators.nvt_bussi:NvtBussiConfig", "allegro_md.integrators.nvt_bussi:build"
        ),
        "minimize": Entry(
            "allegro_md.integrators.minimize:MinimizeConfig", "allegro_md.integrators.minimize:build"
        ),
    },
    unbuilt=("nvt-langevin", "npt-mtk", "npt-crescale"),
)
"""Ensembles by name; a builder takes the table and an `integrators.base.Setting`."""

Dynamics = Annotated[
    DynamicsConfig,
    Chosen(INTEGRATORS, "nve", (("temperature", "; start velocities are set by [system.velocities]"),)),
]
