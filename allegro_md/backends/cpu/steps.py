"""Sub-steps of integrators: see `base.StepFunctions`.

Each product and each sum is rounded on its own (no fused multiply-add), so an atom's result does not depend on its
place in the arrays. No array of the size of the system is made.
"""

from __future__ import annotations

from functools import reduce

import numba
import numpy as np
from numpy.typing import NDArray

from allegro_md.exact import ExactSum
from allegro_md.rng import Draw, fill_normals
from allegro_md.state import AtomState
from allegro_md.units import AMU_A2_PER_FS2

CHUNK = 1 << 14
"""Atoms whose velocities are thermalized at a time: their heat stays in the cache."""

_NOBODY = np.empty(0, dtype=np.int64)


def kick(state: AtomState, factors: NDArray[np.float64]) -> None:
    """Adds force · factor of the species to the velocities; `factors` (n_species,) Å/fs per fixed-point unit."""
    force, species, velocity = state.host_local("force"), state.host_local("species"), state.host_local("velocity")
    _kick(force, species, velocity, factors, _groups(state), state.held)


def work(state: AtomState, time: float) -> None:
    """Adds force · velocity · time (fs per fixed-point unit) to the work done on atoms that are held."""
    force, velocity, group, done = (state.host_local(name) for name in ("force", "velocity", "group", "work"))
    _work(force, velocity, group, state.held, time, done)


def scale_velocities(state: AtomState, factor: float, within: int = 0) -> None:
    """Multiplies the velocities of atoms that are not held, and with `within` only of these groups' atoms."""
    velocity = state.host_local("velocity")
    if state.held or within:
        _scale_some(velocity, factor, state.host_local("group"), state.held, within)
    else:
        velocity *= factor


def add_forces(state: AtomState, forces: NDArray[np.int64], within: int) -> None:
    """Adds forces (n_species, 3), fixed point, to those of atoms of groups `within` that are not held."""
    force, species, group = (state.host_local(name) for name in ("force", "species", "group"))
    _add_forces(force, species, group, forces, state.held, within)


def drift(state: AtomState, time: float) -> None:
    """Adds velocity · time (fs) to the positions."""
    _drift(state.host_local("velocity"), time, state.host_local("position"))


def thermalize(
    state: AtomState, keep: NDArray[np.float64], width: NDArray[np.float64], draw: Draw, within: int = 0
) -> ExactSum:
    """Replaces v by keep · v + width · R; `keep` (n_species,), `width` (n_species,) Å/fs. Returns the heat, eV."""
    ids, species, velocity = (state.host_local(name) for name in ("id", "species", "velocity"))
    masses = state.species_table.masses * AMU_A2_PER_FS2
    grouped, chosen = state.held or within, (state.held, within)
    group = state.host_local("group" if grouped else "id")  # where nothing is chosen any numbers will do
    parts = []
    for start in range(0, max(1, state.n_local), CHUNK):
        rows = slice(start, start + CHUNK)
        gain = _thermalize(ids[rows], species[rows], velocity[rows], keep, width, draw, group[rows], chosen)
        parts.append(ExactSum.of(masses[species[rows]] * gain, "kinetic", ids[rows]))
    return reduce(ExactSum.plus, parts)


def strain(state: AtomState, deformation: NDArray[np.float64]) -> None:
    """Maps the positions about the cell's origin, x → x₀ + (x − x₀) F; `deformation` (3, 3) is F."""
    _strain(state.host_local("position"), state.cell.origin, np.ascontiguousarray(deformation))


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
    arrays = tuple(state.host_local(name) for name in ("force", "species", "velocity"))
    maps = np.ascontiguousarray(damping), np.ascontiguousarray(gain)
    _kick_with_cell(*arrays, factors, *maps, _groups(state), state.held)


def drift_with_cell(state: AtomState, deformation: NDArray[np.float64], flight: NDArray[np.float64]) -> None:
    """Maps the positions, x → x₀ + (x − x₀) F + v T: `deformation` (3, 3) is F, `flight` (3, 3) T in fs."""
    arrays = tuple(state.host_local(name) for name in ("velocity", "position"))
    _drift_with_cell(*arrays, state.cell.origin, np.ascontiguousarray(deformation), np.ascontiguousarray(flight))


