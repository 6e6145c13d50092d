"""Ghost atoms: who sends which atoms to whom, with which integer shift.

Three stages (x, then y, then z); each forwards what the ones before received, so six messages reach all 26 neighbors.
Where a brick is thinner than the halo a stage repeats, handing on what came from the same side. Where the whole box is
thinner, the rank sends to itself: an atom becomes its own neighbor's image as often as needed. One path for all cases.

A ghost holds its owner's unwrapped position and the total integer shift; coordinates are never shifted on the way, so a
pair vector has the same bits wherever it is evaluated.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from allegro_md.backends import backend_for
from allegro_md.backends.base import Side
from allegro_md.comm import Comm, SendRecv
from allegro_md.domain.decomposition import Decomposition
from allegro_md.state import AtomState, DeviceArray, as_tensor, on_host

_SLACK = 1e-6  # Å, far above rounding


@dataclass(frozen=True)
class _Route:
    """One direction of one hop: the atoms sent `to`, and the rows where those from `source` are kept."""

    to: int
    source: int
    send: DeviceArray  # indices of local and ghost atoms
    first: int
    last: int

    def stays_on(self, rank: int) -> bool:
        """Tells if this rank sends to itself: its own atoms are the images it needs."""
        return self.to == self.source == rank


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
        chosen = state.device_array(np.zeros(0, dtype=np.int64))
        if to >= 0:
            lower, upper = decomposition.brick(self._comm.rank)
            bound = upper[axis] - width if direction > 0 else lower[axis] + width
            side = Side(axis, direction, bound)
            chosen = backend_for(state.device).domain.beyond(state, side, *candidates)
        count = np.zeros(1, dtype=np.int64)
        self._comm.send_receive([SendRecv(np.array([len(chosen)]), to, count, source)])
        first = state.n_all
        state.resize(state.n_local, state.n_ghost + int(count[0]))
        route = _Route(to, source, chosen, first, state.n_all)
        for name, field in state.fields.items():
            if not field.halo:
                continue
            values = state.array_all(name)
            outgoing = values[route.send]
            if name == "shift":
                outgoing[:, axis] += crossing
            self._run(values, [outgoing], [route])
        return route

    def _run(self, values: DeviceArray, outgoing: list[DeviceArray], routes: list[_Route]) -> None:
        """Sends `outgoing` along the routes of a hop; receives into the ghost rows of `values` (n_all, …)."""
        direct = isinstance(values, np.ndarray)
        legs, staged = [], []
        for buffer, route in zip(outgoing, routes, strict=True):
            target = values[route.first : route.last]
            if route.stays_on(self._comm.rank):
                target[...] = buffer
                continue
            if not direct:
                staged.append((target, on_host(target)))
            recv_buffer = target if direct else staged[-1][1]
            legs.append(SendRecv(on_host(buffer), route.to, on_host(recv_buffer), route.source))
        self._comm.send_receive(legs)
        for target, recv_buffer in staged:
            target[...] = as_tensor(recv_buffer)

    def forward(self, values: DeviceArray) -> None:
        """Fills the ghost rows of a per-atom field, `values` (n_all, …), from their owners, in place."""
        for routes in self.hops:
            self._run(values, [values[route.send] for route in routes], routes)

    def reverse_add(self, values: DeviceArray) -> None:
        """Adds the ghost rows of an integer field, `values` (n_all, …), into the rows of their owners, in place."""
        for routes in reversed(self.hops):
            legs, arrivals, between_ranks = [], [], []
            for route in routes:
                if route.stays_on(self._comm.rank):
                    # Atoms come before their ghosts, so a route may be done before the others of its hop.
                    values[: route.first][route.send] += values[route.first : route.last]
                    continue
                between_ranks.append(route)
                recv_buffer = np.empty_like(on_host(values[:0]), shape=(len(route.send), *values.shape[1:]))
                ghosts = on_host(values[route.first : route.last])
                legs.append(SendRecv(ghosts, route.source, recv_buffer, route.to))
                arrivals.append(recv_buffer)
            self._comm.send_receive(legs)
            for route, recv_buffer in zip(between_ranks, arrivals, strict=True):
                values[route.send] += recv_buffer if isinstance(values, np.ndarray) else as_tensor(recv_buffer)
