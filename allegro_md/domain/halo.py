"""Ghost atoms: who sends which atoms to whom, with which integer shift.

Three stages (x, then y, then z); each forwards what the ones before received, so six messages reach all 26 neighbors.
Where a brick is thinner than the halo a stage repeats, handing on what came from the same side. Where the whole box is
thinner, the rank sends to itself: an atom becomes its own neighbor's image as often as needed. One path for all cases.

A ghost holds its owner's master position and the total integer shift; coordinates are never shifted on the way, so a
pair vector has the same bits wherever it is evaluated.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numba
import numpy as np
import torch
from numpy.typing import NDArray

from allegro_md.comm import Comm, SendRecv
from allegro_md.domain.decomposition import Decomposition
from allegro_md.state import FIELDS, AtomState

_SLACK = 1e-6  # Å, far above rounding


class _Side(NamedTuple):
    """Points whose fractional coordinate along an axis is at or above a bound (direction 1), or below it (−1)."""

    axis: int
    direction: int
    bound: float


@dataclass(frozen=True)
class _Route:
    """One direction of one hop: the atoms sent `to`, and the rows where those from `source` are kept."""

    to: int
    source: int
    send: torch.Tensor  # indices of local and ghost atoms
    first: int
    last: int


class HaloExchange:
    """Exchange of per-atom data between owners and ghosts, valid until the next migration.

    `forward` and `reverse_add` are adjoint: ⟨forward(x), y⟩ = ⟨x, reverse_add(y)⟩.

    Attributes:
        hops: [[route up, route down], …] in order of execution.
    """

    def __init__(self, hops: list[list[_Route]], comm: Comm) -> None:
        self.hops = hops
        self._comm = comm

    @staticmethod
    def build(state: AtomState, decomposition: Decomposition, comm: Comm, width: float) -> HaloExchange:
        """Finds the atoms within `width` (Å) of each brick and brings them there as ghosts, with all halo fields.

        The state must hold local atoms only, with `shift` set by the migration.
        """
        halo = HaloExchange([], comm)
        fractional_width = (width + _SLACK) / state.cell.heights
        for axis in range(3):
            candidates = {1: (0, state.n_all), -1: (0, state.n_all)}
            for _ in range(decomposition.hops(axis, float(fractional_width[axis]))):
                routes = []
                for direction in (1, -1):
                    route = halo._extend(
                        state, decomposition, axis, direction, candidates[direction], fractional_width[axis]
                    )
                    candidates[direction] = (route.first, route.last)
                    routes.append(route)
                halo.hops.append(routes)
        return halo

    def _extend(
        self,
        state: AtomState,
        decomposition: Decomposition,
        axis: int,
        direction: int,
        candidates: tuple[int, int],
        width: float,
    ) -> _Route:
        """One route: selects from local and ghost atoms, exchanges all halo fields, appends the ghosts received."""
        to, crossing = decomposition.neighbor(self._comm.rank, axis, direction)
        source, _ = decomposition.neighbor(self._comm.rank, axis, -direction)
        chosen = np.zeros(0, dtype=np.int64)
        if to >= 0:
            lower, upper = decomposition.brick(self._comm.rank)
            bound = upper[axis] - width if direction > 0 else lower[axis] + width
            where = state.all("position").cpu().numpy(), state.all("shift").cpu().numpy()
            side = _Side(axis, direction, bound)
            chosen = _beyond(*where, state.cell.origin, state.cell.inverse, side, *candidates)
        count = np.zeros(1, dtype=np.int64)
        self._comm.send_receive([SendRecv(np.array([len(chosen)]), to, count, source)])
        first = state.n_all
        state.resize(state.n_local, state.n_ghost + int(count[0]))
        route = _Route(to, source, torch.from_numpy(chosen).to(state.device), first, state.n_all)
        for name, field in FIELDS.items():
            if not field.halo:
                continue
            values = state.all(name)
            outgoing = values[route.send]
            if name == "shift":
                outgoing[:, axis] += crossing
            self._run(values, [outgoing], [route])
        return route

    def _run(self, values: torch.Tensor, outgoing: list[torch.Tensor], routes: list[_Route]) -> None:
        """Sends `outgoing` along the routes of a hop; receives into the ghost rows of `values` (n_all, …)."""
        direct = values.device.type == "cpu"
        legs, staged = [], []
        for buffer, route in zip(outgoing, routes, strict=True):
            target = values[route.first : route.last]
            if not direct:
                staged.append((target, torch.empty(target.shape, dtype=target.dtype)))
            recv_buffer = target if direct else staged[-1][1]
            legs.append(SendRecv(buffer.cpu().numpy(), route.to, recv_buffer.numpy(), route.source))
        self._comm.send_receive(legs)
        for target, recv_buffer in staged:
            target.copy_(recv_buffer)

    def forward(self, values: torch.Tensor) -> None:
        """Fills the ghost rows of a per-atom field, `values` (n_all, …), from their owners, in place."""
        for routes in self.hops:
            self._run(values, [values.index_select(0, route.send) for route in routes], routes)

    def reverse_add(self, values: torch.Tensor) -> None:
        """Adds the ghost rows of an integer field, `values` (n_all, …), into the rows of their owners, in place."""
        for routes in reversed(self.hops):
            legs, arrivals = [], []
            for route in routes:
                recv_buffer = torch.empty((len(route.send), *values.shape[1:]), dtype=values.dtype)
                ghosts = values[route.first : route.last].cpu()
                legs.append(SendRecv(ghosts.numpy(), route.source, recv_buffer.numpy(), route.to))
                arrivals.append(recv_buffer.to(values.device))
            self._comm.send_receive(legs)
            for route, recv_buffer in zip(routes, arrivals, strict=True):
                # An atom appears at most once among those sent along one route, so a plain add is complete.
                values.index_copy_(0, route.send, values.index_select(0, route.send) + recv_buffer)


@numba.njit(cache=True)
def _beyond(
    position: NDArray[np.float64],
    shift: NDArray[np.int32],
    origin: NDArray[np.float64],
    inverse: NDArray[np.float64],
    side: _Side,
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
        axis: of the coordinate.
        direction: 1: at or above the bound; −1: below it.
        bound: fractional.
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
