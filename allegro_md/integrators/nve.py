"""Constant energy: velocity Verlet.

Equations: dx/dt = v, m dv/dt = F. Splitting: kick(dt/2) drift(dt) forces kick(dt/2). Where the cell is
deformed, drift and conserved energy are those of `integrators.deformation`.
Swope, Andersen, Berens, Wilson, J. Chem. Phys. 76, 637 (1982), doi:10.1063/1.442716.
"""

from __future__ import annotations

from typing import Any, ClassVar

from allegro_md.config import NveConfig
from allegro_md.evaluation import Evaluation
from allegro_md.integrators.base import Clock, EvaluateForces, Setting
from allegro_md.integrators.deformation import Deformable, Flow, build_flow
from allegro_md.state import AtomState, Field


class VelocityVerlet(Deformable):
    """Microcanonical ensemble."""

    stochastic: ClassVar[bool] = False
    order: ClassVar[int] = 2
    heats_atoms_at_rest: ClassVar[bool] = True
    fields: ClassVar[tuple[Field, ...]] = ()

    def __init__(self, timestep: float, degrees_of_freedom: int, flow: Flow | None = None) -> None:
        """Prepares the integrator; `timestep` in fs, `flow` deforms the cell."""
        super().__init__(flow or Flow())
        self.timestep = timestep
        self.degrees_of_freedom = degrees_of_freedom
        self.max_temperature = 0.0
        self.finished = False

    @property
    def steps_are_local(self) -> bool:
        """Unless the cell is deformed; see `base.LocalSteps`."""
        return not self._flow.moves

    def step(self, state: AtomState, forces: EvaluateForces, clock: Clock) -> Evaluation:
        """Makes one step; see the module."""
        return self._flow.verlet(state, forces, clock.dt)

    def extended_energy(self) -> float:
        """Less the work that a deformation has done, eV; else the energy itself is conserved."""
        return -self._flow.work

    def state_dict(self) -> dict[str, Any]:
        """The work of a deformation."""
        return self._flow.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes up from a `state_dict`."""
        self._flow.load_state_dict(state)


def build(table: NveConfig, setting: Setting) -> VelocityVerlet:
    """Builds the integrator of a ``[dynamics]`` table."""
    return VelocityVerlet(table.timestep, setting.degrees_of_freedom(table.remove_momentum), build_flow(table, setting))
