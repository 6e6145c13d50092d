"""``[dynamics]``: how the atoms move. One class per ensemble, holding only the keys it uses."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Discriminator, Field, ValidationInfo, model_validator

from allegro_md.config.fields import Marker, Quantity, Table, Time, Whole, choose, nearest, problem, quoted, show

UNBUILT = ("nvt-langevin", "nvt-bussi", "npt-mtk", "npt-crescale", "minimize")


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


class NveConfig(Table):
    """Velocity Verlet at constant energy.

    Attributes:
        timestep: fs.
        steps: number of steps.
    """

    ensemble: Literal["nve"]
    timestep: Time = Field(examples=["2.0"])
    steps: Annotated[int, Whole(0)] = Field(examples=["10000"])


class NvtNoseHooverConfig(Table):
    """Nosé–Hoover chains at constant volume (Martyna–Tuckerman).

    Attributes:
        timestep: fs.
        steps: number of steps.
        temperature: K, or (first, last) of a linear ramp over the run.
        thermostat_time: relaxation time, fs.
        thermostat_chain: number of thermostats in the chain.
        suzuki_yoshida: number of Suzuki–Yoshida substeps: 1, 3, 5 or 7.
    """

    ensemble: Literal["nvt-nose-hoover"]
    timestep: Time = Field(examples=["2.0"])
    steps: Annotated[int, Whole(0)] = Field(examples=["10000"])
    temperature: Annotated[float | tuple[float, float], _Ramp()] = Field(examples=["300.0"])
    thermostat_time: Time = 100.0
    thermostat_chain: Annotated[int, Whole(1)] = 3
    suzuki_yoshida: Annotated[int, _Order()] = 3

    @property
    def ramp(self) -> tuple[float, float]:
        """Temperature at the first and at the last step, K."""
        return self.temperature if isinstance(self.temperature, tuple) else (self.temperature, self.temperature)

    @model_validator(mode="after")
    def _slower_than_step(self) -> NvtNoseHooverConfig:
        if self.thermostat_time <= self.timestep:
            raise problem(f"must be longer than the timestep, got {self.thermostat_time} fs against {self.timestep} fs",
                          "100 fs is usual", "thermostat_time")
        return self


ENSEMBLES: dict[str, type[Table]] = {"nve": NveConfig, "nvt-nose-hoover": NvtNoseHooverConfig}


def _name_ensemble(data: Any) -> Any:
    """Checks the ensemble first, and explains keys that belong to another one."""
    if not isinstance(data, dict):
        return data
    if "ensemble" not in data:
        if near := nearest("ensemble", data):
            raise problem("unknown key", "did you mean 'ensemble'?", near)
        raise problem("required key is missing", 'for example ensemble = "nve"', "ensemble")
    name = choose(data["ensemble"], ENSEMBLES, UNBUILT, "ensemble")
    for key in data:
        owners = [e for e, table in ENSEMBLES.items() if key in table.model_fields]
        if owners and name not in owners:
            hint = "; start velocities are set by [system.velocities]" if key == "temperature" else ""
            remedy = f"remove it (it belongs to {quoted(owners)}{hint})"
            raise problem(f'does not apply to ensemble = "{name}"', remedy, key)
    return data


DynamicsConfig = Annotated[NveConfig | NvtNoseHooverConfig, Discriminator("ensemble"), BeforeValidator(_name_ensemble)]
