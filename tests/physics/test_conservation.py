"""Energy is conserved to second order in the timestep, drifts nowhere, and the motion runs backwards."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import series

from allegro_md.comm import Comm
from allegro_md.evaluation import Evaluation, Needs
from allegro_md.integrators.base import Clock
from allegro_md.integrators.nve import VelocityVerlet
from allegro_md.integrators.nvt_nose_hoover import NoseHoover
from allegro_md.integrators.schedule import Ramp
from allegro_md.integrators.steps import drift, kick
from allegro_md.observables import momentum
from allegro_md.potentials.allegro import AllegroPotential
from allegro_md.potentials.eam import Eam
from allegro_md.potentials.eam_file import read_eam
from allegro_md.potentials.fused import FusedPotential
from allegro_md.state import Field

INPUTS = Path(__file__).resolve().parents[2] / "inputs"


class Euler:
    """A first-order integrator: what the tests of the order must refuse."""

    needs: ClassVar[Needs] = frozenset()
    changes_cell: ClassVar[bool] = False
    fields: ClassVar[tuple[Field, ...]] = ()
    degrees_of_freedom, max_temperature, finished = 3, 0.0, False

    def __init__(self, timestep: float) -> None:
        self.timestep = timestep

    def step(self, state: Any, forces: Any, clock: Clock) -> Evaluation:
        drift(state, clock.dt)
        evaluation: Evaluation = forces(state, self.needs)
        kick(state, clock.dt)
        return evaluation

    def extended_energy(self) -> float:
        return 0.0


def nose_hoover(timestep: float, n_atoms: int, steps: int = 1, temperature: Any = (600.0, 600.0)) -> NoseHoover:
    first, last = temperature
    return NoseHoover(timestep, Ramp(first, last, steps), 50.0, 3, 3, 3 * n_atoms - 3, Comm.serial())


@pytest.fixture(scope="module")
def silver(engine: Any) -> Any:
    """256 Ag atoms near 600 K, and a smooth potential for them."""
    state = engine.crystal("Ag", 4.09, 4, 600.0, rattle=0.12, seed=2)
    return state, Eam(read_eam(INPUTS / "potentials" / "ag-sutton-chen.eam.alloy"), state.species_table)


def fluctuations(engine: Any, start: Any, potential: Any, build: Any, timesteps: Any, length: Any) -> Any:
    """RMS of the detrended conserved energy over `length` fs from one start, per timestep, eV."""
    errors = []
    for timestep in timesteps:
        record = engine.simulate(engine.copy(start), potential, build(timestep), round(length / timestep))
        time = timestep * np.arange(len(record.rows))
        errors.append(series.detrended_rms(time, record["conserved"]))
    return np.array(errors)


@pytest.mark.parametrize("method", ["nve", "nvt-nose-hoover"])
def test_second_order(engine: Any, silver: Any, method: str) -> None:
    start, potential = silver
    timesteps = np.array([1.0, 2.0, 4.0])
    makers = {"nve": lambda dt: VelocityVerlet(dt, 3), "nvt": lambda dt: nose_hoover(dt, start.n_total)}
    build = makers["nve" if method == "nve" else "nvt"]
    errors = fluctuations(engine, start, potential, build, timesteps, 400.0)
    assert series.order(timesteps, errors) == pytest.approx(2.0, abs=0.1)


def test_a_first_order_integrator_is_found_out(engine: Any, silver: Any) -> None:
    start, potential = silver
    timesteps = np.array([1.0, 2.0, 4.0])
    errors = fluctuations(engine, start, potential, Euler, timesteps, 400.0)
    assert series.order(timesteps, errors) < 1.2


@pytest.fixture(scope="module")
def copper(engine: Any) -> Any:
    """500 Cu atoms near 600 K."""
    return engine.crystal("Cu", 3.64, 5, 500.0, rattle=0.1)


@pytest.mark.parametrize("make", [FusedPotential, pytest.param(AllegroPotential, marks=pytest.mark.long)])
def test_allegro_second_order_and_single_precision_adds_no_drift(engine: Any, copper: Any, make: Any) -> None:
    """The 4,000-atom runs over picoseconds are in `test_long.py`; this is their short form.

    Over 160 fs the fluctuation of the integrator, second order in the timestep, hides any drift of 1 µeV/(atom·ps). It
    is the same in both precisions while the trajectories are together, so their difference shows what float32 does.
    """
    timesteps, length = np.array([1.0, 2.0, 4.0]), 160.0
    double, mixed = (make(INPUTS / "models" / "cu.allegro", ("Cu",), precision) for precision in ("double", "mixed"))
    energies = []
    for timestep in timesteps:
        integrator = VelocityVerlet(timestep, 3)
        record = engine.simulate(engine.copy(copper), double, integrator, round(length / timestep))
        energies.append(record["total"])
    errors = [series.detrended_rms(dt * np.arange(len(e)), e) for dt, e in zip(timesteps, energies, strict=True)]
    assert series.order(timesteps, np.array(errors)) == pytest.approx(2.0, abs=0.1)
    assert errors[1] < 5e-5 * copper.n_total  # 50 µeV/atom at 2 fs

    total = engine.simulate(engine.copy(copper), mixed, VelocityVerlet(2.0, 3), round(length / 2.0))["total"]
    time: Any = 2e-3 * np.arange(len(total))  # ps
    change = series.drift(time, total - energies[1]).per(copper.n_total)
    assert abs(change.slope) < 1e-6
    assert change.error < 2e-7  # else the line above would say nothing


def test_time_runs_backwards(engine: Any, silver: Any) -> None:
    """Back to the start within rounding, which chaos multiplies; a wrong half kick would miss by far."""
    start, potential = silver
    state = engine.copy(start)
    record = engine.simulate(state, potential, VelocityVerlet(2.0, 3), 100, skin=0.3)
    there = engine.copy(state)
    assert np.abs(engine.by_id(there, "position") - engine.by_id(start, "position")).max() > 0.3
    there.local("velocity").neg_()
    back = engine.simulate(there, potential, VelocityVerlet(2.0, 3), 100, skin=0.3)
    assert np.abs(engine.by_id(there, "position") - engine.by_id(start, "position")).max() < 1e-10
    assert np.abs(engine.by_id(there, "velocity") + engine.by_id(start, "velocity")).max() < 1e-12
    assert back["total"][::-1] == pytest.approx(record["total"], rel=1e-13)


def test_momentum_is_conserved(engine: Any, silver: Any) -> None:
    """The forces add up to exactly zero, so what is left is the rounding of velocities."""
    start, potential = silver
    state = engine.copy(start)
    engine.simulate(state, potential, nose_hoover(2.0, start.n_total), 200)
    total = Comm.serial().reduce(momentum(state))
    largest = np.abs(engine.by_id(state, "velocity")).max() * 107.87
    assert np.abs(total).max() < 1e-12 * largest * start.n_total
