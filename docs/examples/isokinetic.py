"""An integrator: velocity Verlet whose velocities are scaled to one temperature after every step."""

from __future__ import annotations

from math import sqrt
from typing import Any, ClassVar, Literal

from allegro_md.config.dynamics import ThermostatConfig
from allegro_md.evaluation import NOTHING_MORE, Evaluation, Needs
from allegro_md.integrators.base import Clock, Collective, EvaluateForces, Setting
from allegro_md.integrators.steps import drift, kick, scale_velocities
from allegro_md.observables import kinetic_energy, temperature
from allegro_md.state import AtomState, Field


class IsokineticConfig(ThermostatConfig):
    """Keys of ``[dynamics]`` beside those of every thermostat: none."""

    ensemble: Literal["isokinetic"]


class Isokinetic:
    """Constant kinetic energy; the total energy is not conserved."""

    needs: ClassVar[Needs] = NOTHING_MORE
    stochastic: ClassVar[bool] = False
    order: ClassVar[int] = 0
    heats_atoms_at_rest: ClassVar[bool] = False
    changes_cell: ClassVar[bool] = False
    fields: ClassVar[tuple[Field, ...]] = ()

    def __init__(self, timestep: float, target: float, degrees_of_freedom: int, collective: Collective) -> None:
        self.timestep, self.max_temperature = timestep, target
        self.degrees_of_freedom, self.finished = degrees_of_freedom, False
        self._collective = collective

    def step(self, state: AtomState, forces: EvaluateForces, clock: Clock) -> Evaluation:
        kick(state, 0.5 * clock.dt)
        drift(state, clock.dt)
        evaluation = forces(state, self.needs)
        kick(state, 0.5 * clock.dt)
        kinetic = float(self._collective.reduce(kinetic_energy(state))[0])
        now = temperature(kinetic, self.degrees_of_freedom)
        scale_velocities(state, sqrt(self.max_temperature / now) if now > 0.0 else 1.0)
        return evaluation

    def extended_energy(self) -> float:
        return 0.0

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        pass


def build(table: IsokineticConfig, setting: Setting) -> Isokinetic:
    """Makes the integrator of an input table."""
    degrees = setting.degrees_of_freedom(table.remove_momentum)
    return Isokinetic(table.timestep, table.ramp[0], degrees, setting.collective)
