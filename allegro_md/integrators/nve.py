"""Constant energy: velocity Verlet.

Equations: dx/dt = v, m dv/dt = F. Splitting: kick(dt/2) drift(dt) forces kick(dt/2).
Swope, Andersen, Berens, Wilson, J. Chem. Phys. 76, 637 (1982), doi:10.1063/1.442716.
"""

from __future__ import annotations

from typing import Any

from allegro_md.integrators.base import EvaluateForces
from allegro_md.integrators.steps import drift, kick
from allegro_md.state import AtomState


class VelocityVerlet:
    """Microcanonical ensemble.

    Args:
        timestep: fs.
    """

    needs_virial = False

    def __init__(self, timestep: float) -> None:
        self.timestep = timestep

    def step(self, state: AtomState, forces: EvaluateForces, index: int) -> None:
        """One step; see the module."""
        kick(state, 0.5 * self.timestep)
        drift(state, self.timestep)
        forces(state)
        kick(state, 0.5 * self.timestep)

    def thermostat_energy(self) -> float:
        """Zero: the energy itself is conserved."""
        return 0.0

    def state_dict(self) -> dict[str, Any]:
        """Nothing to keep."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Nothing to take up."""
