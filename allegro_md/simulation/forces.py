"""Forces on the atoms of all ranks: the only place where domain and potential meet."""

from __future__ import annotations

import numpy as np

from allegro_md.comm import Comm
from allegro_md.domain.balance import Balancer
from allegro_md.domain.decomposition import Decomposition
from allegro_md.domain.halo import HaloExchange
from allegro_md.domain.migrate import decompose, migrate
from allegro_md.evaluation import DERIVED, NOTHING_MORE, QUANTITIES, Evaluation, Needs
from allegro_md.neighbors.list import NeighborList
from allegro_md.potentials.base import Potential
from allegro_md.simulation.applied import AppliedForces
from allegro_md.state import AtomState, on_host
from allegro_md.timers import Timers


class ForceEvaluator:
    """Forces on the local atoms of every rank: migration, halo, neighbor list and potential.

    Attributes:
        potential: what gives them.
        decomposition: of the latest rebuild; None before the first evaluation.
        neighbors: lists of the latest evaluation.
        rebuilds: how often neighbor list and halo were made.
        migrations: how many atoms this rank sent to another.
        applied: constant forces on groups of atoms, in addition to those of the potential; None: none.
    """

    def __init__(
        self,
        potential: Potential,
        comm: Comm,
        skin: float,
        grid: tuple[int, int, int] | None,
        timers: Timers,
        balancer: Balancer | None = None,
    ) -> None:
        """Joins the parts.

        Args:
            potential: gives forces.
            comm: all ranks.
            skin: Å.
            grid: ranks along each axis; None for the one with the least surface.
            timers: of this rank.
            balancer: moves planes at rebuilds; None: they stay, and follow the atoms along free axes.
        """
        self.potential = potential
        self.decomposition: Decomposition | None = None
        self.rebuilds = 0
        self.migrations = 0
        self.applied: AppliedForces | None = None
        self._comm = comm
        self._skin = skin
        self._grid = grid
        self._timers = timers
        self._balancer, self._busy_before = balancer, 0.0
        self._halo: HaloExchange
        self.neighbors = self._new_lists()

    def __call__(self, state: AtomState, needs: Needs = NOTHING_MORE) -> Evaluation:
        """Evaluates at the present positions; local atoms may have migrated when it returns (collective).

        Args:
            state: its forces are replaced.
            needs: names of `QUANTITIES` to return beside the energies; what the potential cannot provide is left out.
        """
        with self._timers.phase("wait"):
            excess = self._comm.max(self.neighbors.skin_excess(state))
        if excess > 0.0:
            with self._timers.phase("rebuild"):
                self._rebuild(state)
        else:
            with self._timers.phase("halo"):
                self._halo.forward(state.array_all("position"))
        provides = self.potential.info.provides
        sources = {DERIVED[name][0] for name in needs if name in DERIVED}
        with self._timers.phase("potential"):
            state.array_all("force")[...] = 0
            with self._comm.collective_errors():
                evaluation = self.potential(state, self.neighbors, frozenset(needs | sources) & provides)
        with self._timers.phase("halo"):
            self._send_home(state, evaluation)
            if self.applied is not None:
                self.applied.add(state)
        return evaluation

    def invalidate(self) -> None:
        """Makes the next evaluation rebuild."""
        self.neighbors = self._new_lists()

    def _new_lists(self) -> NeighborList:
        info = self.potential.info
        return NeighborList(info.cutoff, self._skin, info.halo, info.hops)

    def _send_home(self, state: AtomState, evaluation: Evaluation) -> None:
        """Adds what ghosts were given to their owners' rows, and makes what follows from these sums."""
        if self.potential.info.ghost_forces:
            self._halo.reverse_add(state.array_all("force"))
        for name, values in evaluation.per_atom.items():
            if QUANTITIES[name].ghosts:
                self._halo.reverse_add(values)
                evaluation.per_atom[name] = values[: state.n_local]
        for name, (source, make) in DERIVED.items():
            if source in evaluation.per_atom:
                rows = on_host(evaluation.per_atom.pop(source))
                evaluation.per_atom[name] = state.device_array(make(rows))

    def _rebuild(self, state: AtomState) -> None:
        self.neighbors.clear()
        self.decomposition = self._cut(state)
        self._grid = self.decomposition.grid
        self.migrations += migrate(state, self.decomposition, self._comm)
        self.neighbors.sort_atoms(state)
        self._halo = HaloExchange.build(state, self.decomposition, self._comm, self.potential.info.halo + self._skin)
        self.neighbors.build(state)
        self.rebuilds += 1

    def _cut(self, state: AtomState) -> Decomposition:
        """Cuts the box for the present positions, or as the balancer wants it from the second time on (collective)."""
        balancer, before = self._balancer, self.decomposition
        if balancer is None or before is None:
            return decompose(state, self._comm, self._grid)
        busy = self._timers.seconds["potential"]
        loads = np.array(self._comm.allgather(busy - self._busy_before))
        self._busy_before = busy
        return self._comm.on_root(lambda: balancer.planes(before, loads))
