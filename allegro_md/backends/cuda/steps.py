"""Sub-steps of integrators: see `base.StepFunctions`. Only the heat of a thermostat comes back.

Tables of forces and of combined vectors are copied to the device, for which the host waits.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from allegro_md.backends.cuda import sums
from allegro_md.exact import ExactSum
from allegro_md.kernels.gpu.launch import Kernel, kernel
from allegro_md.rng import Draw
from allegro_md.state import AtomState
from allegro_md.units import AMU_A2_PER_FS2


def _kernel(name: str) -> Kernel:
    return kernel("steps.cuh", name)


def groups(state: AtomState, chosen: bool) -> Any:
    """(n_local,) bits of the groups of each atom; None unless some atoms are chosen by them, so that nobody asks."""
    return state.array_local("group") if chosen else None


def kick(state: AtomState, factors: NDArray[np.float64]) -> None:
    """Adds force · factor of the species to the velocities; `factors` (n_species,) Å/fs per fixed-point unit."""
    force, species, velocity = (state.array_local(name) for name in ("force", "species", "velocity"))
    held = groups(state, state.held != 0)
    _kernel("kick").over(state.n_local, state.n_local, force, species, factors, held, state.held, velocity)


def work(state: AtomState, time: float) -> None:
    """Adds force · velocity · time (fs per fixed-point unit) to the work done on atoms that are held."""
    force, velocity, group, done = (state.array_local(name) for name in ("force", "velocity", "group", "work"))
    _kernel("work").over(state.n_local, state.n_local, force, velocity, group, state.held, time, done)


def scale_velocities(state: AtomState, factor: float, within: int = 0) -> None:
    """Multiplies the velocities of atoms that are not held, and with `within` only of these groups' atoms."""
    group = groups(state, bool(state.held or within))
    scale = _kernel("scale_velocities")
    scale.over(state.n_local, state.n_local, factor, group, state.held, within, state.array_local("velocity"))


def add_forces(state: AtomState, forces: NDArray[np.int64], within: int) -> None:
    """Adds forces (n_species, 3), fixed point, to those of atoms of groups `within` that are not held."""
    force, species, group = (state.array_local(name) for name in ("force", "species", "group"))
    table = state.device_array(np.ascontiguousarray(forces))
    _kernel("add_forces").over(state.n_local, state.n_local, species, group, table, state.held, within, force)


def drift(state: AtomState, time: float) -> None:
    """Adds velocity · time (fs) to the positions."""
    n = 3 * state.n_local
    _kernel("drift").over(n, n, state.array_local("velocity"), time, state.array_local("position"))


def thermalize(
    state: AtomState, keep: NDArray[np.float64], width: NDArray[np.float64], draw: Draw, within: int = 0
) -> ExactSum:
    """Replaces v by keep · v + width · R; `keep` (n_species,), `width` (n_species,) Å/fs. Returns the heat, eV."""
    n, ids, species, velocity = state.n_local, *(state.array_local(name) for name in ("id", "species", "velocity"))
    gain = torch.empty(n, dtype=torch.float64, device=velocity.device)
    group = groups(state, bool(state.held or within))
    _kernel("thermalize").over(n, n, ids, species, keep, width, *draw, group, state.held, within, velocity, gain)
    masses = state.species_table.masses * AMU_A2_PER_FS2
    return sums.sum_of("heat", (n, gain, species, masses), "kinetic", 1, state)


def strain(state: AtomState, deformation: NDArray[np.float64]) -> None:
    """Maps the positions about the cell's origin, x → x₀ + (x − x₀) F; `deformation` (3, 3) is F."""
    position = state.array_local("position")
    _kernel("strain").over(state.n_local, state.n_local, state.cell.origin, deformation, position)


def kick_with_cell(
    state: AtomState, factors: NDArray[np.float64], damping: NDArray[np.float64], gain: NDArray[np.float64]
) -> None:
    """Maps the velocities, v → v D + (force · factor) G, but for atoms that are held.

    Args:
        state: with forces.
        factors: (n_species,) time / mass, Å/fs per fixed-point unit of force.
        damping: (3, 3) D.
        gain: (3, 3) G.
    """
    n, held = state.n_local, groups(state, state.held != 0)
    force, species, velocity = (state.array_local(name) for name in ("force", "species", "velocity"))
    _kernel("kick_with_cell").over(n, n, force, species, factors, damping, gain, held, state.held, velocity)


def drift_with_cell(state: AtomState, deformation: NDArray[np.float64], flight: NDArray[np.float64]) -> None:
    """Maps the positions, x → x₀ + (x − x₀) F + v T: `deformation` (3, 3) is F, `flight` (3, 3) T in fs."""
    n, velocity, position = state.n_local, state.array_local("velocity"), state.array_local("position")
    _kernel("drift_with_cell").over(n, n, velocity, state.cell.origin, deformation, flight, position)


def combine(rows: torch.Tensor, factors: NDArray[np.float64], into: int) -> None:
    """Replaces one of k vectors of each atom by a linear combination of all: `rows` (n, k, 3), `factors` (k,)."""
    n, used = len(rows), np.flatnonzero(factors)
    indices, kept = (torch.from_numpy(each).to(rows.device) for each in (used, factors[used]))
    _kernel("combine").over(n, n, rows.shape[1], len(used), indices, kept, into, rows)
