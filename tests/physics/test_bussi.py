"""Stochastic velocity rescaling: canonical distribution of the kinetic energy, its memory, and what is conserved."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import stats

from allegro_md.cell import Cell
from allegro_md.comm import Comm
from allegro_md.evaluation import Evaluation, Needs, PotentialInfo
from allegro_md.integrators.base import Clock, Setting
from allegro_md.integrators.nvt_bussi import NvtBussiConfig, StochasticRescaling
from allegro_md.observables import kinetic_energy
from allegro_md.state import AtomState
from allegro_md.units import BOLTZMANN

KELVIN, TAU, N = 300.0, 20.0, 6
FREEDOM = 3 * N - 3


def free(state: AtomState, needs: Needs) -> Evaluation:
    state.local("force").zero_()
    return Evaluation()


def series(engine: Any, steps: int, start: float, seed: int = 3, dt: float = 5.0) -> tuple[Any, Any]:
    """Kinetic and conserved energy (eV) of free particles after each step, from a start temperature (K)."""
    rng = np.random.default_rng(1)
    x, v = rng.uniform(size=(N, 3)), rng.normal(size=(N, 3))
    state = engine.atoms(x, v - v.mean(axis=0), Cell(np.eye(3), (False,) * 3), [40.0])
    free(state, frozenset())
    now = float(kinetic_energy(state).value()[0])
    state.local("velocity").mul_((0.5 * FREEDOM * BOLTZMANN * start / now) ** 0.5)
    table = NvtBussiConfig(
        ensemble="nvt-bussi", timestep=dt, steps=steps, temperature=KELVIN, thermostat_time=TAU, seed=seed
    )
    integrator = StochasticRescaling(table, Setting(PotentialInfo("free", 1.0), N, Cell(np.eye(3)), Comm.serial()))
    kinetic, conserved = [], []
    for step in range(1, steps + 1):
        integrator.step(state, free, Clock(step, dt))
        kinetic.append(float(kinetic_energy(state).value()[0]))
        conserved.append(kinetic[-1] + integrator.extended_energy())
    return np.array(kinetic), np.array(conserved)


def test_kinetic_energy_is_canonical(engine: Any) -> None:
    """2K/kT follows the chi-squared distribution of 3N − 3 degrees of freedom; its memory decays as exp(−t/τ)."""
    kinetic, conserved = series(engine, 12_000, KELVIN)
    reduced = 2.0 * kinetic / (BOLTZMANN * KELVIN)
    apart = reduced[::24]  # 6 τ
    assert stats.kstest(apart, stats.chi2(FREEDOM).cdf).pvalue > 1e-3
    assert np.var(apart) == pytest.approx(2.0 * FREEDOM, rel=0.3)
    deviation = reduced - FREEDOM
    memory = np.mean(deviation[4:] * deviation[:-4]) / np.var(reduced)  # after τ
    assert memory == pytest.approx(np.exp(-1.0), abs=0.06)
    assert np.ptp(conserved) < 1e-9 * kinetic.max()


def test_mean_relaxes_exponentially(engine: Any) -> None:
    """⟨K⟩(t) = K̄ + (K(0) − K̄) exp(−t/τ), over many seeds."""
    runs = np.array([series(engine, 8, 1500.0, seed)[0] for seed in range(400)]) / (0.5 * FREEDOM * BOLTZMANN)
    time = 5.0 * np.arange(1, 9)
    expected = KELVIN + 1200.0 * np.exp(-time / TAU)
    error = runs.std(axis=0) / np.sqrt(len(runs))
    assert np.abs((runs.mean(axis=0) - expected) / error).max() < 4.0


def test_seeds_and_parts_of_steps_draw_their_own_numbers(engine: Any) -> None:
    assert series(engine, 3, KELVIN, 1)[0][-1] != series(engine, 3, KELVIN, 2)[0][-1]
    table = NvtBussiConfig(ensemble="nvt-bussi", timestep=1.0, steps=9, temperature=KELVIN)
    integrator = StochasticRescaling(table, Setting(PotentialInfo("free", 1.0), N, Cell(np.eye(3)), Comm.serial()))
    drawn = {integrator.factor(0.2, Clock(step, 0.5, part, 2)) for step in (1, 2) for part in (0, 1)}
    assert len(drawn) == 4
