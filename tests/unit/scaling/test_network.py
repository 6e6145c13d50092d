"""The closed form of a step beside the simulation of its messages, and both in limits where the answer is known."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from allegro_md.scaling.bricks import Bricks, Exchange, cubic_grid, shell
from allegro_md.scaling.forecast import Costs, Intervals, LinearCost, Overlap, expected_largest, step_time, work_of
from allegro_md.scaling.network import GHOST_BYTES, Link, Network, Work, simulate

COSTS = Costs(LinearCost(1e-4, 3e-7), LinearCost(1e-4, 3e-8), LinearCost(1e-5, 0.0, 2e-8))
NETWORK = Network(8, Link(5e-7, 1.5e-6, 5e9), Link(1e-6, 2e-6, 25e9))
INTERVALS = Intervals(rebuild=math.inf, reduce=4.0)
DENSITY, HALO = 0.058, 4.6

AGREEMENT = 0.08
"""Largest relative difference of the two without jitter; the figure of docs/scaling.md has the same one."""


def bricks(atoms_per_rank: float, n_ranks: int) -> Bricks:
    return Bricks.cubes(atoms_per_rank * n_ranks, n_ranks, DENSITY, HALO)


def computed(of_rank: Bricks) -> float:
    """Seconds of a step without messages."""
    return sum(line.seconds(of_rank.own, of_rank.ghosts) for line in (COSTS.potential, COSTS.integrate, COSTS.halo))


@pytest.mark.parametrize("exchange", ["direct", "staged"])
@pytest.mark.parametrize(("n_ranks", "per_node"), [(2, 2), (64, 8), (512, 1), (512, 128)])
@pytest.mark.parametrize("atoms", [300, 20_000])
def test_closed_form_and_simulation_agree(n_ranks: int, per_node: int, atoms: int, exchange: Exchange) -> None:
    network, of_rank = replace(NETWORK, ranks_per_node=per_node), bricks(atoms, n_ranks)
    simulated = simulate(of_rank, network, work_of(of_rank, COSTS, network, INTERVALS), exchange)
    closed = step_time(of_rank, COSTS, network, INTERVALS, exchange).total
    assert closed == pytest.approx(simulated, rel=AGREEMENT)


@pytest.mark.parametrize("exchange", ["direct", "staged"])
def test_they_agree_on_a_slow_network(exchange: Exchange) -> None:
    slow = Network(8, NETWORK.inside, Link(3e-5, 5e-6, 1.25e9))
    of_rank = bricks(5_000, 64)
    simulated = simulate(of_rank, slow, work_of(of_rank, COSTS, slow, INTERVALS), exchange)
    assert step_time(of_rank, COSTS, slow, INTERVALS, exchange).total == pytest.approx(simulated, rel=0.12)


def test_a_small_interior_hides_nothing() -> None:
    """Below the number of atoms from which on the engine evaluates it apart, and in potentials without parts."""
    of_rank, slow = bricks(5_000, 64), replace(NETWORK, between=Link(3e-5, 5e-6, 1.25e9))

    def work(overlap: Overlap) -> Work:
        return work_of(of_rank, COSTS, slow, INTERVALS, overlap)

    apart, whole = work(Overlap()), work(Overlap(math.inf))
    assert apart.interior > 0.0 == whole.interior
    assert apart.interior + apart.boundary == pytest.approx(whole.boundary)
    n_interior = apart.interior / COSTS.potential.atom
    assert work(Overlap(n_interior - 1.0)) == apart
    assert work(Overlap(n_interior + 1.0)) == whole
    closed = step_time(of_rank, COSTS, slow, INTERVALS, overlap=Overlap(math.inf)).total
    assert closed == pytest.approx(simulate(of_rank, slow, whole), rel=AGREEMENT)
    assert closed > step_time(of_rank, COSTS, slow, INTERVALS).total
    messages = step_time(of_rank, COSTS, slow, INTERVALS, overlap=Overlap(math.inf))
    share = (messages.latency + messages.bandwidth) / (computed(of_rank) + messages.latency + messages.bandwidth)
    assert work(Overlap(waited_share=0.99 * share)) == apart and work(Overlap(waited_share=1.01 * share)) == whole


@pytest.mark.parametrize("overlap", [Overlap(), Overlap(math.inf)])
def test_forces_that_stay_save_half_of_the_messages(overlap: Overlap) -> None:
    """All of the interior is then evaluated while positions travel; closed form and simulation agree on it."""
    of_rank, slow = bricks(5_000, 64), replace(NETWORK, between=Link(3e-5, 5e-6, 1.25e9))
    stay = replace(overlap, ghost_forces=False)
    both, out = (step_time(of_rank, COSTS, slow, INTERVALS, overlap=each) for each in (overlap, stay))
    assert out.total == pytest.approx(simulate(of_rank, slow, work_of(of_rank, COSTS, slow, INTERVALS, stay)), rel=0.1)
    if math.isinf(overlap.least_interior):
        assert out.latency == pytest.approx(0.5 * both.latency)
        assert out.bandwidth == pytest.approx(0.5 * both.bandwidth)
    assert out.total < both.total


@pytest.mark.parametrize("jitter", [0.01, 0.05])
def test_they_agree_with_jitter(jitter: float) -> None:
    network, of_rank = replace(NETWORK, jitter=jitter), bricks(20_000, 512)
    simulated = simulate(of_rank, network, work_of(of_rank, COSTS, network, INTERVALS), steps=24)
    quiet = simulate(of_rank, NETWORK, work_of(of_rank, COSTS, NETWORK, INTERVALS), steps=24)
    closed = step_time(of_rank, COSTS, network, INTERVALS)
    assert closed.total == pytest.approx(simulated, rel=0.04)
    assert 0.4 < closed.jitter / (simulated - quiet) < 2.5


@pytest.mark.parametrize("exchange", ["direct", "staged"])
def test_one_rank_sends_nothing(exchange: Exchange) -> None:
    of_rank = bricks(10_000, 1)
    step = step_time(of_rank, COSTS, NETWORK, INTERVALS, exchange)
    computing = computed(of_rank)
    assert step.latency == step.bandwidth == step.migration == step.reductions == step.jitter == 0.0
    assert step.total == pytest.approx(computing)
    assert simulate(of_rank, NETWORK, work_of(of_rank, COSTS, NETWORK, INTERVALS), exchange) == pytest.approx(computing)


@pytest.mark.parametrize("exchange", ["direct", "staged"])
def test_without_a_network_only_computing_is_left(exchange: Exchange) -> None:
    free = Link(0.0, 0.0, math.inf)
    of_rank, nothing = bricks(1_000, 64), Network(8, free, free)
    computing = computed(of_rank)
    assert step_time(of_rank, COSTS, nothing, INTERVALS, exchange).total == pytest.approx(computing)
    assert simulate(of_rank, nothing, work_of(of_rank, COSTS, nothing, INTERVALS), exchange) == pytest.approx(computing)


@pytest.mark.parametrize("n_ranks", [8, 27, 64])
@pytest.mark.parametrize("exchange", ["direct", "staged"])
def test_messages_carry_all_ghosts(n_ranks: int, exchange: Exchange) -> None:
    """On a grid of at least three along each axis no image is a rank's own; on 2 x 2 x 2 none is, either."""
    of_rank = bricks(5_000, n_ranks)
    stages = of_rank.stages(np.arange(n_ranks), exchange)
    received = sum(np.bincount(stage.to, stage.atoms, n_ranks) for stage in stages)
    assert received == pytest.approx(np.full(n_ranks, of_rank.ghosts))
    assert of_rank.ghosts == pytest.approx(DENSITY * shell(of_rank.lengths, HALO))


