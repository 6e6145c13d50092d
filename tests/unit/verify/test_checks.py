"""The parts of the checks against functions whose answers are known."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from allegro_md.cell import Cell
from allegro_md.comm import Comm
from allegro_md.state import AtomState, SpeciesTable
from allegro_md.verify.drift import check_drift
from allegro_md.verify.local import PROBES, persisting
from allegro_md.verify.result import CheckStats
from allegro_md.verify.samples import TARGETS, choose, chunk_size, directions

ARGON = SpeciesTable(("Ar", "Kr"), np.array([18, 36]), np.array([39.948, 83.8]))
STEP, ALLOWED = 1e-4, 1e-5


def probed(energy: Callable[[float], float], expected: float) -> float | None:
    return persisting(np.array([[energy(t)] for t in STEP * PROBES]), expected, STEP, ALLOWED)


def test_a_wrong_derivative_persists() -> None:
    assert probed(lambda t: np.sin(1.0 + t), 0.6) == pytest.approx(abs(np.cos(1.0) - 0.6), rel=1e-6)
    assert probed(lambda t: 7.0 * t, 7.001) == pytest.approx(1e-3, rel=1e-6)
    assert probed(lambda t: 0.0, 1e-3) == 1e-3
    assert not np.isfinite(probed(lambda t: np.nan, 0.0) or 0.0)


@pytest.mark.parametrize("where", [0.0, 0.1, -0.2, 0.5, -0.9, 1.5])
@pytest.mark.parametrize("kind", ["jump", "kink"])
def test_a_truncated_potential_is_no_fault(kind: str, where: float) -> None:
    """A jump or a kink within the reach of the difference quotient, none of which the derivative at 0 knows of."""

    def energy(t: float) -> float:
        beyond = t - where * STEP
        smooth = np.sin(1.0 + t)
        if kind == "jump":
            return float(smooth + (1e-4 if beyond > 0.0 else 0.0))
        return float(smooth + 1e-2 * max(beyond, 0.0))

    right = np.cos(1.0) + (1e-2 if kind == "kink" and where < 0.0 else 0.0)
    found = probed(energy, right)
    assert found is None or (found <= ALLOWED and abs(where) > 0.25)


def test_orders_of_an_integrator_are_told_apart() -> None:
    """A harmonic oscillator by velocity Verlet, and by the first-order method that looks like it."""

    def energies(parts: int, second: bool) -> NDArray[np.float64]:
        x, v, dt, out = 1.0, 0.3, 0.2 / parts, []
        for step in range(8 * parts + 1):
            if step % parts == 0:
                out.append(0.5 * (x * x + v * v))
            v -= (0.5 if second else 1.0) * dt * x
            x += dt * v
            v -= (0.5 if second else 0.0) * dt * x
        return np.array(out)

    for second in (True, False):
        stats = CheckStats("drift", "")
        check_drift(stats, "it", partial(energies, second=second), 0.0, 2)
        assert stats.result(Comm.serial()).passed is second
    quiet = CheckStats("drift", "")
    check_drift(quiet, "it", lambda parts: 1.0 + 1e-12 * parts * np.arange(3.0), 1e-11, 2)
    assert quiet.result(Comm.serial()).passed


def brick(n: int, seed: int) -> AtomState:
    rng = np.random.default_rng(seed)
    state = AtomState(Cell(np.diag([20.0, 30.0, 10.0])), ARGON, n)
    state.set_local(
        {
            "id": torch.from_numpy(rng.permutation(n)), "species": torch.zeros(n, dtype=torch.int16),
            "position": torch.from_numpy(rng.uniform(size=(n, 3)) * [10.0, 30.0, 10.0]),
            "velocity": torch.zeros(n, 3, dtype=torch.float64),
        }
    )  # fmt: skip
    state.local("shift").zero_()
    state.local("force").zero_()
    return state


def test_samples_are_next_to_the_boundaries() -> None:
    state = brick(4000, 1)
    state.local("force")[1234, 2] = -(10**12)
    state.local("species")[77] = 1
    rows = choose(state, np.zeros(3), np.array([0.5, 1.0, 1.0]), 16, 0)
    x = state.local("position").numpy()
    assert len(set(rows.tolist())) == len(rows) == 16
    assert {1234, 77} <= set(rows.tolist())
    corners = np.array(list(np.ndindex(2, 2, 2))) * [10.0, 30.0, 10.0]
    for target in TARGETS * [10.0, 30.0, 10.0]:
        nearest = int(np.argmin(((x - target) ** 2).sum(axis=1)))
        assert nearest in rows or not any(np.array_equal(target, c) for c in corners[[0, 7]])
    assert np.array_equal(rows, choose(state, np.zeros(3), np.array([0.5, 1.0, 1.0]), 16, 0))


def test_ranks_with_one_sample_take_it_at_different_places() -> None:
    state = brick(4000, 2)
    rows = [int(choose(state, np.zeros(3), np.array([0.5, 1.0, 1.0]), 1, rank)[0]) for rank in range(6)]
    assert len(set(rows)) >= 5


@pytest.mark.parametrize("n", [0, 1, 3])
def test_few_atoms_and_free_boundaries(n: int) -> None:
    state = brick(n, 3)
    rows = choose(state, np.full(3, -np.inf), np.full(3, np.inf), 8, 0)
    assert sorted(rows.tolist()) == list(range(n))


def test_shares_are_bounded() -> None:
    for size in (1, 2, 7, 64, 65, 1000, 4097):
        counts = [chunk_size(size, rank, 64, 8) for rank in range(size)]
        assert 0 < sum(counts) <= 64 and max(counts) <= 8


def test_directions_are_spread_out() -> None:
    d = directions(np.arange(100_000))
    assert np.abs(d).max() <= 1.0 and np.abs(d.mean(axis=0)).max() < 0.01
    assert np.abs(np.corrcoef(d.T) - np.eye(3)).max() < 0.02
    assert np.array_equal(d[500:600], directions(np.arange(500, 600)))
