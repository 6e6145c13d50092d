"""Constant energy: velocity Verlet.

Equations: dx/dt = v, m dv/dt = F. Splitting: kick(dt/2) drift(dt) forces kick(dt/2).
Swope, Andersen, Berens, Wilson, J. Chem. Phys. 76, 637 (1982), doi:10.1063/1.442716.
"""

from __future__ import annotations

from typing import Any, ClassVar

from allegro_md.config import NveConfig
from allegro_md.evaluation import NOTHING_MORE, Evaluation, Needs
from allegro_md.integrators.base import Clock, EvaluateForces, Setting
from allegro_md.integrators.steps import drift, kick
from allegro_md.state import AtomState, Field


class VelocityVerlet:
    """Microcanonical ensemble."""

    needs: ClassVar[Needs] = NOTHING_MORE
    stochastic: ClassVar[bool] = False
    order: ClassVar[int] = 2
    heats_atoms_at_rest: ClassVar[bool] = True
    changes_cell: ClassVar[bool] = False
    fields: ClassVar[tuple[Field, ...]] = ()

    def __init__(self, timestep: float, degrees_of_freedom: int) -> None:
        """Prepares the integrator; `timestep` in fs."""
        self.timestep = timestep
        self.degrees_of_freedom = degrees_of_freedom
        self.max_temperature = 0.0
        self.finished = False

    def step(self, state: AtomState, forces: EvaluateForces, clock: Clock) -> Evaluation:
        """Makes one step; see the module."""
        kick(state, 0.5 * clock.dt)
        drift(state, clock.dt)
        evaluation = forces(state, self.needs)
        kick(state, 0.5 * clock.dt)
        return evaluation

    def extended_energy(self) -> float:
        """Zero: the energy itself is conserved."""
        return 0.0

    def state_dict(self) -> dict[str, Any]:
        """Nothing to keep."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Nothing to take up."""


def build(table: NveConfig, setting: Setting) -> VelocityVerlet:
    """Builds the integrator of a ``[dynamics]`` table."""
    return VelocityVerlet(table.timestep, setting.degrees_of_freedom(table.remove_momentum))
