"""Balancing: planes between ranks are moved at rebuilds, so that all ranks need as much time for the potential.

No bit of a result depends on where the planes are. `CostBalancer` is what ``parallel.balance = "auto"`` means. Another
way to balance is one class and one line in the registry `allegro_md.config.output.BALANCERS`; its name is a value of
``parallel.balance``.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from allegro_md.backends.base import AtomCost
from allegro_md.comm import Comm
from allegro_md.config.output import BALANCERS, BalanceTable
from allegro_md.config.registry import load
from allegro_md.domain.costs import Costs
from allegro_md.domain.decomposition import Decomposition
from allegro_md.domain.planes import EACH, balanced, costs_of_bricks
from allegro_md.state import AtomState, DeviceArray

ENOUGH = 10
"""Evaluations measured before a decision."""

TRUSTED = 1e-4
"""Seconds: shorter evaluations are mostly overhead, which no plane changes."""

PER_ATOM = 8.0
"""Cost of an atom beside its pairs, in neighbors."""

LEAST = 0.5
"""Thickness of a brick, in widths of the halo."""

UNITS = float(1 << 50)
"""Cost of all atoms together, in units of the histograms."""

FIRST_LOOK, LATER, MOST_PATIENCE = 32, 4, 4096
"""Evaluations after which loads are compared, by which factor they grow while nothing moves, and up to how many."""


@dataclass
class BalanceRecord:
    """Account of how evenly the ranks are busy, and of what balancing has done.

    Attributes:
        even: largest over mean number of atoms of a rank, had the box been cut evenly; where nothing is balanced, as
            it is cut.
        first: largest over mean time of a rank when it was first measured; None: not yet.
        latest: the same when it was last measured.
        moves: how often planes were moved.
        seconds: that deciding took on this rank.
        off: planes do not move.
    """

    even: float = 1.0
    first: float | None = None
    latest: float | None = None
    moves: int = 0
    seconds: float = 0.0
    off: bool = False

    def note(self, seconds: NDArray[np.float64]) -> None:
        """Takes note of a measurement; `seconds` (n_ranks,) that each rank needs."""
        self.latest = float(seconds.max() / seconds.mean())
        self.first = self.latest if self.first is None else self.first

    def as_dict(self) -> dict[str, Any]:
        """For run.json."""
        return {name: round(value, 3) if isinstance(value, float) else value for name, value in vars(self).items()}

    def line(self) -> str:
        """For the log."""
        slowest = "" if self.latest is None else f"the slowest rank takes {self.latest:.2f} times the mean"
        if self.off:
            atoms = f"one rank has {self.even:.2f} times the mean number of atoms"
            return f"balance: off; {'; '.join(filter(None, (atoms, slowest)))}"
        if not self.moves:
            is_even = max(self.even, self.latest or 1.0) <= BalanceTable().threshold
            said = "even, nothing moved" if is_even else "nothing moved"
            return f"balance: {'; '.join(filter(None, (said, slowest)))}"
        even = f"in bricks of equal width one rank would have {self.even:.2f} times the mean number of atoms"
        times = "once" if self.moves == 1 else f"{self.moves} times"
        moved = f"planes moved {times}, {self.seconds:.1f} s"
        return f"balance: {'; '.join(filter(None, (even, slowest, moved)))}"


class Situation(NamedTuple):
    """All that a balancer may look at, at a rebuild.

    Attributes:
        state: local atoms; their positions are those of now, their ranks those of the rebuild before.
        offsets: (n_local + 1 or more,) int64, of the neighbor list of the rebuild before; None where there is none.
        costs: of this rank, measured with the atoms of the rebuild before.
        comm: all ranks.
        width: Å, of the halo.
        rebuild_seconds: that a rebuild takes on this rank.
    """

    state: AtomState
    offsets: DeviceArray | None
    costs: Costs
    comm: Comm
    width: float
    rebuild_seconds: float


class Balancer(Protocol):
    """Chooses the planes between ranks. Both methods are collective, and all ranks must come to the same answer.

    Attributes:
        record: of what it has done.
    """

    record: BalanceRecord

    def cut(self, now: Situation, decomposition: Decomposition) -> Decomposition:
        """Returns the decomposition to use from this rebuild on, with the same grid.

        Args:
            now: at this rebuild.
            decomposition: in use so far. At the start it is called twice: with what would be used if nothing were
                balanced, and when the first neighbor list is there.
        """

    def wants_rebuild(self, costs: Costs, comm: Comm, evaluations: int) -> bool:
        """Tells, before an evaluation, if planes should be moved although no list is out of date.

        Not asked before evaluations whose step is made without a look at other ranks.

        Args:
            costs: of this rank.
            comm: all ranks.
            evaluations: made since `Costs.forget`, the same on all ranks.
        """


def build_balancer(choice: str | BalanceTable, n_ranks: int) -> Balancer | None:
    """Makes the balancer that ``parallel.balance`` asks for; None where there is nothing to move."""
    if n_ranks == 1 or choice == "off":
        return None
    if isinstance(choice, str) and choice in BALANCERS:
        balancer: Balancer = load(BALANCERS[choice])()
        return balancer
    return CostBalancer(choice.threshold if isinstance(choice, BalanceTable) else BalanceTable().threshold)


class CostBalancer:
    """Moves planes so that the measured cost of all bricks is the same.

    At the start the cost of an atom is its number of neighbors and a constant. Later the time of each rank is spread
    over its atoms in the same ratio. Planes stay while the largest cost is at most `threshold` times the mean, and
    while the gain that can be foreseen is less than what a rebuild costs.

    Attributes:
        record: of what was done.
    """

    def __init__(self, threshold: float) -> None:
        """Planes move when the slowest rank needs more than `threshold` times the mean."""
        self.record = BalanceRecord()
        self._threshold = threshold
        self._cuts = 0
        self._looked, self._patience, self._refused_until = 0, FIRST_LOOK, 0

    def cut(self, now: Situation, decomposition: Decomposition) -> Decomposition:
        """Returns the planes to use from now on (collective)."""
        began = time.perf_counter()
        stages = self._by_number, self._by_neighbors, self._by_time
        result = stages[min(self._cuts, 2)](now, decomposition)
        self._cuts += 1
        self.record.seconds += time.perf_counter() - began
        return result

    def wants_rebuild(self, costs: Costs, comm: Comm, evaluations: int) -> bool:
        """Compares the ranks after 32 evaluations, then ever more rarely while planes stay (collective)."""
        if self._cuts < 2 or evaluations - self._looked < self._patience:
            return False
        self._looked, self._patience = evaluations, min(LATER * self._patience, MOST_PATIENCE)
        measured = self._measured(costs, comm)
        return measured is not None and bool(measured.max() > self._threshold * measured.mean())

    def _by_number(self, now: Situation, decomposition: Decomposition) -> Decomposition:
        """At the start: as many atoms for each rank, unless the even planes give that anyway."""
        atoms = costs_of_bricks(now.state, now.comm, decomposition, EACH)
        self.record.even = float(atoms.max() / max(atoms.mean(), 1e-300))
        if self.record.even <= self._threshold:
            return decomposition
        return self._moved(balanced(now.state, now.comm, decomposition, EACH, _least(now))[0])

    def _by_neighbors(self, now: Situation, decomposition: Decomposition) -> Decomposition:
        """As many neighbors for each rank, once the first lists are there."""
        neighbors = np.array(now.comm.allgather(_neighbors(now)))
        if neighbors.max() <= self._threshold * neighbors.mean():
            return decomposition
        cost = AtomCost(now.offsets, PER_ATOM, UNITS / neighbors.sum())
        return self._moved(balanced(now.state, now.comm, decomposition, cost, _least(now))[0])

    def _by_time(self, now: Situation, decomposition: Decomposition) -> Decomposition:
        """As much measured time for each rank, where that is worth it."""
        measured = self._measured(now.costs, now.comm)
        if measured is None or now.offsets is None or measured.max() <= self._threshold * measured.mean():
            return decomposition
        told = now.comm.allgather((now.costs.evaluations, now.rebuild_seconds))
        evaluations, effort = max(e for e, _ in told), max(s for _, s in told)
        if evaluations < self._refused_until:
            return decomposition
        mine = UNITS * measured[now.comm.rank] / measured.sum()
        cost = AtomCost(now.offsets, PER_ATOM, mine / max(_neighbors(now), 1.0))
        found, foreseen = balanced(now.state, now.comm, decomposition, cost, _least(now), limited=True)
        gain = measured.max() - foreseen.max() * measured.sum() / UNITS
        if gain * evaluations <= effort:
            self._refused_until = 2 * evaluations
            return decomposition
        now.costs.forget()
        return self._moved(found)

    def _moved(self, decomposition: Decomposition) -> Decomposition:
        """Counts a move, and looks sooner at what it has done."""
        self.record.moves += 1
        self._looked, self._patience, self._refused_until = 0, FIRST_LOOK, 0
        return decomposition

    def _measured(self, costs: Costs, comm: Comm) -> NDArray[np.float64] | None:
        """Seconds that each rank needs for an evaluation, (n_ranks,), the same on all of them; None: not yet known."""
        seconds = measured_seconds(costs, comm)
        if seconds is not None:
            self.record.note(seconds)
        return seconds


def measured_seconds(costs: Costs, comm: Comm) -> NDArray[np.float64] | None:
    """CPU time that each rank needs for an evaluation, (n_ranks,), s; None: too little was measured (collective)."""
    told = comm.allgather((costs.typical, costs.evaluations))
    seconds = np.array([typical for typical, _ in told])
    if min(number for _, number in told) < ENOUGH or seconds.max() < TRUSTED:
        return None
    return seconds


def _neighbors(now: Situation) -> float:
    """Cost of the atoms of this rank, in neighbors."""
    assert now.offsets is not None
    return float(now.offsets[now.state.n_local]) + PER_ATOM * now.state.n_local


def _least(now: Situation) -> NDArray[np.float64]:
    """(3,) fractional thickness that bricks should have: thinner ones have ever more ghosts for their atoms."""
    return np.asarray(LEAST * now.width / now.state.cell.heights)
