"""Constant temperature: Langevin dynamics.

m dv = F dt − γ m v dt + sqrt(2 γ m k_B T) dW for every component. Splitting BAOAB of Leimkuhler, Matthews, Appl. Math.
Res. Express 2013, 34, doi:10.1093/amrx/abs010; J. Chem. Phys. 138, 174102 (2013), doi:10.1063/1.4802990:

    kick(dt/2)  drift(dt/2)  v → c v + sqrt((1 − c²) k_B T/m) R  drift(dt/2)  forces  kick(dt/2),  c = exp(−γ dt)

R is a standard normal deviate of each component of each atom. Conserved: K + U less the sum of all changes of K by the
step in the middle. Total momentum is not conserved, so all 3N degrees of freedom are at the temperature.

| symbol | code |
|---|---|
| γ | `friction` (1/fs) |
| c, sqrt((1 − c²) k_B T/m) | `keep`, `width` of `LangevinNoise.factors` |
"""

from __future__ import annotations

import math
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import model_validator

from allegro_md.config.dynamics import DeformableConfig, SeparateConfig
from allegro_md.config.fields import Quantity, Seed, problem
from allegro_md.evaluation import Evaluation
from allegro_md.integrators.base import Clock, EvaluateForces, Integrator, Setting
from allegro_md.integrators.deformation import Deformable, build_flow
from allegro_md.integrators.schedule import Ramp
from allegro_md.integrators.separate import EVERYTHING, Part, nothing, separated
from allegro_md.integrators.steps import change_temperature, thermalize
from allegro_md.rng import Draw, Stream
from allegro_md.state import AtomState, Field
from allegro_md.units import AMU_A2_PER_FS2, BOLTZMANN


class NvtLangevinConfig(DeformableConfig, SeparateConfig):
    """Langevin dynamics at constant volume (BAOAB).

    Attributes:
        friction: γ, 1/fs.
        seed: of the random numbers.
    """

    keeps_momentum: ClassVar[bool] = False

    ensemble: Literal["nvt-langevin"]
    friction: Annotated[float, Quantity("rate")] = 1e-3
    seed: Seed = 1

    @model_validator(mode="after")
    def _slower_than_step(self) -> NvtLangevinConfig:
        if self.friction * self.timestep >= 1.0:
            raise problem(
                f"must be below 1/timestep, got {self.friction:g}/fs with a timestep of {self.timestep:g} fs",
                'a friction of "0.1/ps" to "10/ps" is usual', "friction",
            )  # fmt: skip
        return self


class Langevin(Deformable):
    """Canonical ensemble, with friction and noise on every atom.

    Attributes:
        target: temperature over the run, K.
        part: atoms that are thermostatted.
    """

    stochastic: ClassVar[bool] = True
    order: ClassVar[int] = 2
    heats_atoms_at_rest: ClassVar[bool] = True
    fields: ClassVar[tuple[Field, ...]] = ()

    def __init__(self, table: NvtLangevinConfig, setting: Setting, part: Part = EVERYTHING) -> None:
        """Prepares the integrator of a ``[dynamics]`` table."""
        super().__init__(build_flow(table, setting))
        self.timestep = table.timestep
        self.degrees_of_freedom = setting.degrees_of_freedom(momentum_removed=False)
        self.target = Ramp(*table.ramp, table.steps)
        self.max_temperature = self.target.highest
        self.finished = False
        self.part = part
        self._friction, self._seed = table.friction, table.seed
        self._collective = setting.collective
        self._given = 0.0

    def step(self, state: AtomState, forces: EvaluateForces, clock: Clock) -> Evaluation:
        """Makes one step; see the module."""
        return self._flow.verlet(state, forces, clock.dt, lambda: self.between(state, clock))

    begin = finish = nothing

    def between(self, state: AtomState, clock: Clock) -> None:
        """Friction and noise of a step; see `separate.Thermostat`."""
        keep, width = self._collective.agreed(lambda: self.factors(state.species_table.masses, clock))
        draw = Draw(self._seed, int(Stream.LANGEVIN), clock.step, clock.substep)
        self._given += float(self._collective.reduce(thermalize(state, keep, width, draw, self.part.bit))[0])

    def extended_energy(self) -> float:
        """Less the energy that friction, noise and a deformation have given to the atoms, eV."""
        return -self._given - self._flow.work

    def state_dict(self) -> dict[str, Any]:
        """The energy given so far and the temperatures; random numbers follow from seed, step and atom id."""
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

    def factors(self, masses: NDArray[np.float64], clock: Clock) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The share of the velocity kept and the width of the noise; exp is libm's: see `Collective.agreed`.

        Args:
            masses: (n_species,) amu.
            clock: the part of the step.

        Returns:
            keep (n_species,) and width (n_species,) Å/fs.
        """
        keep = math.exp(-self._friction * clock.dt)
        gain = -math.expm1(-2.0 * self._friction * clock.dt)  # 1 − c², also where friction is small
        width = np.sqrt(gain * BOLTZMANN * self.target(clock.end) / (AMU_A2_PER_FS2 * masses))
        return np.full(len(masses), keep), width


def build(table: NvtLangevinConfig, setting: Setting) -> Integrator:
    """Builds the integrator of a ``[dynamics]`` table."""
    return separated(Langevin, table, setting)
