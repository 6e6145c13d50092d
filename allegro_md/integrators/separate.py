"""Thermostats of groups: each group has its own, and atoms of no group move at constant energy.

    begin each  kick(dt/2)  drift(dt/2)  between each  drift(dt/2)  forces  kick(dt/2)  finish each

With one thermostat for all atoms this is the splitting of its ensemble. Conserved: K + U and the energies of all
thermostats. The heat that a thermostat has given to its group is minus its energy (`heat`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, TypeVar

from allegro_md.config.dynamics import SeparateConfig
from allegro_md.evaluation import Evaluation
from allegro_md.integrators.base import Clock, EvaluateForces, Integrator, Setting
from allegro_md.integrators.deformation import Deformable, Flow, build_flow
from allegro_md.state import AtomState, Field


@dataclass(frozen=True)
class Part:
    """Atoms of one thermostat.

    Attributes:
        name: of the group; empty: all atoms.
        bit: of the group; 0: all atoms.
        number: of the thermostat, so that no two draw the same random numbers.
    """

    name: str = ""
    bit: int = 0
    number: int = 0


EVERYTHING = Part()


class Thermostat(Integrator, Protocol):
    """An integrator whose thermostat may act on a part of the atoms.

    Attributes:
        part: which ones.
    """

    part: Part

    def begin(self, state: AtomState, clock: Clock) -> None:
        """Acts before the first kick of a step."""

    def between(self, state: AtomState, clock: Clock) -> None:
        """Acts halfway through the drift."""

    def finish(self, state: AtomState, clock: Clock) -> None:
        """Acts after the last kick."""


def nothing(self: Any, state: AtomState, clock: Clock) -> None:
    """Does nothing in this place of a step; see `Thermostat`."""


class SeparateThermostats(Deformable):
    """Groups at temperatures of their own.

    Attributes:
        thermostats: of the groups.
    """

    stochastic: ClassVar[bool] = True
    order: ClassVar[int] = 2
    heats_atoms_at_rest: ClassVar[bool] = True  # those of no group may move the others
    fields: ClassVar[tuple[Field, ...]] = ()

    def __init__(
        self, timestep: float, degrees_of_freedom: int, thermostats: Sequence[Thermostat], flow: Flow
    ) -> None:
        """Joins the thermostats; `timestep` in fs, `degrees_of_freedom` of all atoms, `flow` deforms the cell."""
        super().__init__(flow)
        self.timestep, self.degrees_of_freedom = timestep, degrees_of_freedom
        self.thermostats = tuple(thermostats)
        self.max_temperature = max(thermostat.max_temperature for thermostat in thermostats)
        self.finished = False

    def step(self, state: AtomState, forces: EvaluateForces, clock: Clock) -> Evaluation:
        """Makes one step; see the module."""
        for thermostat in self.thermostats:
            thermostat.begin(state, clock)
        evaluation = self._flow.verlet(state, forces, clock.dt, lambda: self._between(state, clock))
        for thermostat in self.thermostats:
            thermostat.finish(state, clock)
        return evaluation

    def _between(self, state: AtomState, clock: Clock) -> None:
        for thermostat in self.thermostats:
            thermostat.between(state, clock)

    def heat(self) -> dict[str, float]:
        """Energy that each thermostat has given to its group, eV, by the name of the group."""
        return {thermostat.part.name: -thermostat.extended_energy() for thermostat in self.thermostats}

    def extended_energy(self) -> float:
        """Of all thermostats, less the work of a deformation, eV."""
        return sum(thermostat.extended_energy() for thermostat in self.thermostats) - self._flow.work

    def result(self) -> dict[str, Any]:
        """The heat given so far, for ``run.json``."""
        return {"heat_eV": self.heat()}

    def conclusion(self) -> str:
        """The heat given, for the log."""
        heats = ", ".join(f"{heat:+.6g} eV to group '{name}'" for name, heat in self.heat().items())
        return f"heat given by the thermostats: {heats}"

    def state_dict(self) -> dict[str, Any]:
        """Those of the thermostats, by the names of the groups, and the work of a deformation."""
        return {
            "groups": {thermostat.part.name: thermostat.state_dict() for thermostat in self.thermostats},
            **self._flow.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes up from a `state_dict`."""
        for thermostat in self.thermostats:
            thermostat.load_state_dict(state["groups"][thermostat.part.name])
        self._flow.load_state_dict(state)


Config = TypeVar("Config", bound=SeparateConfig)


def separated(make: Callable[[Config, Setting, Part], Thermostat], table: Config, setting: Setting) -> Integrator:
    """Makes an integrator with one thermostat for all atoms, or with one for each group that the table names.

    Args:
        make: makes a thermostat of a table for a part of the atoms.
        table: of the input.
        setting: of the system.

    Raises:
        InputError: a group has no degree of freedom.
    """
    if not table.thermostats:
        return make(table, setting, EVERYTHING)
    made = [
        make(table.of_group(each), setting.of_group(each.group), Part(each.group, setting.groups[each.group].bit, k))
        for k, each in enumerate(table.thermostats)
    ]
    freedom = setting.degrees_of_freedom(table.remove_momentum and table.keeps_momentum)
    return SeparateThermostats(table.timestep, freedom, made, build_flow(table, setting))
