"""``[dynamics]``: how the atoms move. One class per ensemble, holding only the keys it uses.

The tables of ensembles may stand here, where they are read without torch, or beside their integrator.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, ValidationInfo, model_validator

from allegro_md.config.deform import DeformConfig
from allegro_md.config.fields import Flag, Marker, Quantity, Table, Time, Whole, problem, show
from allegro_md.config.groups import ApplyConfig, GroupName, GroupNames
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


Target = Annotated[float | tuple[float, float], _Ramp()]


def both_ends(target: float | tuple[float, float]) -> tuple[float, float]:
    """First and last value of a ramp, or twice the value that stays."""
    return target if isinstance(target, tuple) else (target, target)


class _Order(Marker):
    def parse(self, value: Any, info: ValidationInfo) -> int:
        if isinstance(value, bool) or value not in (1, 3, 5, 7):
            raise problem(f"must be 1, 3, 5 or 7, got {show(value)}", "3 is enough for almost everything")
        return int(value)


class DynamicsConfig(Table):
    """Keys of every ensemble, and of minimizers.

    Attributes:
        keeps_momentum: total momentum stays what it is, where the potential conserves it.
        ensemble: its name.
        steps: number of steps.
        frozen: groups whose atoms do not move; forces on them are still computed and reported.
    """

    keeps_momentum: ClassVar[bool] = True

    ensemble: str
    steps: Annotated[int, Whole(0)] = Field(examples=["10000"])
    frozen: GroupNames = ()

    @property
    def group_names(self) -> list[tuple[str, str]]:
        """The key and the name of each group that is named here."""
        return [("frozen", name) for name in self.frozen]

    @property
    def length_of_step(self) -> float:
        """Time of a step, fs; 0 where steps take no time."""
        return 0.0

    @property
    def removes_momentum(self) -> bool:
        """The net momentum of the start is to be removed where the potential conserves it."""
        return False

    @property
    def changes_cell(self) -> bool:
        """The cell changes in the course of the run."""
        return False

    @property
    def is_ramped(self) -> bool:
        """A target changes over the steps, so that their number cannot change later."""
        return False


class MotionConfig(DynamicsConfig):
    """Keys of every ensemble in which time passes.

    Attributes:
        timestep: fs.
        remove_momentum: the net momentum of the start is removed where the potential conserves it; 3N − 3 degrees of
            freedom are counted then, else 3N.
        apply: forces, accelerations and prescribed velocities of groups.
    """

    timestep: Time = Field(examples=["2.0"])
    remove_momentum: Flag = True
    apply: tuple[ApplyConfig, ...] = ()

    @property
    def group_names(self) -> list[tuple[str, str]]:
        """The key and the name of each group that is named here."""
        return super().group_names + [(f"apply.{k}.group", each.group) for k, each in enumerate(self.apply)]

    @property
    def length_of_step(self) -> float:
        """Time of a step, fs."""
        return self.timestep

    @property
    def removes_momentum(self) -> bool:
        """The net momentum of the start is to be removed where the potential conserves it."""
        return self.remove_momentum


MOST_STRAIN = 0.01
"""Of one step: beyond, a slip of the unit of a rate is likely, and no atom could follow."""


class DeformableConfig(MotionConfig):
    """Keys of every ensemble whose cell does not move by itself.

    Attributes:
        deform: a homogeneous deformation of cell and atoms; None: the cell stays as it is.
    """

    deform: DeformConfig | None = None

    @property
    def changes_cell(self) -> bool:
        """The cell changes in the course of the run."""
        return self.deform is not None

    @property
    def is_ramped(self) -> bool:
        """A target changes over the steps, so that their number cannot change later."""
        return super().is_ramped or (self.deform is not None and self.deform.strain is not None)

    @model_validator(mode="after")
    def _slow_enough(self) -> DeformableConfig:
        strain = 0.0 if self.deform is None else self.deform.largest_step(self.timestep, self.steps)
        if strain > MOST_STRAIN and self.steps > 0:
            raise problem(f"deforms by {strain:.3g} in each step of {self.timestep:g} fs, more than {MOST_STRAIN:g}",
                          'a rate is a number in 1/fs or a string such as "1e9/s"; or make more steps', "deform")
        return self


class NveConfig(DeformableConfig):
    """Velocity Verlet at constant energy."""

    ensemble: Literal["nve"]


class TemperatureConfig(MotionConfig):
    """Keys of every ensemble at a given temperature.

    Attributes:
        temperature: K, or (first, last) of a linear ramp over the run; None: groups have thermostats of their own.
    """

    temperature: Target | None = Field(default=None, examples=["300.0"])

    @property
    def of_groups(self) -> tuple[GroupThermostat, ...]:
        """The thermostats of groups, of an ensemble that can have them."""
        return ()

    @property
    def ramp(self) -> tuple[float, float]:
        """Temperature at the first and at the last step, K; 0 where only groups have one."""
        return both_ends(0.0 if self.temperature is None else self.temperature)

    @property
    def is_ramped(self) -> bool:
        """A target changes over the steps, so that their number cannot change later."""
        targets = (self.temperature, *(each.temperature for each in self.of_groups))
        return any(isinstance(target, tuple) for target in targets) or super().is_ramped

    @model_validator(mode="after")
    def _has_temperature(self) -> TemperatureConfig:
        if self.temperature is None and not self.of_groups:
            raise problem("required key is missing", "for example temperature = 300.0", "temperature")
        if self.temperature is not None and self.of_groups:
            raise problem("the groups of thermostats have temperatures of their own", "remove it", "temperature")
        return self


class GroupThermostat(Table):
    """The thermostat of a group.

    Attributes:
        group: its name.
        temperature: K, or (first, last) of a linear ramp over the run.
        thermostat_time: relaxation time, fs; None: that of ``[dynamics]``.
        friction: 1/fs, of Langevin dynamics; None: that of ``[dynamics]``.
    """

    group: GroupName = Field(examples=['"hot"'])
    temperature: Target = Field(examples=["300.0"])
    thermostat_time: Time | None = None
    friction: Annotated[float, Quantity("rate")] | None = None


class SeparateConfig(TemperatureConfig):
    """Keys of every ensemble whose groups may have thermostats of their own.

    Attributes:
        thermostats: of groups, which must not overlap; atoms of none of them move at constant energy. The
            temperature of the table is absent then.
    """

    thermostats: tuple[GroupThermostat, ...] = ()

    @property
    def of_groups(self) -> tuple[GroupThermostat, ...]:
        """The thermostats of groups."""
        return self.thermostats

    @property
    def group_names(self) -> list[tuple[str, str]]:
        """The key and the name of each group that is named here."""
        return super().group_names + [(f"thermostats.{k}.group", t.group) for k, t in enumerate(self.thermostats)]

    def of_group(self, thermostat: GroupThermostat) -> Any:
        """This table for a group alone: with its temperature and its time or friction, without deformation."""
        own = {key: getattr(thermostat, key) for key in ("temperature", "thermostat_time", "friction")}
        table = {key: getattr(self, key) for key in type(self).model_fields if key not in ("thermostats", "deform")}
        return type(self).model_validate(table | {key: value for key, value in own.items() if value is not None})

    @model_validator(mode="after")
    def _own_keys(self) -> SeparateConfig:
        names = [thermostat.group for thermostat in self.thermostats]
        for k, thermostat in enumerate(self.thermostats):
            if names.count(thermostat.group) > 1:
                raise problem(f"two thermostats of group '{thermostat.group}'", "give each group one", "thermostats")
            for key in ("thermostat_time", "friction"):
                if getattr(thermostat, key) is not None and key not in type(self).model_fields:
                    what = f'does not apply to ensemble = "{self.ensemble}"'
                    raise problem(what, "remove it", f"thermostats.{k}.{key}")
            self.of_group(thermostat)
        return self


class ThermostatConfig(TemperatureConfig):
    """Keys of every ensemble whose temperature relaxes in a given time.

    Attributes:
        thermostat_time: relaxation time, fs.
    """

    thermostat_time: Time = 100.0

    @model_validator(mode="after")
    def _slower_than_step(self) -> ThermostatConfig:
        if self.thermostat_time <= self.timestep:
            raise problem(f"must be longer than the timestep, got {self.thermostat_time} fs against {self.timestep} fs",
                          "a thermostat time of 100 fs and a timestep of 0.5 to 5 fs are usual", "thermostat_time")
        return self


class ChainConfig(ThermostatConfig):
    """Keys of every ensemble with Nosé–Hoover chains.

    Attributes:
        thermostat_chain: number of thermostats in the chain.
        suzuki_yoshida: number of Suzuki–Yoshida factors: 1, 3, 5 or 7.
    """

    thermostat_chain: Annotated[int, Whole(1)] = 3
    suzuki_yoshida: Annotated[int, _Order()] = 3


class NvtNoseHooverConfig(DeformableConfig, ChainConfig, SeparateConfig):
    """Nosé–Hoover chains at constant volume (Martyna–Tuckerman)."""

    ensemble: Literal["nvt-nose-hoover"]


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
        "nvt-langevin": Entry(
            "allegro_md.integrators.nvt_langevin:NvtLangevinConfig", "allegro_md.integrators.nvt_langevin:build"
        ),
        "nvt-berendsen": Entry(
            "allegro_md.integrators.nvt_berendsen:NvtBerendsenConfig", "allegro_md.integrators.nvt_berendsen:build"
        ),
        "npt-mtk": Entry("allegro_md.integrators.npt_mtk:NptMtkConfig", "allegro_md.integrators.npt_mtk:build"),
        "nph-mtk": Entry("allegro_md.integrators.nph_mtk:NphMtkConfig", "allegro_md.integrators.nph_mtk:build"),
        "npt-crescale": Entry(
            "allegro_md.integrators.npt_crescale:NptCrescaleConfig", "allegro_md.integrators.npt_crescale:build"
        ),
        "npt-berendsen": Entry(
            "allegro_md.integrators.npt_berendsen:NptBerendsenConfig", "allegro_md.integrators.npt_berendsen:build"
        ),
        "minimize": Entry(
            "allegro_md.integrators.minimize:MinimizeConfig", "allegro_md.integrators.minimize:build"
        ),
    },
)
"""Ensembles by name; a builder takes the table and an `integrators.base.Setting`."""

Dynamics = Annotated[
    DynamicsConfig,
    Chosen(INTEGRATORS, "nve", (("temperature", "; start velocities are set by [system.velocities]"),)),
]
