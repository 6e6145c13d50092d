"""When planes move: not for noise, not for less than it costs, and more rarely where nothing changes."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from allegro_md.cell import Cell
from allegro_md.comm import Comm
from allegro_md.config.output import BalanceTable
from allegro_md.domain.balance import ENOUGH, FIRST_LOOK, BalanceRecord, CostBalancer, Situation, build_balancer
from allegro_md.domain.costs import Costs
from allegro_md.domain.decomposition import Decomposition
from allegro_md.evaluation import PotentialInfo
from allegro_md.simulation.forces import ForceEvaluator
from allegro_md.state import AtomState, SpeciesTable
from allegro_md.timers import Timers

EVEN = Decomposition.even((2, 1, 1), (True, True, True))


class TwoRanks(Comm):
    """Rank 0 of two; the other one has no atoms, and its times are told here."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.size, self._seconds = 2, seconds

    def allgather(self, value: Any) -> list[Any]:
        if isinstance(value, tuple) and value == (pytest.approx(0.003), value[1]):
            return [value, (self._seconds, value[1])]
        return [value, value]


def situation(seconds: float, evaluations: int = 64, effort: float = 0.01, edge: float = 20.0) -> Situation:
    """This rank takes 3 ms for an evaluation, the other one `seconds`; atoms are below `edge` of 40 Å."""
    table = SpeciesTable(("Ar",), np.array([18]), np.array([39.948]))
    x = np.random.default_rng(1).uniform(0.0, 1.0, (3000, 3)) * [edge, 40.0, 40.0]
    state = AtomState.from_arrays(Cell(np.diag([40.0, 40.0, 40.0])), table, x)
    offsets: NDArray[np.int64] = 50 * np.arange(3001)
    return Situation(state, offsets, spent(0.003, evaluations), TwoRanks(seconds), 5.0, effort)


def spent(seconds: float, evaluations: int) -> Costs:
    """So many evaluations of so much CPU time each."""
    costs = Costs()
    for n in range(1, evaluations + 1):
        costs.end_evaluation(n * seconds)
    return costs


def started() -> CostBalancer:
    """One that has cut the box and seen the first lists, which were even."""
    balancer, now = CostBalancer(1.1), situation(0.003, edge=40.0)
    for _ in range(2):
        assert balancer.cut(now, EVEN) is EVEN
    assert balancer.record.moves == 0 and balancer.record.even == pytest.approx(1.0, abs=0.05)
    return balancer


@pytest.mark.parametrize("seconds", [0.003, 0.0026, 0.0034])
def test_planes_stay_within_the_threshold(seconds: float) -> None:
    balancer = started()
    assert balancer.cut(situation(seconds), EVEN) is EVEN
    assert balancer.record.latest == pytest.approx(max(seconds, 0.003) / (0.5 * (0.003 + seconds)))


def test_planes_move_by_measured_time() -> None:
    """All the cost is in the first half, as the other rank has no atoms: the plane goes to its middle."""
    balancer, now = started(), situation(0.001)
    assert balancer.cut(now, EVEN).planes[0] == pytest.approx([0.0, 0.25, 1.0], abs=0.005)
    assert balancer.record.moves == 1 and now.costs.evaluations == 0
    assert balancer.record.first == balancer.record.latest == pytest.approx(1.5)
    assert "planes moved once" in balancer.record.line() and balancer.record.as_dict()["moves"] == 1


def test_the_log_has_a_line_whatever_happened() -> None:
    assert BalanceRecord(even=1.0, latest=1.02).line() == (
        "balance: even, nothing moved; the slowest rank takes 1.02 times the mean"
    )
    assert BalanceRecord(even=1.0).line() == "balance: even, nothing moved"
    assert BalanceRecord(even=1.5, latest=1.3).line() == (
        "balance: nothing moved; the slowest rank takes 1.30 times the mean"
    )
    off = BalanceRecord(even=2.0, latest=1.9, off=True)
    assert off.line() == (
        "balance: off; one rank has 2.00 times the mean number of atoms; the slowest rank takes 1.90 times the mean"
    )
    assert BalanceRecord(**off.as_dict()) == off


def test_planes_stay_while_little_was_measured() -> None:
    balancer = started()
    assert balancer.cut(situation(0.001, ENOUGH - 1), EVEN) is EVEN
    assert balancer.cut(situation(0.001, ENOUGH), EVEN) is not EVEN


def test_planes_stay_where_a_rebuild_costs_more() -> None:
    """Than was lost since the latest move; this is tried again after twice as many evaluations."""
    balancer = started()
    assert balancer.cut(situation(0.001, 64, effort=1.0), EVEN) is EVEN
    assert balancer.cut(situation(0.001, 127, effort=0.0), EVEN) is EVEN
    assert balancer.cut(situation(0.001, 128, effort=0.0), EVEN) is not EVEN


def test_looks_become_rarer() -> None:
    balancer, costs, even = started(), spent(0.003, 64), TwoRanks(0.003)
    looks = [k for k in range(1, 30 * FIRST_LOOK) if balancer.wants_rebuild(costs, TwoRanks(0.001), k)]
    assert looks == [FIRST_LOOK, 5 * FIRST_LOOK, 21 * FIRST_LOOK]
    assert not any(started().wants_rebuild(costs, even, k) for k in range(100))


def test_evaluations_count_that_nobody_is_asked_before() -> None:
    """In windows of steps; and the count begins anew when planes have moved."""
    balancer, costs = started(), spent(0.003, 64)
    assert balancer.wants_rebuild(costs, TwoRanks(0.001), 3 * FIRST_LOOK)
    assert not balancer.wants_rebuild(costs, TwoRanks(0.001), 6 * FIRST_LOOK)
    assert balancer.wants_rebuild(costs, TwoRanks(0.001), 7 * FIRST_LOOK)
    assert balancer.cut(situation(0.001, 300, effort=0.0), EVEN) is not EVEN
    assert balancer.wants_rebuild(costs, TwoRanks(0.001), FIRST_LOOK)


def test_an_evaluation_that_compiles_does_not_count() -> None:
    costs = spent(0.002, 20)
    for total in (3.0, 5.0):
        costs.end_evaluation(total)
    assert costs.typical == pytest.approx(0.002) and costs.evaluations == 22


def test_choices() -> None:
    assert build_balancer("off", 4) is None and build_balancer("auto", 1) is None
    assert isinstance(build_balancer("auto", 2), CostBalancer)
    assert isinstance(build_balancer(BalanceTable(threshold=1.3), 2), CostBalancer)


def test_costs_of_a_second_evaluator() -> None:
    """The time that an earlier one has taken is not its own."""
    timers = Timers()
    timers.cpu_seconds = 100.0
    model = SimpleNamespace(info=PotentialInfo("none", 1.0))
    costs = ForceEvaluator(model, Comm.serial(), 0.1, None, timers).costs  # type: ignore[arg-type]
    costs.end_evaluation(timers.cpu_seconds + 0.003)
    assert costs.typical == pytest.approx(0.003)
