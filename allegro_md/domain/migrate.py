"""Ownership of atoms: wrapping to find the owner, and the migration of atoms to their owner's rank.

Arguments: positions (n, 3) Å, unwrapped; origin (3,) Å and inverse (3, 3) 1/Å of the cell; periodic (3,); planes_x,
planes_y and planes_z (bricks + 1,) fractional; owner (n,) int32 and shift (n, 3) int32.
"""

from __future__ import annotations

import numba
import numpy as np
import torch
from numpy.typing import NDArray

from allegro_md.comm import Comm
from allegro_md.domain.decomposition import Decomposition, Grid, choose_grid
from allegro_md.errors import PhysicsError
from allegro_md.state import FIELDS, AtomState

_MOST_BOXES = 1e9  # an atom may be so many boxes away: its shift fits into int32

_HISTOGRAM_BINS = 4096  # resolution of the cut planes on free axes


def fractional_bounds(state: AtomState, comm: Comm) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(3,) smallest and largest fractional coordinate of all atoms (collective); zeros when there is none."""
    with comm.collective_errors():
        _require_finite(state)
    positions = state.local("position").cpu().numpy()
    extremes = comm.max(_extremes(positions, state.cell.origin, state.cell.inverse))
    return (-extremes[:3], extremes[3:]) if np.all(np.isfinite(extremes)) else (np.zeros(3), np.zeros(3))


def decompose(state: AtomState, comm: Comm, grid: Grid | None) -> Decomposition:
    """Cuts the box for the present positions: into equal widths, and into equal numbers of atoms along free axes.

    Collective.

    Args:
        state: local atoms; any rank may hold any.
        comm: all ranks.
        grid: ranks along each axis; None chooses the one with the least surface.
    """
    periodic = state.cell.periodic
    if all(periodic):
        lower, upper = np.zeros(3), np.ones(3)
    else:
        lower, upper = fractional_bounds(state, comm)
    if grid is None:
        grid = comm.bcast(choose_grid(comm.size, state.cell, lower, upper))
    return Decomposition.even(
        grid, periodic, lambda axis, n: _even_cuts(state, comm, axis, n, lower[axis], upper[axis])
    )


def _even_cuts(
    state: AtomState, comm: Comm, axis: int, n_bricks: int, lower: float, upper: float
) -> NDArray[np.float64]:
    """Inner planes of a free axis with about as many atoms between each two, however unevenly they lie."""
    relative = state.local("position").cpu().numpy() - state.cell.origin
    fraction = relative @ state.cell.inverse[:, axis]
    width = max(upper - lower, 1e-12) / _HISTOGRAM_BINS
    bins = np.clip((fraction - lower) / width, 0, _HISTOGRAM_BINS - 1).astype(np.int64)
    below = np.cumsum(comm.sum(np.bincount(bins, minlength=_HISTOGRAM_BINS).astype(np.int64)))
    wanted = state.n_total * np.arange(1, n_bricks) / n_bricks
    return np.asarray(lower + width * (np.searchsorted(below, wanted) + 1.0), dtype=np.float64)


def migrate(state: AtomState, decomposition: Decomposition, comm: Comm) -> int:
    """Sends every local atom to the rank whose brick its wrapped position lies in, drops ghosts, sets `shift`.

    Positions are not touched: an atom's image is the integer `shift` beside it.

    Returns:
        How many atoms this rank sent away.

    Raises:
        PhysicsError: a position that is not finite, or a count of atoms that does not add up.
    """
    state.resize(state.n_local, 0)
    with comm.collective_errors():
        _require_finite(state)
    owner = _owners(state, decomposition)
    moved = int(np.count_nonzero(owner != comm.rank))
    if comm.any(moved > 0):
        _exchange_atoms(state, owner, comm)
    del owner  # settling makes its own
    _set_shifts(state, decomposition, comm)
    return moved


def assign_initial_owners(state: AtomState, decomposition: Decomposition, comm: Comm) -> None:
    """Keeps the local atoms that this rank's brick owns, at the start, when each rank made its part of the system.

    Raises:
        PhysicsError: the ranks together do not hold every atom once.
    """
    owner = _owners(state, decomposition)
    mine = torch.from_numpy(np.flatnonzero(owner == comm.rank)).to(state.device)
    state.set_local({name: state.local(name)[mine] for name, field in FIELDS.items() if field.migrates})
    _set_shifts(state, decomposition, comm)


def _owners(state: AtomState, decomposition: Decomposition) -> NDArray[np.int32]:
    """The rank that owns each local atom; sets the lattice shifts that wrap them into the box."""
    owner, cell = np.empty(state.n_local, dtype=np.int32), state.cell
    shift = state.local("shift").cpu().numpy()
    _assign_owners(
        state.local("position").cpu().numpy(), cell.origin, cell.inverse, np.array(cell.periodic), decomposition.planes,
        owner, shift,
    )  # fmt: skip
    state.local("shift").copy_(torch.from_numpy(shift))  # itself, where the state is in this memory
    return owner


def _set_shifts(state: AtomState, decomposition: Decomposition, comm: Comm) -> None:
    """Sets the shifts of the local atoms and counts all of them."""
    _owners(state, decomposition)
    n_found = int(comm.sum(np.array([state.n_local]))[0])
    if n_found != state.n_total:
        raise PhysicsError(f"{state.n_total} atoms expected after migration, {n_found} found: one was lost or doubled")


def _require_finite(state: AtomState) -> None:
    positions = state.local("position").cpu().numpy()
    worst = _first_beyond(positions, _MOST_BOXES * float(state.cell.heights.min()))
    if worst >= 0:
        atom = int(state.local("id")[worst])
        raise PhysicsError(
            f"the position of atom {atom} is not finite, or beyond any box: {positions[worst].tolist()} Å", [atom]
        )


@numba.njit(cache=True)
def _first_beyond(positions: NDArray[np.float64], farthest: float) -> int:
    """The first atom with a coordinate that is NaN or not below a bound in size; −1: none."""
    for i in range(len(positions)):
        x, y, z = abs(positions[i, 0]), abs(positions[i, 1]), abs(positions[i, 2])
        if not (x < farthest and y < farthest and z < farthest):
            return i
    return -1


@numba.njit(cache=True)
def _extremes(
    positions: NDArray[np.float64], origin: NDArray[np.float64], inverse: NDArray[np.float64]
) -> NDArray[np.float64]:
    """(6,) the largest −f, then the largest f, of the fractional coordinates f; −infinity without atoms."""
    extremes = np.full(6, -np.inf)
    for i in range(len(positions)):
        for axis in range(3):
            fraction = 0.0
            for k in range(3):
                fraction += (positions[i, k] - origin[k]) * inverse[k, axis]
            extremes[axis] = max(extremes[axis], -fraction)
            extremes[axis + 3] = max(extremes[axis + 3], fraction)
    return extremes


@numba.njit(cache=True)
def _assign_owners(
    positions: NDArray[np.float64],
    origin: NDArray[np.float64],
    inverse: NDArray[np.float64],
    periodic: NDArray[np.bool_],
    planes: tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]],
    owner: NDArray[np.int32],
    shift: NDArray[np.int32],
) -> None:
    """Writes each atom's owner and the lattice shift that wraps it into the box.

    Args:
        positions: (n, 3) Å, unwrapped.
        origin: (3,) Å, corner of the box.
        inverse: (3, 3) 1/Å, see `Cell.inverse`.
        periodic: (3,) flags.
        planes: of the decomposition, fractional.
        owner: (n,) ranks, written.
        shift: (n, 3) lattice translations, written.
    """
    for i in range(len(positions)):
        rank = 0
        for axis in range(3):
            fraction = 0.0
            for k in range(3):
                fraction += (positions[i, k] - origin[k]) * inverse[k, axis]
            wraps = 0.0
            if periodic[axis]:
                wraps = -np.floor(fraction)
                fraction += wraps  # may round to 1.0, which belongs to the last brick
            shift[i, axis] = np.int32(wraps)
            n = len(planes[axis]) - 1
            brick = int(np.searchsorted(planes[axis], fraction, side="right")) - 1
            rank = rank * n + min(max(brick, 0), n - 1)
        owner[i] = rank


def _exchange_atoms(state: AtomState, owner: NDArray[np.int32], comm: Comm) -> None:
    """Exchanges the atoms owned elsewhere, field by field: what arrives takes the rows of what has left.

    Rows that stay free are filled from the end; no field is held twice.
    """
    leaving = np.flatnonzero(owner != comm.rank)
    by_owner = torch.from_numpy(leaving[np.argsort(owner[leaving], kind="stable")]).to(state.device)
    counts = np.bincount(owner[leaving], minlength=comm.size).astype(np.int64)
    arrived: dict[str, torch.Tensor] = {}
    for name, field in FIELDS.items():
        if field.migrates:
            received, _ = comm.exchange(state.local(name).index_select(0, by_owner).cpu().numpy(), counts)
            arrived[name] = torch.from_numpy(received).to(state.device)
    n_before, n_arrived = state.n_local, len(arrived["id"])
    n_after = n_before - len(leaving) + n_arrived
    state.resize(max(n_before, n_after), 0)
    free = np.concatenate([leaving, np.arange(n_before, n_after)])
    for name, rows in arrived.items():
        state.local(name)[torch.from_numpy(free[:n_arrived]).to(state.device)] = rows
    free = free[n_arrived:]
    last = np.setdiff1d(np.arange(n_after, n_before), free)  # the rows to be filled are as many as are moved up
    for name in arrived:
        values = state.local(name)
        values[torch.from_numpy(free[free < n_after]).to(state.device)] = values[
            torch.from_numpy(last).to(state.device)
        ]
    state.resize(n_after, 0)
