"""Forces on the atoms of all ranks: the only place where domain and potential meet."""

from __future__ import annotations

import numpy as np
import torch

from allegro_md.comm import Comm
from allegro_md.domain.balance import Balancer
from allegro_md.domain.decomposition import Decomposition
from allegro_md.domain.halo import HaloExchange
from allegro_md.domain.migrate import decompose, migrate
from allegro_md.evaluation import DERIVED, NOTHING_MORE, QUANTITIES, Evaluation, Needs
from allegro_md.neighbors.list import NeighborList
from allegro_md.potentials.base import Potential
from allegro_md.simulation.applied import AppliedForces
from allegro_md.state import AtomState
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
        rebuilds: how often neighbor list and halo were made.
        migrations: how many atoms this rank sent to another.
        excess: distance, Å, by which atoms of this rank have moved beyond the skin in the latest evaluation.
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
        self.excess = np.inf
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
        self.excess = self.neighbors.skin_excess(state)
        stale = self._comm.max(self.excess) > 0.0
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
        with self._timers.phase("halo"):
            self._halo.forward(state.all("position"))
            if self.potential.info.ghost_forces:
                self._halo.reverse_add(state.all("force"))

    def invalidate(self) -> None:
        """Makes the next evaluation rebuild."""
        self.neighbors = self._new_lists()

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
        if moved:
            with self._timers.phase("halo"):
                self._halo.forward(state.all("position"))
        provides = self.potential.info.provides
        sources = {DERIVED[name][0] for name in needs if name in DERIVED}
        evaluation, fault = None, None
        with self._timers.phase("potential"):
            state.all("force").zero_()
            try:
                evaluation = self.potential(state, self.neighbors, frozenset(needs | sources) & provides)
            except Exception as error:  # other ranks must not wait for the forces on their atoms
                fault = error
        if self.potential.info.ghost_forces:
            with self._timers.phase("halo"):
                self._halo.reverse_add(state.all("force"))
        if evaluation is None:
            assert fault is not None
            return None, fault
        return evaluation, None

    def _finish(self, state: AtomState, evaluation: Evaluation) -> None:
        """Sends home what else ghosts were given, makes what follows from these sums, and adds applied forces."""
        for name, values in evaluation.per_atom.items():
            if QUANTITIES[name].ghosts:
                with self._timers.phase("halo"):
                    self._halo.reverse_add(values)
                evaluation.per_atom[name] = values[: state.n_local]
        for name, (source, make) in DERIVED.items():
            if source in evaluation.per_atom:
                rows = evaluation.per_atom.pop(source).cpu().numpy()
                evaluation.per_atom[name] = torch.from_numpy(make(rows)).to(state.device)
        if self.applied is not None:
            self.applied.add(state)

    def _rebuild(self, state: AtomState) -> None:
        self.neighbors.clear()
        self.decomposition = self._cut(state)
        self._grid = self.decomposition.grid
        self.migrations += migrate(state, self.decomposition, self._comm)
        self.neighbors.sort_atoms(state)
        self._halo = HaloExchange.build(state, self.decomposition, self._comm, self.potential.info.halo + self._skin)
        self.neighbors.build(state)
        self.excess = -self._skin
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