def combine(rows: NDArray[np.float64], factors: NDArray[np.float64], into: int) -> None:
    """Replaces one of k vectors of each atom by a linear combination of all: `rows` (n, k, 3), `factors` (k,)."""
    used = np.flatnonzero(factors)
    _combine(rows, used, factors[used], into)


def _groups(state: AtomState) -> NDArray[np.int64]:
    """(n_local,) bits of the groups of each atom; (0,) where none is held, so that nobody asks."""
    return state.host_local("group") if state.held else _NOBODY


@numba.njit(cache=True)
def _kick(
    force: NDArray[np.int64], species: NDArray[np.int16], velocity: NDArray[np.float64], factors: NDArray[np.float64],
    group: NDArray[np.int64], held: int,
) -> None:
    """Adds force · factor of the species to the velocities of atoms that are not held, in place.

    Args:
        force: (n, 3) fixed-point units.
        species: (n,) indices.
        velocity: (n, 3) Å/fs, written.
        factors: (n_species,) time / mass, Å/fs per fixed-point unit.
        group: (n,) bits of an atom's groups; (0,) where none is held.
        held: bits of the groups that are held.
    """
    for i in range(len(velocity)):
        if held != 0 and group[i] & held:
            continue
        factor = factors[species[i]]
        for k in range(3):
            velocity[i, k] += np.float64(force[i, k]) * factor


@numba.njit(cache=True)
def _work(
    force: NDArray[np.int64], velocity: NDArray[np.float64], group: NDArray[np.int64], held: int, time: float,
    done: NDArray[np.float64],
) -> None:
    """Adds force · velocity · time to `done`, in place.

    Args:
        force: (n, 3) fixed-point units.
        velocity: (n, 3) Å/fs.
        group: (n,) bits of an atom's groups.
        held: bits of the groups that are held; other atoms are left out.
        time: fs per fixed-point unit.
        done: (n,) eV, written.
    """
    for i in range(len(done)):
        if group[i] & held:
            for k in range(3):
                done[i] += np.float64(force[i, k]) * velocity[i, k] * time


@numba.njit(cache=True)
def _scale_some(
    velocity: NDArray[np.float64], factor: float, group: NDArray[np.int64], held: int, within: int
) -> None:
    """Multiplies `velocity` (n, 3) in place, of atoms with none of `held` and a bit of `within` in `group` (n,).

    With `within` = 0 all atoms that are not held take part.
    """
    for i in range(len(velocity)):
        if group[i] & held == 0 and (within == 0 or group[i] & within):
            for k in range(3):
                velocity[i, k] *= factor


@numba.njit(cache=True)
def _add_forces(
    force: NDArray[np.int64], species: NDArray[np.int16], group: NDArray[np.int64], forces: NDArray[np.int64],
    held: int, within: int,
) -> None:
    """Adds forces to atoms of some groups, in place.

    Args:
        force: (n, 3) fixed-point units, written.
        species: (n,) indices.
        group: (n,) bits of an atom's groups.
        forces: (n_species, 3) fixed-point units.
        held: atoms with one of these bits are left out.
        within: atoms with one of these bits take part.
    """
    for i in range(len(force)):
        if group[i] & within and group[i] & held == 0:
            for k in range(3):
                force[i, k] += forces[species[i], k]


@numba.njit(cache=True)
def _drift(velocity: NDArray[np.float64], time: float, position: NDArray[np.float64]) -> None:
    """Adds velocity · time to the positions, in place: `velocity` (n, 3) Å/fs, `position` (n, 3) Å."""
    x, v = position.reshape(-1), velocity.reshape(-1)
    for i in range(len(x)):
        x[i] += v[i] * time


@numba.njit(cache=True)
def _thermalize(
    ids: NDArray[np.int64], species: NDArray[np.int16], velocity: NDArray[np.float64],
    keep: NDArray[np.float64], width: NDArray[np.float64], draw: Draw, group: NDArray[np.int64],
    chosen: tuple[int, int],
) -> NDArray[np.float64]:
    """Mixes velocities of chosen atoms with normal deviates, in place.

    Args:
        ids: (n,) global atom ids.
        species: (n,) indices.
        velocity: (n, 3) Å/fs, written.
        keep: (n_species,) factors.
        width: (n_species,) Å/fs.
        draw: which deviates.
        group: (n,) bits of an atom's groups.
        chosen: bits of the groups that are held, and of those that take part (0: all atoms do).

    Returns:
        (n,) ½ (v_new² − v_old²) of each atom, Å²/fs².
    """
    normals, gain = np.empty((len(ids), 3)), np.zeros(len(ids))
    fill_normals(ids, draw, normals)
    held, within = chosen
    for i in range(len(ids)):
        if group[i] & held or (within != 0 and group[i] & within == 0):
            continue
        c, w = keep[species[i]], width[species[i]]
        for k in range(3):
            old = velocity[i, k]
            new = c * old + w * normals[i, k]
            velocity[i, k] = new
            gain[i] += 0.5 * (new * new - old * old)
    return gain


