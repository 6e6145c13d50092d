"""Temperature of an equilibration: weak coupling. Not an ensemble.

Berendsen, Postma, van Gunsteren, DiNola, Haak, J. Chem. Phys. 81, 3684 (1984), doi:10.1063/1.448118:

    kick(dt/2)  drift(dt)  forces  kick(dt/2)  rescale(dt),  λ² = 1 + (dt/τ) (K̄/K − 1), K̄ = f k_B T/2

The kinetic energy relaxes to its mean but does not fluctuate about it as it should. Conserved: K + U less the sum of
all changes of K by rescaling.

| symbol | code |
|---|---|
| f, τ | `degrees_of_freedom`, `_time` (fs) |
| K, K̄ | `kinetic`, `aim` (eV) |
| λ | `factor` |
"""

from __future__ import annotations

import math
from typing import Any, ClassVar, Literal

from allegro_md.config.dynamics import DeformableConfig, ThermostatConfig
from allegro_md.evaluation import Evaluation
from allegro_md.integrators.base import Clock, EvaluateForces, Setting, require_degrees_of_freedom
from allegro_md.integrators.deformation import Deformable, build_flow
from allegro_md.integrators.schedule import Ramp
from allegro_md.integrators.steps import rescale
from allegro_md.state import AtomState, Field
from allegro_md.units import BOLTZMANN


class NvtBerendsenConfig(DeformableConfig, ThermostatConfig):
    """Weak coupling to a bath at constant volume (Berendsen), for equilibration only."""

    ensemble: Literal["nvt-berendsen"]


class BerendsenThermostat(Deformable):
    """Temperature without its fluctuations.

    Attributes:
        target: temperature over the run, K.
    """

    stochastic: ClassVar[bool] = False
    order: ClassVar[int] = 2
    heats_atoms_at_rest: ClassVar[bool] = False
    fields: ClassVar[tuple[Field, ...]] = ()
    caution: ClassVar[str] = (
        "nvt-berendsen is for equilibration only: it gives the mean temperature, but kinetic energies fluctuate too "
        "little. Take averages from a run with nvt-bussi, nvt-nose-hoover or nvt-langevin"
    )

    def __init__(self, table: NvtBerendsenConfig, setting: Setting) -> None:
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
        self._time = table.thermostat_time
        self._collective = setting.collective
        self._given = 0.0

    def step(self, state: AtomState, forces: EvaluateForces, clock: Clock) -> Evaluation:
        """Makes one step; see the module."""
        evaluation = self._flow.verlet(state, forces, clock.dt)
        self._given += rescale(state, lambda kinetic: self.factor(kinetic, clock), self._collective)
        return evaluation

    def extended_energy(self) -> float:
        """Less the energy that rescaling and a deformation have given to the atoms, eV."""
        return -self._given - self._flow.work

    def state_dict(self) -> dict[str, Any]:
        """The energy given so far."""
        return {"given": self._given, **self._flow.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes up from a `state_dict`."""
        self._given = state["given"]
        self._flow.load_state_dict(state)

    def factor(self, kinetic: float, clock: Clock) -> float:
        """The factor λ for all velocities, at a kinetic energy in eV; the same bits on every rank."""
        aim = 0.5 * self.degrees_of_freedom * BOLTZMANN * self.target(clock.end)
        return math.sqrt(1.0 + clock.dt / self._time * (aim / kinetic - 1.0))


def build(table: NvtBerendsenConfig, setting: Setting) -> BerendsenThermostat:
    """Builds the integrator of a ``[dynamics]`` table."""
    return BerendsenThermostat(table, setting)
