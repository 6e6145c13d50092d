"""Ownership of atoms, and which of them become ghosts: see `base.DomainFunctions`."""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

from allegro_md.backends.base import Side
from allegro_md.state import AtomState


def first_beyond(state: AtomState, farthest: float) -> int:
    """The first local atom with a coordinate that is NaN or not below `farthest` (Å) in size; −1: none."""
    return int(_first_beyond(state.host_local("position"), farthest))


def extremes(state: AtomState) -> NDArray[np.float64]:
    """(6,) the largest −f, then the largest f, of the fractional coordinates f; −infinity without atoms."""
    found: NDArray[np.float64] = _extremes(state.host_local("position"), state.cell.origin, state.cell.inverse)
    return found


def histogram(state: AtomState, axis: int, lower: float, width: float, n_bins: int) -> NDArray[np.int64]:
    """Number of local atoms by their fractional coordinate along an axis, (n_bins,)."""
    counts, cell = np.zeros(n_bins, dtype=np.int64), state.cell
    _count(state.host_local("position"), cell.origin, cell.inverse, axis, lower, width, counts)
    return counts


def assign_owners(
    state: AtomState, planes: tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]
) -> NDArray[np.int32]:
    """Finds the rank that owns each local atom, (n_local,) int32, by fractional planes; sets the lattice shifts."""
    owner, cell = np.empty(state.n_local, dtype=np.int32), state.cell
    _assign_owners(
        state.host_local("position"), cell.origin, cell.inverse, np.array(cell.periodic), planes, owner,
        state.host_local("shift"),
    )  # fmt: skip
    return owner


def beyond(state: AtomState, side: Side, first: int, last: int) -> NDArray[np.int64]:
    """Indices, (m,) int64, of the atoms or ghosts from `first` to before `last` that are on a side of a bound."""
    where = state.host_all("position"), state.host_all("shift")
    found: NDArray[np.int64] = _beyond(*where, state.cell.origin, state.cell.inverse, side, first, last)
    return found


@numba.njit(cache=True, inline="always")
def _fraction(
    positions: NDArray[np.float64], i: int, origin: NDArray[np.float64], inverse: NDArray[np.float64], axis: int
) -> float:
    """Fractional coordinate of atom i along an axis.

    Args:
        positions: (n, 3) Å.
        i: the atom.
        origin: (3,) Å, corner of the box.
        inverse: (3, 3) 1/Å, see `Cell.inverse`.
        axis: 0, 1 or 2.
    """
    fraction = 0.0
    for k in range(3):
        fraction += (positions[i, k] - origin[k]) * inverse[k, axis]
    return fraction


@numba.njit(cache=True)
def _first_beyond(positions: NDArray[np.float64], farthest: float) -> int:
    """The first of `positions` (n, 3) Å with a coordinate that is NaN or not below a bound in size; −1: none."""
    for i in range(len(positions)):
        x, y, z = abs(positions[i, 0]), abs(positions[i, 1]), abs(positions[i, 2])
        if not (x < farthest and y < farthest and z < farthest):
            return i
    return -1


@numba.njit(cache=True)
def _extremes(
    positions: NDArray[np.float64], origin: NDArray[np.float64], inverse: NDArray[np.float64]
) -> NDArray[np.float64]:
    """(6,) the largest −f, then the largest f, of the fractional coordinates f; −infinity without atoms.

    Args:
        positions: (n, 3) Å.
        origin: (3,) Å, corner of the box.
        inverse: (3, 3) 1/Å, see `Cell.inverse`.
    """
    extremes = np.full(6, -np.inf)
    for i in range(len(positions)):
        for axis in range(3):
            fraction = _fraction(positions, i, origin, inverse, axis)
            extremes[axis] = max(extremes[axis], -fraction)
            extremes[axis + 3] = max(extremes[axis + 3], fraction)
    return extremes


@numba.njit(cache=True)
def _count(
    positions: NDArray[np.float64], origin: NDArray[np.float64], inverse: NDArray[np.float64], axis: int, lower: float,
    width: float, counts: NDArray[np.int64],
) -> None:
    """Counts atoms by their fractional coordinate along an axis.

    Args:
        positions: (n, 3) Å.
        origin: (3,) Å, corner of the box.
        inverse: (3, 3) 1/Å, see `Cell.inverse`.
        axis: 0, 1 or 2.
        lower: where the first bin begins.
        width: of a bin.
        counts: (bins,), added to; what is below the first bin counts there, what is above the last one there.
    """
    for i in range(len(positions)):
        fraction = _fraction(positions, i, origin, inverse, axis)
        counts[int(min(max((fraction - lower) / width, 0.0), len(counts) - 1.0))] += 1


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
            fraction = _fraction(positions, i, origin, inverse, axis)
            wraps = 0.0
            if periodic[axis]:
                wraps = -np.floor(fraction)
                fraction += wraps  # may round to 1.0, which belongs to the last brick
            shift[i, axis] = np.int32(wraps)
            n = len(planes[axis]) - 1
            brick = int(np.searchsorted(planes[axis], fraction, side="right")) - 1
            rank = rank * n + min(max(brick, 0), n - 1)
        owner[i] = rank


@numba.njit(cache=True)
def _beyond(
    position: NDArray[np.float64],
    shift: NDArray[np.int32],
    origin: NDArray[np.float64],
    inverse: NDArray[np.float64],
    side: Side,
    first: int,
    last: int,
) -> NDArray[np.int64]:
    """Atoms from `first` to before `last` whose fractional coordinate is beyond a bound, (m,).

    They are counted, then written: no temporary array has the size of what is searched.

    Args:
        position: (n, 3) Å, unwrapped.
        shift: (n, 3) lattice translations.
        origin: (3,) Å, of the cell.
        inverse: (3, 3) 1/Å, of the cell matrix.
        side: fractional.
        first: first atom.
        last: atom after the last.
    """
    axis, direction, bound = side
    a, b, c = inverse[0, axis], inverse[1, axis], inverse[2, axis]
    found, n = np.empty(0, dtype=np.int64), 0
    for writes in (False, True):
        found, n = np.empty(n, dtype=np.int64), 0
        for i in range(first, last):
            x, y, z = position[i, 0] - origin[0], position[i, 1] - origin[1], position[i, 2] - origin[2]
            coordinate = x * a + y * b + z * c + shift[i, axis]
            if (coordinate >= bound) if direction > 0 else (coordinate < bound):
                if writes:
                    found[n] = i
                n += 1
    return found