@pytest.mark.parametrize(("n_ranks", "expected"), [(2, 1), (4, 3), (8, 7), (27, 26), (64, 26)])
def test_direct_messages_go_to_each_neighbor_once(n_ranks: int, expected: int) -> None:
    (stage,) = bricks(5_000, n_ranks).stages(np.array([0]), "direct")
    assert len(stage.to) == len(set(stage.to.tolist())) == expected


def test_bricks_thinner_than_the_halo() -> None:
    """On a line of 64 bricks of 3 Å a halo of 4.6 Å reaches two bricks in each direction."""
    thin = Bricks((64, 1, 1), (3.0, 30.0, 30.0), HALO, 156.0, 800.0)
    (direct,) = thin.stages(np.array([10]), "direct")
    assert sorted(direct.to.tolist()) == [8, 9, 11, 12]
    assert direct.atoms[direct.to == 9] / direct.atoms[direct.to == 8] == pytest.approx(3.0 / 1.6)
    assert [sorted(stage.to.tolist()) for stage in thin.stages(np.array([10]), "staged")] == [[9, 11], [9, 11]]


def test_free_boundary() -> None:
    chain = Bricks((4, 1, 1), (20.0, 20.0, 20.0), HALO, 400.0, 200.0, periodic=(False, False, False))
    (first,) = chain.stages(np.array([0]), "direct")
    assert first.to.tolist() == [1]


def test_one_node_that_is_saturated() -> None:
    """Eight ranks of a node share its adapter: an exchange takes the bytes of all of them over its bandwidth."""
    network = Network(8, Link(0.0, 0.0, math.inf), Link(0.0, 0.0, 1e8))
    of_rank = bricks(50_000, 64)
    nothing = Costs(LinearCost())
    (stage,) = of_rank.stages(np.arange(8), "direct")
    leaving = float(stage.atoms[stage.to // 8 != 0].sum()) * GHOST_BYTES
    step = simulate(of_rank, network, work_of(of_rank, nothing, network, INTERVALS))
    assert step == pytest.approx(2.0 * leaving / 1e8, rel=0.01)


@pytest.mark.parametrize(("n_ranks", "grid"), [(1, (1, 1, 1)), (12, (2, 2, 3)), (64, (4, 4, 4)), (7, (1, 1, 7))])
def test_cubic_grid(n_ranks: int, grid: tuple[int, int, int]) -> None:
    assert cubic_grid(n_ranks) == grid


def test_expected_largest() -> None:
    """Known values, H. L. Harter, Biometrika 48, 151 (1961)."""
    assert [expected_largest(n) for n in (1, 2, 10)] == pytest.approx([0.0, 0.56419, 1.53875], abs=1e-5)
