"""The motion a run starts with: net momentum, and thermostats that could not work."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from allegro_md.backends import backend_for
from allegro_md.comm import Comm
from allegro_md.config.dynamics import DynamicsConfig
from allegro_md.errors import InputError
from allegro_md.evaluation import PotentialInfo
from allegro_md.exact import FORCE_SCALE
from allegro_md.integrators.base import Integrator
from allegro_md.observables import kinetic_energy, momentum, temperature, total_mass
from allegro_md.simulation.forces import ForceEvaluator
from allegro_md.state import AtomState
from allegro_md.units import AMU_A2_PER_FS2

DRIFT = 1e-6
"""K; net momentum that is worth less than this is rounding."""

AT_REST = 1e-3
"""eV/Å; atoms at rest whose forces are weaker do not begin to move by themselves."""


REMOVED = "the net momentum of the start velocities was removed"
"""Beginning of the line of the log that says so."""


def remove_momentum(
    state: AtomState, table: DynamicsConfig, info: PotentialInfo, comm: Comm, driven: bool = False
) -> list[str]:
    """Removes the net momentum of the start where it would be conserved (collective).

    Temperature, thermostats and pressure count 3N − 3 degrees of freedom then, which is wrong for a system that moves
    as a whole. Where atoms are held, or external forces act (`driven`), momentum is not conserved and stays.

    Returns:
        Lines for the log: what was removed.
    """
    if not (info.conserves_momentum and table.removes_momentum) or state.held or driven:
        return []
    if state.n_total == 1 and not table.keeps_momentum:
        return []
    if state.n_total == 1:
        moves = float(comm.reduce(kinetic_energy(state))[0]) > 0.0
        said = "the velocity of the only atom is kept; its temperature is 0 K"
        return [f"{said}: only motion relative to other atoms counts"] if moves else []
    mass = float(comm.reduce(total_mass(state))[0])
    velocity = comm.reduce(momentum(state)) / mass if mass > 0.0 else np.zeros(3)
    speed = float(np.linalg.norm(velocity))
    share = 0.5 * mass * speed**2 * AMU_A2_PER_FS2
    if temperature(share, 3 * state.n_total) <= DRIFT:
        return []
    velocities = state.array_local("velocity")
    velocities -= state.device_array(velocity)
    counted = " and counts 3N degrees of freedom" if table.keeps_momentum else ""
    return [
        f"{REMOVED}: the system moved as a whole at {speed:.4g} Å/fs "
        f"({share:.4g} eV). dynamics.remove_momentum = false keeps it{counted}"
    ]


def require_motion(
    state: AtomState, forces: ForceEvaluator, integrator: Integrator, remarks: Sequence[str], comm: Comm,
    key: str = "[system.velocities] temperature",
) -> list[str]:
    """Refuses a thermostat that only multiplies velocities where all atoms are at rest and stay so (collective).

    Args:
        state: at the start.
        forces: evaluated only where all atoms are at rest.
        integrator: of the run.
        remarks: lines that `remove_momentum` has given.
        comm: all ranks.
        key: of the input that sets a temperature to begin with.

    Returns:
        Lines for the log: atoms begin at rest, but their forces will move them.

    Raises:
        InputError: nothing would ever move.
    """
    if integrator.heats_atoms_at_rest or float(comm.reduce(kinetic_energy(state))[0]) > 0.0:
        return []
    forces(state, frozenset())
    force = float(comm.max(backend_for(state.device).limits.largest_length(state.array_local("force")) / FORCE_SCALE))
    remedy = f"set {key}, for example {max(integrator.max_temperature, 1.0):g} K"
    removed = any(line.startswith(REMOVED) for line in remarks)
    rest = "all atoms are at rest" + (" once the net momentum is removed" if removed else "")
    if force < AT_REST:
        raise InputError(
            f"{rest}, and no force moves them: this thermostat multiplies velocities, and zero stays zero",
            "dynamics.ensemble",
            remedy,
        )
    return [f"{rest}; the thermostat heats what the forces set in motion. To begin warm, {remedy}"]
