"""The sub-steps integrators are made of: functions of the state, in place, local atoms only, one pass each."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

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


def strain(state: AtomState, matrix: NDArray[np.float64]) -> None:
    """Replaces the cell by one with other lattice rows, and maps the positions with it.

    Fractional coordinates stay as they are, as do lattice shifts and velocities. Call it before `forces`.

    Args:
        state: its cell and the positions of its local atoms are changed.
        matrix: (3, 3) Å, lattice rows, the same bits on all ranks.
    """
    deformation = (state.cell.inverse[:, :, None] * matrix).sum(axis=1)  # a library's product may differ by machine
    backend_for(state.device).steps.strain(state, deformation)
    state.cell = state.cell.with_matrix(matrix)


def scale_velocities(state: AtomState, factor: float) -> None:
    """Multiplies all velocities."""
    state.local("velocity").mul_(factor)