@numba.njit(cache=True)
def _strain(position: NDArray[np.float64], origin: NDArray[np.float64], deformation: NDArray[np.float64]) -> None:
    """Maps `position` (n, 3) Å, in place, by `deformation` (3, 3) about `origin` (3,) Å."""
    for i in range(len(position)):
        x, y, z = position[i, 0] - origin[0], position[i, 1] - origin[1], position[i, 2] - origin[2]
        for k in range(3):
            mapped = x * deformation[0, k] + y * deformation[1, k] + z * deformation[2, k]
            position[i, k] = origin[k] + mapped


@numba.njit(cache=True)
def _kick_with_cell(
    force: NDArray[np.int64], species: NDArray[np.int16], velocity: NDArray[np.float64], factors: NDArray[np.float64],
    d: NDArray[np.float64], g: NDArray[np.float64], group: NDArray[np.int64], held: int,
) -> None:
    """Maps the velocities of atoms that are not held, v → v D + (force · factor) G, in place.

    Args:
        force: (n, 3) fixed-point units.
        species: (n,) indices.
        velocity: (n, 3) Å/fs, written.
        factors: (n_species,) time / mass, Å/fs per fixed-point unit.
        d: (3, 3) D.
        g: (3, 3) G.
        group: (n,) bits of an atom's groups; (0,) where none is held.
        held: bits of the groups that are held.
    """
    for i in range(len(velocity)):
        if held != 0 and group[i] & held:
            continue
        factor = factors[species[i]]
        x, y, z = velocity[i, 0], velocity[i, 1], velocity[i, 2]
        a, b, c = np.float64(force[i, 0]) * factor, np.float64(force[i, 1]) * factor, np.float64(force[i, 2]) * factor
        for k in range(3):
            velocity[i, k] = (x * d[0, k] + y * d[1, k] + z * d[2, k]) + (a * g[0, k] + b * g[1, k] + c * g[2, k])


@numba.njit(cache=True)
def _drift_with_cell(
    velocity: NDArray[np.float64], position: NDArray[np.float64], origin: NDArray[np.float64],
    f: NDArray[np.float64], t: NDArray[np.float64],
) -> None:
    """Maps the positions, x → x₀ + (x − x₀) F + v T, in place.

    Args:
        velocity: (n, 3) Å/fs.
        position: (n, 3) Å, written.
        origin: (3,) Å, x₀.
        f: (3, 3) F.
        t: (3, 3) T, fs.
    """
    for i in range(len(position)):
        x, y, z = position[i, 0] - origin[0], position[i, 1] - origin[1], position[i, 2] - origin[2]
        a, b, c = velocity[i, 0], velocity[i, 1], velocity[i, 2]
        for k in range(3):
            mapped = (x * f[0, k] + y * f[1, k] + z * f[2, k]) + (a * t[0, k] + b * t[1, k] + c * t[2, k])
            position[i, k] = origin[k] + mapped


@numba.njit(cache=True)
def _combine(
    rows: NDArray[np.float64], used: NDArray[np.int64], factors: NDArray[np.float64], into: int
) -> None:
    """Replaces a vector of each atom by a linear combination, in place.

    Args:
        rows: (n, k, 3), written.
        used: (m,) indices of the vectors that are combined, ascending.
        factors: (m,) of them.
        into: index of the vector that is replaced.
    """
    for i in range(len(rows)):
        x, y, z = 0.0, 0.0, 0.0
        for m in range(len(used)):
            k, factor = used[m], factors[m]
            x += factor * rows[i, k, 0]
            y += factor * rows[i, k, 1]
            z += factor * rows[i, k, 2]
        rows[i, into, 0], rows[i, into, 1], rows[i, into, 2] = x, y, z
