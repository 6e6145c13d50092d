"""Who owns which atom: wrapping for ownership only, and the journey of atoms to their owner."""

from __future__ import annotations

import numba
import numpy as np
import torch
from numpy.typing import NDArray

from allegro_md.comm import Comm
from allegro_md.domain.grid import Domain, choose_grid
from allegro_md.errors import PhysicsError
from allegro_md.state import FIELDS, AtomState

_MOST_BOXES = 1e9  # an atom may be so many boxes away: its shift fits into int32

_HISTOGRAM_BINS = 4096  # resolution of the cut planes on free axes


def fractional_bounds(state: AtomState, comm: Comm) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(3,) smallest and largest fractional coordinate of all atoms (collective); zeros when there is none."""
    positions = state.local("position").cpu().numpy()
    with comm.together():
        _require_finite(state, positions)
    if len(positions):
        fraction = (positions - state.cell.origin) @ state.cell.inverse
        extremes = np.concatenate([-fraction.min(axis=0), fraction.max(axis=0)])
    else:
        extremes = np.full(6, -np.inf)
    extremes = comm.max(extremes)
    return (-extremes[:3], extremes[3:]) if np.all(np.isfinite(extremes)) else (np.zeros(3), np.zeros(3))


def decompose(state: AtomState, comm: Comm, grid: tuple[int, int, int] | None) -> Domain:
    """Bricks for the present positions (collective).

    Args:
        state: own atoms; any rank may hold any.
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
    domain = Domain.uniform(grid, comm.rank, periodic, lower, upper)
    for axis in range(3):
        if not periodic[axis] and grid[axis] > 1:
            inner = _even_cuts(state, comm, axis, grid[axis], lower[axis], upper[axis])
            domain.planes[axis][1:-1] = inner
    return domain


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


def migrate(state: AtomState, domain: Domain, comm: Comm) -> int:
    """Sends every own atom to the rank whose brick its wrapped position lies in, drops ghosts, sets `shift`.

    Master positions are not touched: an atom's image is the integer `shift` beside it.

    Returns:
        How many atoms this rank sent away.

    Raises:
        PhysicsError: a position that is not finite, or a count of atoms that does not add up.
    """
    state.resize(state.n_local, 0)
    positions = state.local("position").cpu().numpy()
    with comm.together():
        _require_finite(state, positions)
    owner, _ = _owners(state, domain, positions)
    moved = int(np.count_nonzero(owner != comm.rank))
    if comm.any(moved > 0):
        _travel(state, owner, comm)
    _settle(state, domain, comm)
    return moved


def claim(state: AtomState, domain: Domain, comm: Comm) -> None:
    """Keeps those of the own atoms that this rank's brick owns: the start, when each rank made its part of the system.

    Raises:
        PhysicsError: the ranks together do not hold every atom once.
    """
    positions = state.local("position").cpu().numpy()
    owner, _ = _owners(state, domain, positions)
    mine = torch.from_numpy(np.flatnonzero(owner == comm.rank)).to(state.device)
    state.set_local({name: state.local(name)[mine] for name, field in FIELDS.items() if field.migrates})
    _settle(state, domain, comm)


def _owners(
    state: AtomState, domain: Domain, positions: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """The rank that owns each position, and the lattice shift that wraps it into the box."""
    owner = np.empty(len(positions), dtype=np.int64)
    shift = np.empty((len(positions), 3), dtype=np.int32)
    cell = state.cell
    _assign_owners(positions, cell.origin, cell.inverse, np.array(cell.periodic), *domain.planes, owner, shift)
    return owner, shift


def _settle(state: AtomState, domain: Domain, comm: Comm) -> None:
    """Sets the shifts of the own atoms and counts all of them."""
    _, shift = _owners(state, domain, state.local("position").cpu().numpy())
    state.local("shift")[:] = torch.from_numpy(shift)
    n_found = int(comm.sum(np.array([state.n_local]))[0])
    if n_found != state.n_total:
        raise PhysicsError(f"{state.n_total} atoms expected after migration, {n_found} found: one was lost or doubled")


def _require_finite(state: AtomState, positions: NDArray[np.float64]) -> None:
    farthest = _MOST_BOXES * float(state.cell.heights.min())
    bad = np.flatnonzero(~(np.abs(positions) < farthest).all(axis=1))
    if len(bad):
        atom = int(state.local("id")[int(bad[0])])
        raise PhysicsError(
            f"the position of atom {atom} is not finite, or beyond any box: {positions[bad[0]].tolist()} Å", [atom]
        )


@numba.njit(cache=True)
def _assign_owners(
    positions: NDArray[np.float64],
    origin: NDArray[np.float64],
    inverse: NDArray[np.float64],
    periodic: NDArray[np.bool_],
    planes_x: NDArray[np.float64],
    planes_y: NDArray[np.float64],
    planes_z: NDArray[np.float64],
    owner: NDArray[np.int64],
    shift: NDArray[np.int32],
) -> None:
    """Writes each atom's owner and the lattice shift that wraps it into the box."""
    planes = (planes_x, planes_y, planes_z)
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


def _travel(state: AtomState, owner: NDArray[np.int64], comm: Comm) -> None:
    """Exchanges the atoms owned elsewhere, field by field."""
    leaving = np.flatnonzero(owner != comm.rank)
    leaving = leaving[np.argsort(owner[leaving], kind="stable")]
    staying = torch.from_numpy(np.flatnonzero(owner == comm.rank))
    counts = np.bincount(owner[leaving], minlength=comm.size).astype(np.int64)
    index = torch.from_numpy(leaving)
    arrived: dict[str, torch.Tensor] = {}
    for name, field in FIELDS.items():
        if not field.migrates:
            continue
        values = state.local(name)
        received, _ = comm.exchange(values[index.to(state.device)].cpu().numpy(), counts)
        arrived[name] = torch.cat([values[staying.to(state.device)], torch.from_numpy(received).to(state.device)])
    state.set_local(arrived)

