"""Ownership of atoms, and which of them become ghosts: see `base.DomainFunctions`."""

from __future__ import annotations

import math
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from allegro_md.backends.base import AtomCost, Bins, Columns
from allegro_md.state import AtomState


def first_beyond(state: AtomState, farthest: float) -> int:
    """The first local atom with a coordinate that is NaN or not below `farthest` (Å) in size; −1: none."""
    return int(_first_beyond(state.host_local("position"), farthest))


def extremes(state: AtomState) -> NDArray[np.float64]:
    """(6,) the largest −f, then the largest f, of the fractional coordinates f; −infinity without atoms."""
    found: NDArray[np.float64] = _extremes(state.host_local("position"), state.cell.origin, state.cell.inverse)
    return found


def costs_along(state: AtomState, columns: Columns, bins: Bins, cost: AtomCost) -> NDArray[np.int64]:
    """Costs of the local atoms by their wrapped fractional coordinate along an axis, (columns, bins)."""
    costs, cell = np.zeros((columns.y.shape[0] * (columns.y.shape[1] - 1), bins.n), dtype=np.int64), state.cell
    offsets = np.zeros(0, dtype=np.int64) if cost.offsets is None else np.asarray(cost.offsets)
    _add_costs(
        state.host_local("position"), cell.origin, cell.inverse, np.array(cell.periodic), columns, bins,
        (offsets, cost.constant, cost.scale), costs,
    )  # fmt: skip
    return costs


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


