"""Ownership of atoms: wrapping to find the owner, and the migration of atoms to their owner's rank."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from allegro_md.backends import backend_for
from allegro_md.comm import Comm
from allegro_md.domain.decomposition import Decomposition
from allegro_md.errors import PhysicsError
from allegro_md.state import AtomState, DeviceArray, on_host

_MOST_BOXES = 1e9  # an atom may be so many boxes away: its shift fits into int32


def fractional_bounds(state: AtomState, comm: Comm) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(3,) smallest and largest fractional coordinate of all atoms (collective); zeros when there is none."""
    with comm.collective_errors():
        _require_finite(state)
    extremes = comm.max(backend_for(state.device).domain.extremes(state))
    return (-extremes[:3], extremes[3:]) if np.all(np.isfinite(extremes)) else (np.zeros(3), np.zeros(3))


def migrate(state: AtomState, decomposition: Decomposition, comm: Comm) -> int:
    """Sends every local atom to the rank whose brick its wrapped position lies in, drops ghosts, sets `shift`.

    Positions are not touched: an atom's image is the integer `shift` beside it.

    Returns:
        How many atoms this rank sent away.

    Raises:
        PhysicsError: a position that is not finite, or a count of atoms that does not add up.
    """
    state.resize(state.n_local, 0)
    error: Exception | None = None
    leaving, to = np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int32)
    try:
        _require_finite(state)
        leaving, to = _leaving(state, decomposition, comm.rank)
    except Exception as found:  # handed to every rank
        error = found
    wrong, any_leave = comm.max(np.array([error is not None, len(leaving) > 0], dtype=np.float64))  # one reduction
    if wrong:
        comm.raise_together(error)
    if any_leave:
        _exchange_atoms(state, leaving, to, comm)
        backend_for(state.device).domain.assign_owners(state, decomposition.planes)
    _count(state, comm)
    return len(leaving)


def assign_initial_owners(state: AtomState, decomposition: Decomposition, comm: Comm) -> None:
    """Keeps the local atoms that this rank's brick owns, at the start, when each rank made its part of the system.

    Raises:
        PhysicsError: the ranks together do not hold every atom once.
    """
    mine = backend_for(state.device).domain.assign_owners(state, decomposition.planes) == comm.rank
    state.set_local({name: state.array_local(name)[mine] for name, field in state.fields.items() if field.migrates})
    backend_for(state.device).domain.assign_owners(state, decomposition.planes)  # sets the shifts
    _count(state, comm)


def _count(state: AtomState, comm: Comm) -> None:
    """Counts the atoms of all ranks."""
    n_found = int(comm.sum(np.array([state.n_local]))[0])
    if n_found != state.n_total:
        raise PhysicsError(f"{state.n_total} atoms expected after migration, {n_found} found: one was lost or doubled")


def _require_finite(state: AtomState) -> None:
    farthest = _MOST_BOXES * float(state.cell.heights.min())
    worst = backend_for(state.device).domain.first_beyond(state, farthest)
    if worst >= 0:
        atom, position = int(state.array_local("id")[worst]), state.array_local("position")[worst].tolist()
        raise PhysicsError(f"the position of atom {atom} is not finite, or beyond any box: {position} Å", [atom])


def _leaving(
    state: AtomState, decomposition: Decomposition, rank: int
) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """Sets the shifts of the local atoms; gives those that other ranks own, ascending, and these ranks, (m,) each."""
    owner = backend_for(state.device).domain.assign_owners(state, decomposition.planes)
    away = owner != rank
    rows = np.flatnonzero(away) if isinstance(away, np.ndarray) else away.nonzero().flatten()
    return on_host(rows), on_host(owner[rows])


def _exchange_atoms(state: AtomState, leaving: NDArray[np.int64], to: NDArray[np.int32], comm: Comm) -> None:
    """Exchanges the atoms owned elsewhere, field by field: what arrives takes the rows of what has left.

    Rows that stay free are filled from the end; no field is held twice.

    Args:
        state: local atoms.
        leaving: (m,) indices of those that leave, ascending.
        to: (m,) their ranks.
        comm: all ranks.
    """
    by_owner = state.device_array(leaving[np.argsort(to, kind="stable")])
    counts = comm.count_rows(np.bincount(to, minlength=comm.size))
    arrived: dict[str, DeviceArray] = {}
    for name, field in state.fields.items():
        if field.migrates:
            received, _ = comm.exchange(on_host(state.array_local(name)[by_owner]), counts)
            arrived[name] = state.device_array(received)
    n_before, n_arrived = state.n_local, len(arrived["id"])
    n_after = n_before - len(leaving) + n_arrived
    state.resize(max(n_before, n_after), 0)
    free = np.concatenate([leaving, np.arange(n_before, max(n_before, n_after))])
    filled, free = state.device_array(free[:n_arrived]), free[n_arrived:]
    for name, rows in arrived.items():
        state.array_local(name)[filled] = rows
    taken = np.ones(max(0, n_before - n_after), dtype=np.bool_)
    taken[free[free >= n_after] - n_after] = False
    holes = state.device_array(free[free < n_after])
    last = state.device_array(n_after + np.flatnonzero(taken))  # as many as there are holes
    for name in arrived:
        values = state.array_local(name)
        values[holes] = values[last]
    state.resize(n_after, 0)
