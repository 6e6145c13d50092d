"""Sub-steps of integrators: see `base.StepFunctions`.

Each product and each sum is rounded on its own (no fused multiply-add), so an atom's result does not depend on its
place in the arrays. No array of the size of the system is made.
"""

from __future__ import annotations

import numba
import numpy as np
import torch
from numpy.typing import NDArray

from allegro_md.state import AtomState


def kick(state: AtomState, factors: NDArray[np.float64]) -> None:
    """Adds force · factor of the species to the velocities; `factors` (n_species,) Å/fs per fixed-point unit."""
    arrays = tuple(state.local(name).numpy() for name in ("force", "species", "velocity"))
    if state.held:
        _kick_free(*arrays, factors, state.local("group").numpy(), state.held)
    else:
        _kick(*arrays, factors)


def drift(state: AtomState, time: float) -> None:
    """Adds velocity · time (fs) to the positions."""
    _drift(state.local("velocity").numpy(), time, state.local("position").numpy())


def strain(state: AtomState, deformation: NDArray[np.float64]) -> None:
    """Maps the positions about the cell's origin, x → x₀ + (x − x₀) F; `deformation` (3, 3) is F."""
    _strain(state.local("position").numpy(), state.cell.origin, np.ascontiguousarray(deformation))


def combine(rows: torch.Tensor, factors: NDArray[np.float64], into: int) -> None:
    """Replaces one of k vectors of each atom by a linear combination of all: `rows` (n, k, 3), `factors` (k,)."""
    _combine(rows.numpy(), factors, into)


@numba.njit(cache=True)
def _kick(
    force: NDArray[np.int64], species: NDArray[np.int16], velocity: NDArray[np.float64], factors: NDArray[np.float64]
) -> None:
    """Adds force · factor of the species to the velocities, in place.

    Args:
        force: (n, 3) fixed-point units.
        species: (n,) indices.
        velocity: (n, 3) Å/fs, written.
        factors: (n_species,) time / mass, Å/fs per fixed-point unit.
    """
    for i in range(len(velocity)):
        factor = factors[species[i]]
        for k in range(3):
            velocity[i, k] += np.float64(force[i, k]) * factor


@numba.njit(cache=True)
def _kick_free(
    force: NDArray[np.int64], species: NDArray[np.int16], velocity: NDArray[np.float64], factors: NDArray[np.float64],
    group: NDArray[np.int64], held: int,
) -> None:
    """Adds force · factor of the species to the velocities of atoms that are not held, in place.

    Args:
        force: (n, 3) fixed-point units.
        species: (n,) indices.
        velocity: (n, 3) Å/fs, written.
        factors: (n_species,) time / mass, Å/fs per fixed-point unit.
        group: (n,) bits of an atom's groups.
        held: bits of the groups that are held.
    """
    for i in range(len(velocity)):
        if group[i] & held:
            continue
        factor = factors[species[i]]
        for k in range(3):
            velocity[i, k] += np.float64(force[i, k]) * factor


@numba.njit(cache=True)
def _drift(velocity: NDArray[np.float64], time: float, position: NDArray[np.float64]) -> None:
    """Adds velocity · time to the positions, in place: `velocity` (n, 3) Å/fs, `position` (n, 3) Å."""
    x, v = position.reshape(-1), velocity.reshape(-1)
    for i in range(len(x)):
        x[i] += v[i] * time


@numba.njit(cache=True)
def _strain(position: NDArray[np.float64], origin: NDArray[np.float64], deformation: NDArray[np.float64]) -> None:
    """Maps `position` (n, 3) Å, in place, by `deformation` (3, 3) about `origin` (3,) Å."""
    for i in range(len(position)):
        x, y, z = position[i, 0] - origin[0], position[i, 1] - origin[1], position[i, 2] - origin[2]
        for k in range(3):
            mapped = x * deformation[0, k] + y * deformation[1, k] + z * deformation[2, k]
            position[i, k] = origin[k] + mapped


@numba.njit(cache=True)
def _combine(rows: NDArray[np.float64], factors: NDArray[np.float64], into: int) -> None:
    """Replaces vector `into` of `rows` (n, k, 3), in place, by the combination of all k with `factors` (k,)."""
    for i in range(len(rows)):
        x, y, z = 0.0, 0.0, 0.0
        for k in range(len(factors)):
            x += factors[k] * rows[i, k, 0]
            y += factors[k] * rows[i, k, 1]
            z += factors[k] * rows[i, k, 2]
        rows[i, into, 0], rows[i, into, 1], rows[i, into, 2] = x, y, z
