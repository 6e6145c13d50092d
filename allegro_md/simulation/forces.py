"""Forces on the atoms of all ranks: the only place where domain and potential meet."""

from __future__ import annotations

import time

import numpy as np
from numpy.typing import NDArray

from allegro_md.comm import Comm
from allegro_md.domain.balance import Balancer, Situation
from allegro_md.domain.costs import Costs
from allegro_md.domain.decomposition import Decomposition
from allegro_md.domain.halo import HaloExchange
from allegro_md.domain.migrate import migrate
from allegro_md.domain.planes import decompose
from allegro_md.evaluation import DERIVED, NOTHING_MORE, QUANTITIES, Evaluation, Needs
from allegro_md.neighbors.list import NeighborList
from allegro_md.potentials.base import Potential
from allegro_md.potentials.parts import InParts
from allegro_md.simulation.applied import AppliedForces
from allegro_md.simulation.overlap import LEAST_INTERIOR, MOST_LOCAL, WAITED_SHARE, Exchange, can_overlap, interior
from allegro_md.state import HOST, AtomState, on_host
from allegro_md.timers import Timers


class LocalFaultError(Exception):
    """An unchecked evaluation that this rank could not make, while the others went on.

    Attributes:
        error: that the potential has raised; None: the lists were out of date.
    """

    def __init__(self, error: Exception | None) -> None:
        super().__init__("the forces could not be evaluated")
        self.error = error


