"""Planes that cut the box: with equal widths, equal numbers of atoms, or equal costs of atoms between them.

Costs are added up as integers in histograms along the axes, so all ranks get the same planes from the same atoms. First
come the planes across x, then those across y in all slabs, then those across z in all columns: three sums over ranks.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from allegro_md.backends import backend_for
from allegro_md.backends.base import AtomCost, Bins, Columns
from allegro_md.cell import occupied_span
from allegro_md.comm import Comm
from allegro_md.domain.decomposition import Decomposition, Grid, Planes, grids
from allegro_md.domain.migrate import fractional_bounds
from allegro_md.state import AtomState

EACH = AtomCost(None, 1.0, 1.0)
"""All atoms cost the same."""

WHOLE = Columns(np.array([-np.inf, np.inf]), np.array([[-np.inf, np.inf]]))
"""One column."""

MOST_BINS, LEAST_BINS, MOST_NUMBERS = 4096, 256, 1 << 22
"""Bins of a histogram, and numbers in all histograms along one axis, which are added up over the ranks."""

_GAP = 0.01
"""Planes go to the middle of where they may be without changing a share by so much of it: between layers of atoms."""


def decompose(state: AtomState, comm: Comm, grid: Grid | None) -> Decomposition:
    """Cuts the box for the present positions: into equal widths, and into equal numbers of atoms along free axes.

    Collective.

    Args:
        state: local atoms; any rank may hold any.
        comm: all ranks.
        grid: ranks along each axis; None chooses the one with the least surface.
    """
    ends = _ends(state, comm)
    if grid is None:
        grid = grids_by_surface(state, comm)[0]

    def free_cuts(axis: int, n: int) -> NDArray[np.float64]:
        costs, bins = _histograms(state, comm, WHOLE, axis, ends, EACH)
        return equal_shares(costs[0], bins, n)

    return Decomposition.even(grid, state.cell.periodic, free_cuts)


def grids_by_surface(state: AtomState, comm: Comm) -> list[Grid]:
    """All rank grids, ascending in the surface between the atoms of the ranks (collective)."""
    lower, upper = _ends(state, comm)
    spans = _spans(state, comm) if comm.size > 1 else np.full(3, np.inf)
    found: list[Grid] = comm.bcast(grids(comm.size, state.cell, lower, np.minimum(upper, lower + spans)))
    return found


def _spans(state: AtomState, comm: Comm) -> NDArray[np.float64]:
    """(3,) fractions of periodic axes that atoms take up; infinity for others (collective)."""
    spans = np.full(3, np.inf)
    for axis in np.flatnonzero(state.cell.periodic):
        costs, _ = _histograms(state, comm, WHOLE, int(axis), (np.zeros(3), np.ones(3)), EACH)
        spans[axis] = occupied_span(costs[0], float(state.cell.heights[axis]))
    return spans


def _histograms(
    state: AtomState, comm: Comm, columns: Columns, axis: int, ends: tuple[NDArray[np.float64], NDArray[np.float64]],
    cost: AtomCost,
) -> tuple[NDArray[np.int64], Bins]:
    """Costs of all atoms along an axis in each column, (columns, bins), and the bins (collective).

    Args:
        state: local atoms.
        comm: all ranks.
        columns: of the box.
        axis: 0, 1 or 2.
        ends: (3,) fractional each, where the first bins begin and the last ones end.
        cost: of an atom.
    """
    n_columns = columns.y.shape[0] * (columns.y.shape[1] - 1)
    n = int(np.clip(MOST_NUMBERS // n_columns, LEAST_BINS, MOST_BINS))
    lower, upper = float(ends[0][axis]), float(ends[1][axis])
    bins = Bins(axis, lower, max(upper - lower, 1e-12) / n, n)
    return comm.sum(backend_for(state.device).domain.costs_along(state, columns, bins, cost)), bins


def equal_shares(costs: NDArray[np.int64], bins: Bins, n: int) -> NDArray[np.float64]:
    """Returns the (n − 1,) planes with as much cost between each two, ascending; `costs` (bins,)."""
    below = np.concatenate([[0.0], np.cumsum(costs, dtype=np.float64)])
    if below[-1] == 0.0:
        return bins.lower + bins.width * bins.n * np.arange(1, n) / n
    wanted, slack = below[-1] * np.arange(1, n) / n, 0.5 * _GAP * below[-1] / n
    edges = bins.lower + bins.width * np.arange(bins.n + 1)
    first, last = (np.interp(wanted + change, below, edges) for change in (-slack, slack))
    return np.asarray(0.5 * (first + last), dtype=np.float64)


def balanced(
    state: AtomState, comm: Comm, before: Decomposition, cost: AtomCost, least: NDArray[np.float64],
    limited: bool = False,
) -> tuple[Decomposition, NDArray[np.float64]]:
    """Moves planes so that all bricks have the same cost (collective).

    Args:
        state: local atoms; any rank may hold any.
        comm: all ranks.
        before: the decomposition so far; the grid stays.
        cost: of each local atom.
        least: (3,) fractional thickness that bricks keep where atoms take up enough room for it.
        limited: no plane goes farther than halfway to the next one.

    Returns:
        The decomposition, and the cost of each of its bricks, (n_ranks,).
    """
    ends = _ends(state, comm)
    planes: list[NDArray[np.float64]] = []
    for axis, n in enumerate(before.grid):
        costs, bins = _histograms(state, comm, _columns(planes), axis, ends, cost)
        new = before.planes[axis].copy().reshape(-1, n + 1)
        for row, known in zip(costs, new, strict=True):
            inner = _apart(equal_shares(row, bins, n), row, bins, float(least[axis]))
            known[1:-1] = _halfway(known, inner, bins) if limited else inner
        planes.append(comm.bcast(new.reshape(before.planes[axis].shape)))
    found = Decomposition(before.grid, (planes[0], planes[1], planes[2]), before.periodic)
    return found, _between_planes(costs, bins, found.planes)


def costs_of_bricks(state: AtomState, comm: Comm, decomposition: Decomposition, cost: AtomCost) -> NDArray[np.float64]:
    """Adds up the `cost` of the atoms in each brick, wherever they are held, (n_ranks,) (collective)."""
    columns = _columns([decomposition.planes[0], decomposition.planes[1]])
    costs, bins = _histograms(state, comm, columns, 2, _ends(state, comm), cost)
    return _between_planes(costs, bins, decomposition.planes)


def _ends(state: AtomState, comm: Comm) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(3,) lower and upper fractional ends of histograms: those of the atoms along free axes (collective)."""
    periodic = state.cell.periodic
    if all(periodic):
        return np.zeros(3), np.ones(3)
    lower, upper = fractional_bounds(state, comm)
    return np.where(periodic, 0.0, lower), np.where(periodic, 1.0, upper)


