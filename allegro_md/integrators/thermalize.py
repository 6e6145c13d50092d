"""Initial velocities."""

from __future__ import annotations

import numpy as np

from allegro_md.integrators.base import Collective
from allegro_md.observables import momentum, total_mass
from allegro_md.rng import Draw, Stream, normals
from allegro_md.state import GROUP, AtomState
from allegro_md.units import AMU_A2_PER_FS2, BOLTZMANN

_CHUNK = 1 << 16  # atoms drawn at a time, so that no temporary array has the size of the system


def maxwell_boltzmann(state: AtomState, temperature: float, seed: int, collective: Collective) -> None:
    """Draws velocities (Å/fs) at a temperature (K), then removes the net momentum.

    The numbers depend on seed and atom id only. As drawn, the kinetic energy fluctuates about its mean. Atoms that are
    held keep their velocity; the net momentum of the others stays, since it is not conserved then.
    """
    width = np.sqrt(BOLTZMANN * temperature / (AMU_A2_PER_FS2 * state.species_table.masses))
    for start in range(0, state.n_local, _CHUNK):
        rows = slice(start, start + _CHUNK)
        ids, species = (state.host_local(name)[rows] for name in ("id", "species"))
        drawn = width[species][:, None] * normals(ids, Draw(seed, Stream.VELOCITIES, 0))
        if state.held:
            free = (state.host_local(GROUP.name)[rows] & state.held) == 0
            drawn = np.where(free[:, None], drawn, state.host_local("velocity")[rows])
        state.array_local("velocity")[rows] = state.device_array(drawn)
    if state.held:
        return
    mean = collective.reduce(momentum(state)) / collective.reduce(total_mass(state))
    velocity = state.array_local("velocity")
    velocity -= state.device_array(mean)