class ForceEvaluator:
    """Forces on the local atoms of every rank: migration, halo, neighbor list and potential.

    Attributes:
        potential: what gives them.
        decomposition: of the latest rebuild; None before the first evaluation.
        neighbors: lists of the latest evaluation.
        halo: exchange with ghosts, of the latest rebuild.
        rebuilds: how often neighbor list and halo were made.
        migrations: how many atoms this rank sent to another.
        balancer: moves planes at rebuilds; None: they stay, and follow the atoms along free axes.
        costs: what the potential takes of this rank's time.
        n_interior: of the first local atoms, which have no neighbor from another rank; 0: messages are waited for.
        excess: distance, Å, by which atoms of this rank have moved beyond the skin in the latest evaluation; infinite
            while there are no lists.
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
        least_interior: int | None = None,
    ) -> None:
        """Joins the parts.

        Args:
            potential: gives forces.
            comm: all ranks.
            skin: Å.
            grid: ranks along each axis; None for the one with the least surface.
            timers: of this rank.
            balancer: moves planes at rebuilds; None: they stay, and follow the atoms along free axes.
            least_interior: atoms in the interior of a brick from which on these are evaluated while messages travel;
                None: `LEAST_INTERIOR`, once messages have been waited for long enough (`WAITED_SHARE`).
        """
        self.potential = potential
        self.decomposition: Decomposition | None = None
        self.rebuilds = 0
        self.migrations = 0
        self.n_interior = 0
        self.excess = np.inf
        self.applied: AppliedForces | None = None
        self._comm = comm
        self._skin = skin
        self._grid = grid
        self._timers = timers
        self.balancer, self.costs = balancer, Costs(timers.cpu_seconds)
        self.halo: HaloExchange
        self._least_interior = LEAST_INTERIOR if least_interior is None else least_interior
        self._overlaps, self._waited, self._since = least_interior is not None, 0.0, time.perf_counter()
        self.neighbors = self._new_lists()

    def __call__(self, state: AtomState, needs: Needs = NOTHING_MORE) -> Evaluation:
        """Evaluates at the present positions; local atoms may have migrated when it returns (collective).

        Args:
            state: its forces are replaced.
            needs: names of `QUANTITIES` to return beside the energies; what the potential cannot provide is left out.
        """
        self.excess = self.neighbors.skin_excess(state)
        excess, evaluations = self._comm.max(np.array([self.excess, self.costs.evaluations]))
        stale = bool(excess > 0.0)
        if not stale and self.balancer is not None:
            stale = self.balancer.wants_rebuild(self.costs, self._comm, int(evaluations))
        if stale:
            with self._timers.phase("rebuild"):
                self._rebuild(state)
        evaluation, error = self._evaluate(state, needs, moved=not stale)
        self._comm.raise_together(error)
        assert evaluation is not None
        self._finish(state, evaluation)
        return evaluation

    def unchecked(self, state: AtomState, needs: Needs) -> Evaluation:
        """The same without asking other ranks if the lists are out of date or the potential has failed there.

        Args:
            state: its forces are replaced; no atom migrates.
            needs: no quantity with contributions to ghosts.

        Raises:
            LocalFaultError: this rank could not make it. Its messages to other ranks were sent and received.
        """
        self.excess = self.neighbors.skin_excess(state)
        if self.excess > 0.0:
            self.exchange_only(state)
            raise LocalFaultError(None)
        evaluation, error = self._evaluate(state, needs, moved=True)
        if evaluation is None:
            raise LocalFaultError(error)
        self._finish(state, evaluation)
        return evaluation

    def exchange_only(self, state: AtomState) -> None:
        """Takes part in the messages of an evaluation without making it."""
        Exchange(state, self.halo, self._timers, True, self.potential.info.ghost_forces).complete()

    def invalidate(self) -> None:
        """Makes the next evaluation rebuild."""
        self.neighbors = self._new_lists()
        self.excess = np.inf

    def _new_lists(self) -> NeighborList:
        info = self.potential.info
        return NeighborList(info.cutoff, self._skin, info.halo, info.hops)

    def _evaluate(
        self, state: AtomState, needs: Needs, moved: bool
    ) -> tuple[Evaluation, None] | tuple[None, Exception]:
        """Replaces the forces by those of the potential, complete on local atoms.

        Takes part in all messages, also where the potential fails.

        Args:
            state: with ghosts.
            needs: as of a call.
            moved: atoms have moved since the ghosts have come.

        Returns:
            The evaluation, or the error that was raised; quantities with contributions to ghosts are incomplete.
        """
        info, interior = self.potential.info, self.n_interior
        sources = {DERIVED[name][0] for name in needs if name in DERIVED}
        asked = frozenset(needs | sources) & info.provides
        exchange = Exchange(state, self.halo, self._timers, moved, info.ghost_forces)
        try:
            with self._timers.phase("potential"):
                state.array_all("force")[...] = 0
                if interior > 0 and isinstance(self.potential, InParts):
                    evaluation = self.potential.in_parts(state, self.neighbors, asked, exchange.parts(interior))
                else:
                    exchange.arrive()
                    evaluation = self.potential(state, self.neighbors, asked)
        except Exception as error:  # other ranks must not wait for the forces on their atoms
            exchange.complete()
            return None, error
        exchange.complete()
        self.costs.end_evaluation(self._timers.cpu_seconds)
        return evaluation, None

    def _finish(self, state: AtomState, evaluation: Evaluation) -> None:
        """Sends home what else ghosts were given, makes what follows from these sums, and adds applied forces."""
        for name, values in evaluation.per_atom.items():
            if QUANTITIES[name].ghosts:
                with self._timers.phase("halo"):
                    self.halo.reverse_add(values)
                evaluation.per_atom[name] = values[: state.n_local]
        for name, (source, make) in DERIVED.items():
            if source in evaluation.per_atom:
                rows = on_host(evaluation.per_atom.pop(source))
                evaluation.per_atom[name] = state.device_array(make(rows))
        if self.applied is not None:
            self.applied.add(state)

    def _rebuild(self, state: AtomState) -> None:
        first = self.decomposition is None
        self._divide(state, self._cut(state))
        if first and self.balancer is not None:  # now there are lists to judge by
            before, better = self.decomposition, self._cut(state)
            if better is not before:
                self._divide(state, better)
        self.rebuilds += 1

    def _divide(self, state: AtomState, decomposition: Decomposition) -> None:
        """Brings all atoms to the ranks of a decomposition, with ghosts and lists (collective)."""
        self.neighbors.clear()
        self.decomposition, self._grid = decomposition, decomposition.grid
        self.migrations += migrate(state, decomposition, self._comm)
        self._overlaps |= self._waits_long()
        inside = self._interior(state) if self._overlaps else None
        self.neighbors.sort_atoms(state, inside)
        self.n_interior = 0 if inside is None else int(inside.sum())
        self.halo = HaloExchange.build(state, decomposition, self._comm, self.potential.info.halo + self._skin)
        self.neighbors.build(state)
        self.excess = -self._skin

    def _waits_long(self) -> bool:
        """Tells if waiting for ghosts and forces has taken a large share of the time since this was last asked."""
        waited, now = self._timers.counts["halo"]["waited"], time.perf_counter()
        share = (waited - self._waited) / (now - self._since)
        self._waited, self._since = waited, now
        return share > WAITED_SHARE

    def _interior(self, state: AtomState) -> NDArray[np.bool_] | None:
        """Tells which local atoms have no neighbor from another rank, (n_local,); None where there is no use for it."""
        info, unfit = self.potential.info, not self._least_interior <= state.n_local <= MOST_LOCAL
        if unfit or self._comm.size == 1 or state.device != HOST:  # there forces are put back as a whole
            return None
        if not can_overlap(self.potential):
            return None
        assert self.decomposition is not None
        inside = interior(state, self.decomposition, self._comm.rank, info.halo + self._skin)
        return inside if int(inside.sum()) >= self._least_interior else None

    def _cut(self, state: AtomState) -> Decomposition:
        """Cuts the box for the present positions, or as the balancer wants it (collective)."""
        if self.balancer is None:
            if self.decomposition is not None and all(state.cell.periodic):
                return self.decomposition  # bricks of equal widths stay
            return decompose(state, self._comm, self._grid)
        before = self.decomposition or decompose(state, self._comm, self._grid)
        unlisted = self._comm.any(len(self.neighbors.offsets) <= state.n_local)
        offsets = None if unlisted else self.neighbors.offsets
        effort = self._timers.seconds["rebuild"] / max(1, self.rebuilds)
        width = self.potential.info.halo + self._skin
        return self.balancer.cut(Situation(state, offsets, self.costs, self._comm, width, effort), before)
