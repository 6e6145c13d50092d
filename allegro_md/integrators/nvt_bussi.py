"""Constant temperature: stochastic velocity rescaling.

Bussi, Donadio, Parrinello, J. Chem. Phys. 126, 014101 (2007), doi:10.1063/1.2408420:

    kick(dt/2)  drift(dt)  forces  kick(dt/2)  rescale(dt)

α² = c + (1 − c) K̄/(f K) (R² + S) + 2 R sqrt(c (1 − c) K̄/(f K)), c = exp(−dt/τ), K̄ = f k_B T/2; R is a standard
normal deviate, S a sum of f − 1 squares of such deviates. α has the sign of R + sqrt(c f K/((1 − c) K̄)).
Conserved: K + U less the sum of all changes of K by rescaling, and less the work of a deformation
(`integrators.deformation`).

| symbol | code |
|---|---|
| f, τ | `degrees_of_freedom`, `_time` (fs) |
| K, K̄ | `kinetic`, `aim` (eV) |
| α | `factor` |
"""

from __future__ import annotations

import math
from typing import Any, ClassVar, Literal

import numpy as np

from allegro_md.config.dynamics import DeformableConfig, SeparateConfig, ThermostatConfig
from allegro_md.config.fields import Seed
from allegro_md.evaluation import Evaluation
from allegro_md.integrators.base import Clock, EvaluateForces, Integrator, Setting, require_degrees_of_freedom
from allegro_md.integrators.deformation import Deformable, build_flow
from allegro_md.integrators.schedule import Ramp
from allegro_md.integrators.separate import EVERYTHING, Part, nothing, separated
from allegro_md.integrators.steps import change_temperature, rescale
from allegro_md.state import AtomState, Field
from allegro_md.units import BOLTZMANN


class RescalingConfig(ThermostatConfig):
    """Keys of every ensemble with stochastic velocity rescaling.

    Attributes:
        seed: of the random numbers.
    """

    seed: Seed = 1


class NvtBussiConfig(DeformableConfig, RescalingConfig, SeparateConfig):
    """Stochastic velocity rescaling at constant volume (Bussi, Donadio, Parrinello)."""

    ensemble: Literal["nvt-bussi"]


class StochasticRescaling(Deformable):
    """Canonical ensemble.

    Attributes:
        target: temperature over the run, K.
        part: atoms that are thermostatted.
    """

    stochastic: ClassVar[bool] = True
    order: ClassVar[int] = 2
    heats_atoms_at_rest: ClassVar[bool] = False
    fields: ClassVar[tuple[Field, ...]] = ()

    def __init__(self, table: RescalingConfig, setting: Setting, part: Part = EVERYTHING) -> None:
        """Prepares the integrator of a ``[dynamics]`` table.

        Raises:
            InputError: there is no degree of freedom.
        """
        super().__init__(build_flow(table, setting))
        self.timestep = table.timestep
        self.degrees_of_freedom = setting.degrees_of_freedom(table.remove_momentum)
        require_degrees_of_freedom(self.degrees_of_freedom)
        self.target = Ramp(*table.ramp, table.steps)
        self.max_temperature = self.target.highest
        self.finished = False
        self.part = part
        self._time, self._seed = table.thermostat_time, table.seed
        self._collective = setting.collective
        self._given = 0.0

    def step(self, state: AtomState, forces: EvaluateForces, clock: Clock) -> Evaluation:
        """Makes one step; see the module."""
        evaluation = self._flow.verlet(state, forces, clock.dt)
        self.rescale(state, clock)
        return evaluation

    def rescale(self, state: AtomState, clock: Clock) -> None:
        """Makes the rescaling of a step alone, for other integrators."""
        collective = self._collective

        def factor(kinetic: float) -> float:
            return collective.agreed(lambda: self.factor(kinetic, clock))

        self._given += rescale(state, factor, collective, self.part.bit)

    begin = between = nothing

    def finish(self, state: AtomState, clock: Clock) -> None:
        """See `separate.Thermostat`."""
        self.rescale(state, clock)

    def extended_energy(self) -> float:
        """Less the energy that rescaling and a deformation have given to the atoms, eV."""
        return -self._given - self._flow.work

    def state_dict(self) -> dict[str, Any]:
        """The energy given so far and the temperatures; random numbers follow from seed and step."""
        return {"given": self._given, "target": self.target.ends, **self._flow.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes up from a `state_dict`."""
        self._given = state["given"]
        self._flow.load_state_dict(state)
        self.target = self.target.resumed(state.get("target"))  # not in checkpoints of earlier versions

    def set_temperature(self, state: AtomState, kelvin: float) -> None:
        """Takes over a state of another temperature, see `base.Tempered`."""
        self._given += change_temperature(state, self.target.first, kelvin, self._collective)
        self.target = Ramp.constant(kelvin)

    def factor(self, kinetic: float, clock: Clock) -> float:
        """The factor α for all velocities, at a kinetic energy in eV."""
        f, aim = self.degrees_of_freedom, 0.5 * self.degrees_of_freedom * BOLTZMANN * self.target(clock.end)
        counter = np.array([0, self.part.number, clock.substep, clock.step], dtype=np.uint64)
        random = np.random.Generator(np.random.Philox(key=self._seed, counter=counter))
        r = float(random.standard_normal())
        s = 2.0 * float(random.standard_gamma(0.5 * (f - 1))) if f > 1 else 0.0
        keep = math.exp(-clock.dt / self._time)
        share = (1.0 - keep) * aim / (f * kinetic)
        square = keep + share * (r * r + s) + 2.0 * r * math.sqrt(keep * share)
        sign = 1.0 if share == 0.0 or r + math.sqrt(keep / share) >= 0.0 else -1.0
        return sign * math.sqrt(max(0.0, square))


def build(table: NvtBussiConfig, setting: Setting) -> Integrator:
    """Builds the integrator of a ``[dynamics]`` table."""
    return separated(StochasticRescaling, table, setting)
