"""The sub-steps integrators are made of: functions of the state, in place, local atoms only, one pass each."""

from __future__ import annotations

from allegro_md.backends import backend_for
from allegro_md.exact import FORCE_SCALE
from allegro_md.state import AtomState
from allegro_md.units import AMU_A2_PER_FS2


def kick(state: AtomState, time: float) -> None:
    """Adds force/mass · time (fs) to the velocities."""
    factors = (time / (FORCE_SCALE * AMU_A2_PER_FS2)) / state.species_table.masses
    backend_for(state.device).steps.kick(state, factors)


def drift(state: AtomState, time: float) -> None:
    """Adds velocity · time (fs) to the positions."""
    backend_for(state.device).steps.drift(state, time)


def scale_velocities(state: AtomState, factor: float) -> None:
    """Multiplies all velocities."""
    state.local("velocity").mul_(factor)
