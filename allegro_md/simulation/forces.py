"""Forces on the atoms of all ranks: the only place where domain and potential meet."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from allegro_md.comm import Comm
from allegro_md.domain.balance import Balancer
from allegro_md.domain.decomposition import Decomposition
from allegro_md.domain.halo import HaloExchange
from allegro_md.domain.migrate import decompose, migrate
from allegro_md.neighbors.list import NeighborList
from allegro_md.potentials import committee_of
from allegro_md.potentials.base import ForceResult, Potential, Virial
from allegro_md.potentials.committee import force_std
from allegro_md.state import AtomState
from allegro_md.timers import Timers


class ForceEvaluator:
    """Forces on the own atoms of every rank: migration, halo, neighbor list and potential.

    Attributes:
        want_virial: what the next evaluations return of it.
        want_force_std: whether the next evaluations say how far the members of a committee disagree.
        result: of the latest evaluation, for own atoms.
        force_std: (n_local,) eV/Å, see `committee.force_std`; None where not wanted, or no committee.
        rebuilds: how often neighbor list and halo were made.
        migrations: how many atoms this rank sent to another.
        stop_wanted: asked on every rank before every evaluation; not 0: a reason to end the run.
        stopping: the largest answer of any rank, the same on all.
    """

    result: ForceResult
    decomposition: Decomposition

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
        self.want_virial = Virial.NONE
        self.want_force_std = False
        self.force_std: NDArray[np.float64] | None = None
        self.rebuilds = 0
        self.migrations = 0
        self.stop_wanted: Callable[[], int] = int
        self.stopping = 0
        self._committee = committee_of(potential)
        self._comm = comm
        self._skin = skin
        self._grid = grid
        self._timers = timers
        self._balancer, self._busy_before = balancer, 0.0
        self._halo: HaloExchange
        self._reach = potential.halo_hops * potential.cutoff
        self.neighbors = NeighborList(potential.cutoff, skin, self._reach)

    def __call__(self, state: AtomState) -> None:
        """Evaluates at the present positions; own atoms may have migrated when it returns."""
        with self._timers.phase("halo"):
            flags = np.array([self.neighbors.skin_excess(state), self.stop_wanted()], dtype=np.float64)
            excess, stop = self._comm.max(flags)
            self.stopping = int(stop)
            if excess <= 0.0:
                self._halo.forward(state.all("position"))
        if excess > 0.0:
            with self._timers.phase("rebuild"):
                self._rebuild(state)
        with self._timers.phase("potential"):
            state.all("force").zero_()
            if self._committee is not None:
                self._committee.keeps = self.want_force_std
            with self._comm.collective_errors():
                self.result = self.potential(state, self.neighbors, self.want_virial)
        with self._timers.phase("halo"):
            self._halo.reverse_add(state.all("force"))
            self.force_std = self._force_std(state)

    def invalidate(self) -> None:
        """Makes the next evaluation rebuild."""
        self.neighbors = NeighborList(self.potential.cutoff, self._skin, self._reach)

    def _force_std(self, state: AtomState) -> NDArray[np.float64] | None:
        """Of the evaluation just made (collective)."""
        if self._committee is None or not self.want_force_std:
            return None
        self._committee.keeps = False
        members = self._committee.take()
        for force in members:
            self._halo.reverse_add(force)
        return force_std([force[: state.n_local].cpu().numpy() for force in members])

    def _rebuild(self, state: AtomState) -> None:
        self.neighbors.clear()
        self.decomposition = self._cut(state)
        self._grid = self.decomposition.grid
        self.migrations += migrate(state, self.decomposition, self._comm)
        self.neighbors.sort_atoms(state)
        self._halo = HaloExchange.build(state, self.decomposition, self._comm, self._reach + self._skin)
        self.neighbors.build(state)
        self.rebuilds += 1

    def _cut(self, state: AtomState) -> Decomposition:
        """Cuts the box for the present positions, or as the balancer wants it from the second time on (collective)."""
        balancer = self._balancer
        if balancer is None or self.rebuilds == 0:
            return decompose(state, self._comm, self._grid)
        busy = self._timers.seconds["potential"]
        loads = np.array(self._comm.allgather(busy - self._busy_before))
        self._busy_before = busy
        return self._comm.on_root(lambda: balancer.planes(self.decomposition, loads))
