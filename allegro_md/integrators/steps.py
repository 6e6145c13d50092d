"""The sub-steps integrators are made of: functions of the state, in place, local atoms only, one pass each."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from allegro_md.backends import backend_for
from allegro_md.cell import product
from allegro_md.exact import FORCE_SCALE, ExactSum
from allegro_md.integrators.base import Collective
from allegro_md.observables import kinetic_energy
from allegro_md.rng import Draw
from allegro_md.state import WORK, AtomState
from allegro_md.units import AMU_A2_PER_FS2

MOST_TILT = 0.6
"""Of a lattice row along another one, of whose length it is a fraction: beyond 0.5, so that none flips to and fro."""


def kick(state: AtomState, time: float) -> None:
    """Adds force/mass · time (fs) to the velocities, but for atoms of groups that are held (`AtomState.held`).

    Of these the work done on them is summed up, force · velocity · time, where the state has the field `WORK`.
    """
    steps = backend_for(state.device).steps
    steps.kick(state, (time / (FORCE_SCALE * AMU_A2_PER_FS2)) / state.species_table.masses)
    if WORK.name in state.fields:
        steps.work(state, time / FORCE_SCALE)


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
    backend_for(state.device).steps.strain(state, product(state.cell.inverse, matrix))
    state.cell = state.cell.with_matrix(matrix)


def kick_with_cell(state: AtomState, time: float, damping: NDArray[np.float64], gain: NDArray[np.float64]) -> None:
    """Maps the velocities while the cell moves, v → v D + (force/mass · time) G.

    Atoms of groups that are held (`AtomState.held`) keep theirs; work is done on them as by `kick`.

    Args:
        state: the velocities of its local atoms are changed.
        time: fs.
        damping: (3, 3) D, the same bits on all ranks.
        gain: (3, 3) G, the same bits on all ranks.
    """
    factors = (time / (FORCE_SCALE * AMU_A2_PER_FS2)) / state.species_table.masses
    steps = backend_for(state.device).steps
    steps.kick_with_cell(state, factors, damping, gain)
    if WORK.name in state.fields:
        steps.work(state, time / FORCE_SCALE)


def drift_with_cell(state: AtomState, deformation: NDArray[np.float64], flight: NDArray[np.float64]) -> None:
    """Moves atoms and cell together: h → h F for the lattice rows, x → x₀ + (x − x₀) F + v T for the positions.

    Atoms at rest keep their fractional coordinates. Call it before `forces`.

    Args:
        state: its cell and the positions of its local atoms are changed.
        deformation: (3, 3) F, the same bits on all ranks.
        flight: (3, 3) T, fs, the same bits on all ranks.
    """
    backend_for(state.device).steps.drift_with_cell(state, deformation, flight)
    state.cell = state.cell.with_matrix(product(state.cell.matrix, deformation))


def reduce_cell(state: AtomState) -> bool:
    """Replaces a strongly tilted cell by a less tilted one of the same lattice; positions stay as they are.

    A lattice row of a periodic axis is tilted too far when its component along an earlier one, after Gram and Schmidt,
    is more than `MOST_TILT` of that one's length; the rounded multiple of that row is subtracted. Shifts and
    neighbor lists are those of another cell then: the next evaluation makes them anew.

    Returns:
        The cell was replaced.
    """
    rows, periodic = np.array(state.cell.matrix), state.cell.periodic
    reduced = False
    for b, a in ((1, 0), (2, 1), (2, 0)):
        axis = rows[a] - (_along(rows[a], rows[0]) * rows[0] if a == 1 else 0.0)
        tilt = _along(rows[b], axis)
        if periodic[a] and periodic[b] and abs(tilt) > MOST_TILT:
            rows[b] -= np.rint(tilt) * rows[a]
            reduced = True
    if reduced:
        state.cell = state.cell.with_matrix(rows)
        state.lattices += 1
    return reduced


def _along(row: NDArray[np.float64], axis: NDArray[np.float64]) -> float:
    """Component of `row` (3,) along `axis` (3,), in units of its length; by plain products, as all ranks need it."""
    r, a = row.tolist(), axis.tolist()
    return float((r[0] * a[0] + r[1] * a[1] + r[2] * a[2]) / (a[0] * a[0] + a[1] * a[1] + a[2] * a[2]))


def thermalize(
    state: AtomState, keep: NDArray[np.float64], width: NDArray[np.float64], draw: Draw, within: int = 0
) -> ExactSum:
    """Replaces velocities by keep · v + width · R, with normal deviates R of the atoms' own.

    Args:
        state: its velocities are changed.
        keep: (n_species,) factors, the same bits on all ranks.
        width: (n_species,) Å/fs, the same bits on all ranks.
        draw: which deviates.
        within: bits of the groups whose atoms are thermalized; 0: all atoms are. Those that are held never are.

    Returns:
        The kinetic energy gained by the local atoms, eV; one component.
    """
    return backend_for(state.device).steps.thermalize(state, keep, width, draw, within)


def scale_velocities(state: AtomState, factor: float, within: int = 0) -> None:
    """Multiplies the velocities of atoms that are not held, and with bits `within` only of these groups' atoms."""
    backend_for(state.device).steps.scale_velocities(state, factor, within)


def rescale(state: AtomState, factor: Callable[[float], float], collective: Collective, within: int = 0) -> float:
    """Multiplies the velocities by a factor that follows from their kinetic energy (collective).

    Args:
        state: the velocities of its local atoms are changed; atoms at rest stay so, and no factor is asked for.
        factor: kinetic energy in eV → the factor, the same bits on all ranks.
        collective: for the kinetic energy.
        within: bits of groups, of whose atoms alone all this holds; 0: of all atoms.

    Returns:
        The kinetic energy gained, eV.
    """
    kinetic = float(collective.reduce(kinetic_energy(state, within))[0])
    if not kinetic > 0.0:
        return 0.0
    scale_velocities(state, factor(kinetic), within)
    return float(collective.reduce(kinetic_energy(state, within))[0]) - kinetic


def change_temperature(state: AtomState, before: float, after: float, collective: Collective) -> float:
    """Multiplies all velocities by the square root of a ratio of temperatures (collective).

    Returns:
        The kinetic energy gained, eV.
    """
    return rescale(state, lambda _: math.sqrt(after / before), collective)