def _halfway(known: NDArray[np.float64], wanted: NDArray[np.float64], bins: Bins) -> NDArray[np.float64]:
    """Returns planes as near to where they are wanted as halfway to the next one, (n − 1,).

    Args:
        known: (n + 1,) planes so far.
        wanted: (n − 1,) inner ones.
        bins: that end where atoms do.
    """
    ends = known.copy()
    if len(ends) > 2:
        ends[0], ends[-1] = min(bins.lower, known[1]), max(bins.lower + bins.width * bins.n, known[-2])
    middle = 0.5 * (ends[1:] + ends[:-1])
    return np.asarray(np.clip(wanted, middle[:-1], middle[1:]), dtype=np.float64)


def _columns(planes: list[NDArray[np.float64]]) -> Columns:
    """The columns between the `planes` across x (nx + 1,) and y (nx, ny + 1), as far as they are known."""
    x = planes[0] if planes else WHOLE.x
    y = planes[1] if len(planes) > 1 else np.tile(WHOLE.y, (len(x) - 1, 1))
    return Columns(x, y)


def _apart(
    planes: NDArray[np.float64], costs: NDArray[np.int64], bins: Bins, least: float
) -> NDArray[np.float64]:
    """Moves planes apart that are too close, where atoms take up enough room.

    Args:
        planes: (n − 1,) ascending.
        costs: (bins,) along the axis.
        bins: where.
        least: distance they should have, also from the outermost atoms.
    """
    n, taken = len(planes) + 1, np.flatnonzero(costs)
    if len(taken) == 0 or (taken[-1] + 1 - taken[0]) * bins.width < n * least:
        return planes
    steps = least * np.arange(1, n)
    upward, downward = np.maximum.accumulate(planes - steps), np.minimum.accumulate((planes - steps)[::-1])[::-1]
    first, last = bins.lower + bins.width * taken[0], bins.lower + bins.width * (taken[-1] + 1) - n * least
    return np.asarray(np.clip(0.5 * (upward + downward), first, last) + steps, dtype=np.float64)


def _between_planes(costs: NDArray[np.int64], bins: Bins, planes: Planes) -> NDArray[np.float64]:
    """Adds up the cost in each brick, (n_ranks,).

    Args:
        costs: (columns, bins) along z.
        bins: along z.
        planes: of the bricks.
    """
    edges = bins.lower + bins.width * np.arange(bins.n + 1)
    z = np.clip(planes[2].reshape(len(costs), -1), edges[0], edges[-1])
    below = [
        np.interp(ends, edges, np.concatenate([[0.0], np.cumsum(row, dtype=np.float64)]))
        for ends, row in zip(z, costs, strict=True)
    ]
    return np.diff(np.array(below), axis=1).ravel()
