"""The sub-steps integrators are made of: functions of the state, in place, own atoms only.

Each product and each sum is rounded on its own (no fused multiply-add), so an atom's result does not depend on its
place in the arrays.
"""

from __future__ import annotations

from allegro_md.exact import FORCE_SCALE
from allegro_md.state import AtomState
from allegro_md.units import AMU_A2_PER_FS2


def kick(state: AtomState, time: float) -> None:
    """Adds force/mass · time (fs) to the velocities."""
    factor = (time / (FORCE_SCALE * AMU_A2_PER_FS2)) / state.mass
    state.local("velocity").add_(state.local("force").double().mul_(factor[:, None]))


def drift(state: AtomState, time: float) -> None:
    """Adds velocity · time (fs) to the positions."""
    state.local("position").add_(state.local("velocity") * time)


def scale_velocities(state: AtomState, factor: float) -> None:
    """Multiplies all velocities."""
    state.local("velocity").mul_(factor)