def within(
    state: AtomState, inner: NDArray[np.float64], boxes: NDArray[np.float64]
) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Indices of the local atoms in each of `boxes` (m, 2, 3), and how many there are; none is in `inner` (2, 3)."""
    where = state.host_local("position"), state.host_local("shift"), state.cell.origin, state.cell.inverse
    bounds = inner.reshape(6, 1), np.ascontiguousarray(boxes.reshape(-1, 6).T)
    counts, rows = np.zeros(len(boxes), dtype=np.int64), np.empty(0, dtype=np.int32)
    _find_within(*where, *bounds, counts, rows)
    if counts.any():
        rows = np.empty(int(counts.sum()), dtype=np.int32)
        _find_within(*where, *bounds, np.cumsum(counts) - counts, rows)
    return rows, counts


def gather(values: NDArray[Any], rows: NDArray[np.int32], out: NDArray[Any]) -> None:
    """Copies rows (m,) of a per-atom array: out[k] = values[rows[k]]; `values` (n, …), `out` (m, …)."""
    if len(rows) == 0:  # no atom goes to another rank
        return
    if values.dtype.itemsize == 8:  # one compiled function for all of them
        _gather(_table(values).view(np.int64), rows, _table(out).view(np.int64))
    else:
        out[...] = values[rows]


def scatter_add(values: NDArray[Any], rows: NDArray[np.int32], addends: NDArray[Any]) -> None:
    """Adds to rows (m,) of a per-atom array: values[rows[k]] += addends[k]; `values` (n, …), `addends` (m, …)."""
    if len(rows) > 0:
        _scatter_add(_table(values), rows, _table(addends))


def _table(values: NDArray[Any]) -> NDArray[Any]:
    """A per-atom array, `values` (n, …), as (n, k), the same memory."""
    return values if values.ndim == 2 else values.reshape(len(values), math.prod(values.shape[1:]))


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
def _add_costs(
    positions: NDArray[np.float64], origin: NDArray[np.float64], inverse: NDArray[np.float64],
    periodic: NDArray[np.bool_], columns: Columns, bins: Bins, cost: tuple[NDArray[np.int64], float, float],
    costs: NDArray[np.int64],
) -> None:
    """Adds the cost of each atom to a bin of its column.

    Args:
        positions: (n, 3) Å.
        origin: (3,) Å, corner of the box.
        inverse: (3, 3) 1/Å, see `Cell.inverse`.
        periodic: (3,) flags.
        columns: which have a histogram each.
        bins: of a histogram.
        cost: offsets (n + 1 or more,) of the neighbor list or none, constant, scale: see `AtomCost`.
        costs: (columns, bins), added to.
    """
    x, y = columns
    axis, lower, width, n_bins = bins
    offsets, constant, scale = cost
    place = np.empty(3)
    for i in range(len(positions)):
        for k in range(3):
            fraction = _fraction(positions, i, origin, inverse, k)
            place[k] = fraction - np.floor(fraction) if periodic[k] else fraction
        a = _interval(x, place[0])
        column = a * (y.shape[1] - 1) + _interval(y[a], place[1])
        one = constant + (offsets[i + 1] - offsets[i] if len(offsets) > 0 else 0)
        costs[column, int(min(max((place[axis] - lower) / width, 0.0), n_bins - 1.0))] += np.int64(one * scale + 0.5)


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
    x, y, z = planes
    place = np.empty(3)
    for i in range(len(positions)):
        for axis in range(3):
            fraction = _fraction(positions, i, origin, inverse, axis)
            wraps = 0.0
            if periodic[axis]:
                wraps = -np.floor(fraction)
                fraction += wraps  # may round to 1.0, which belongs to the last brick
            shift[i, axis] = np.int32(wraps)
            place[axis] = fraction
        a = _interval(x, place[0])
        b = _interval(y[a], place[1])
        c = _interval(z[a, b], place[2])
        owner[i] = (a * (y.shape[1] - 1) + b) * (z.shape[2] - 1) + c


@numba.njit(cache=True)
def _interval(planes: NDArray[np.float64], place: float) -> int:
    """Finds the half-open interval between `planes` (n + 1,) that a coordinate is in; outside: the nearest."""
    return min(max(int(np.searchsorted(planes, place, side="right")) - 1, 0), len(planes) - 2)


@numba.njit(cache=True, inline="always")
def _inside(place: tuple[float, float, float], bounds: NDArray[np.float64], b: int) -> bool:
    """Tells if fractional coordinates are in a half-open box: all is compared, which is faster than to branch.

    Args:
        place: fractional.
        bounds: (6, m) lower bounds along x, y and z, then upper ones.
        b: which box.
    """
    x, y, z = place
    above = (x >= bounds[0, b]) & (y >= bounds[1, b]) & (z >= bounds[2, b])
    return above & (x < bounds[3, b]) & (y < bounds[4, b]) & (z < bounds[5, b])


@numba.njit(cache=True, inline="always")
def _wrapped(
    position: NDArray[np.float64], shift: NDArray[np.int32], i: int, origin: NDArray[np.float64],
    inverse: NDArray[np.float64],
) -> tuple[float, float, float]:
    """Fractional coordinates of atom i, wrapped.

    Args:
        position: (n, 3) Å, unwrapped.
        shift: (n, 3) lattice translations.
        i: the atom.
        origin: (3,) Å, of the cell.
        inverse: (3, 3) 1/Å, of the cell matrix.
    """
    x, y, z = position[i, 0] - origin[0], position[i, 1] - origin[1], position[i, 2] - origin[2]
    return (
        x * inverse[0, 0] + y * inverse[1, 0] + z * inverse[2, 0] + shift[i, 0],
        x * inverse[0, 1] + y * inverse[1, 1] + z * inverse[2, 1] + shift[i, 1],
        x * inverse[0, 2] + y * inverse[1, 2] + z * inverse[2, 2] + shift[i, 2],
    )


@numba.njit(cache=True)
def _find_within(
    position: NDArray[np.float64],
    shift: NDArray[np.int32],
    origin: NDArray[np.float64],
    inverse: NDArray[np.float64],
    inner: NDArray[np.float64],
    boxes: NDArray[np.float64],
    end: NDArray[np.int64],
    rows: NDArray[np.int32],
) -> None:
    """Counts the atoms in each box, or writes their indices.

    Atoms are counted, then written: no temporary array has the size of what is searched.

    Args:
        position: (n, 3) Å, unwrapped.
        shift: (n, 3) lattice translations.
        origin: (3,) Å, of the cell.
        inverse: (3, 3) 1/Å, of the cell matrix.
        inner: (6, 1) bounds of the box outside of which all others are, see `_inside`.
        boxes: (6, m) bounds.
        end: (m,) where the atoms of each box begin in `rows`; their numbers are added.
        rows: (sum of all counts,), written; (0,): atoms are counted only.
    """
    writes = len(rows) > 0
    for i in range(len(position)):
        place = _wrapped(position, shift, i, origin, inverse)
        if not _inside(place, inner, 0):
            for b in range(len(end)):
                if not writes:
                    end[b] += _inside(place, boxes, b)
                elif _inside(place, boxes, b):
                    rows[end[b]] = i
                    end[b] += 1


@numba.njit(cache=True)
def _gather(values: NDArray[np.int64], rows: NDArray[np.int32], out: NDArray[np.int64]) -> None:
    """Writes out[k] = values[rows[k]].

    Args:
        values: (n, c).
        rows: (m,).
        out: (m, c), written.
    """
    for k in range(len(rows)):
        row = rows[k]
        for c in range(values.shape[1]):
            out[k, c] = values[row, c]


@numba.njit(cache=True)
def _scatter_add(values: NDArray[np.int64], rows: NDArray[np.int32], addends: NDArray[np.int64]) -> None:
    """Adds addends[k] to values[rows[k]].

    Args:
        values: (n, c), added to.
        rows: (m,).
        addends: (m, c).
    """
    for k in range(len(rows)):
        row = rows[k]
        for c in range(values.shape[1]):
            values[row, c] += addends[k, c]
