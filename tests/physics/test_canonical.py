"""Nosé–Hoover chains sample the canonical ensemble: liquid argon at 94.4 K, 500 Lennard-Jones atoms."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import series

from allegro_md.comm import Comm
from allegro_md.integrators.nvt_nose_hoover import NoseHoover
from allegro_md.integrators.schedule import Ramp
from allegro_md.potentials.lj import LennardJones
from allegro_md.units import BOLTZMANN

KELVIN, TIMESTEP = 94.4, 4.0
EPSILON, SIGMA, CUTOFF = 119.8 * BOLTZMANN, 3.405, 8.5
MELTING = 10.0  # ps from the lattice to the liquid, left out


def thermostat(n_atoms: int, steps: int, temperature: tuple[float, float] = (KELVIN, KELVIN)) -> NoseHoover:
    return NoseHoover(TIMESTEP, Ramp(*temperature, steps), 200.0, 3, 3, 3 * n_atoms - 3, Comm.serial())


def argon(*pairs: float) -> LennardJones:
    """Lennard-Jones for as many species as there are wells, each in units of argon's."""
    wells = np.sqrt(np.outer(pairs, pairs))
    return LennardJones(EPSILON * wells, SIGMA * np.ones_like(wells), CUTOFF)


@pytest.fixture(scope="module")
def liquid(engine: Any) -> Any:
    """Molten, at 94.4 K and 1.374 g/cm³ (Rahman's argon)."""
    state = engine.crystal("Ar", 5.7802, 5, 200.0, rattle=0.05, seed=3)
    assert state.n_total == 500
    steps = round(MELTING * 1e3 / TIMESTEP)
    record = engine.simulate(state, argon(1.0), thermostat(500, steps), steps)
    return engine.copy(state), record


def check_canonical(record: Any, length: float) -> None:
    """Conserved quantity, distribution and mean of the kinetic energy of a run of `length` ps."""
    validation = pytest.importorskip("physical_validation")
    time: Any = 1e-3 * TIMESTEP * np.arange(len(record.rows))
    assert time[-1] == pytest.approx(length)

    # The force jumps at the cutoff, so the energy walks at random by a few 1e-9 eV per atom and square root of a ps.
    change = series.drift(time, record["conserved"]).per(500)
    assert abs(change.slope) < 3.0 * max(change.error, change.wandering)
    assert abs(change.slope) < 1e-7  # eV/(atom·ps)
    assert np.std(record["conserved"]) < 1e-2 * np.std(record["kinetic"])

    kelvin, error = series.mean(record["temperature"])
    assert abs(kelvin - KELVIN) < 3.0 * error
    assert error < 1.0

    p = validation.kinetic_energy.distribution(observed(validation, record), strict=True, verbosity=0)
    assert p > 0.05


def observed(validation: Any, record: Any) -> Any:
    """The run in the words of `physical_validation`."""
    return validation.data.SimulationData(
        units=validation.data.UnitData(
            kb=BOLTZMANN, energy_str="eV", energy_conversion=96.48533212, length_str="A", length_conversion=0.1,
            volume_str="A^3", volume_conversion=1e-3, temperature_str="K", temperature_conversion=1.0,
            pressure_str="GPa", pressure_conversion=1e4, time_str="fs", time_conversion=1e-3,
        ),
        dt=TIMESTEP,
        system=validation.data.SystemData(
            natoms=500, nconstraints=0, ndof_reduction_tra=3, ndof_reduction_rot=0, mass=np.full(500, 39.948)
        ),
        ensemble=validation.data.EnsembleData("NVT", natoms=500, volume=record.rows[0].volume, temperature=KELVIN),
        observables=validation.data.ObservableData(kinetic_energy=record["kinetic"]),
    )  # fmt: skip


def test_it_is_a_liquid(liquid: Any) -> None:
    _, record = liquid
    assert record["potential"][-500:].mean() > 0.93 * record["potential"][0]  # the lattice, at 0 K
    assert record["temperature"][-500:].mean() == pytest.approx(KELVIN, abs=3.0)


def test_canonical_20_ps(engine: Any, liquid: Any) -> None:
    steps = round(20e3 / TIMESTEP)
    check_canonical(engine.simulate(engine.copy(liquid[0]), argon(1.0), thermostat(500, steps), steps), 20.0)


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_canonical_200_ps(engine: Any, liquid: Any) -> None:
    steps = round(200e3 / TIMESTEP)
    check_canonical(engine.simulate(engine.copy(liquid[0]), argon(1.0), thermostat(500, steps), steps), 200.0)


def test_the_distribution_test_sees_a_wrong_ensemble(engine: Any, liquid: Any) -> None:
    """Constant energy has the right mean but too narrow a distribution: it must not pass."""
    validation = pytest.importorskip("physical_validation")
    steps = round(8e3 / TIMESTEP)
    integrator = engine.VelocityVerlet(TIMESTEP, 3 * liquid[0].n_total - 3)
    record = engine.simulate(engine.copy(liquid[0]), argon(1.0), integrator, steps)
    p = validation.kinetic_energy.distribution(observed(validation, record), strict=True, verbosity=0)
    assert p < 0.01


def test_equipartition_between_light_and_heavy_atoms(engine: Any, liquid: Any) -> None:
    """Half of the atoms fourfold heavier, at rest at first: energy flows until both kinds are equally hot."""
    position, velocity = engine.by_id(liquid[0], "position"), engine.by_id(liquid[0], "velocity")
    kind = (np.arange(500) % 2).astype(np.int16)
    masses = np.array([39.948, 159.792])
    velocity[kind == 1] = 0.0
    velocity[kind == 0] -= velocity[kind == 0].mean(axis=0)
    state = engine.atoms(position, velocity, liquid[0].cell, list(masses), kind)
    steps = round(6e3 / TIMESTEP)
    potential = argon(1.0, 1.0)
    engine.simulate(state, potential, thermostat(500, steps), steps)
    shares = []
    for _ in range(96):
        engine.simulate(state, potential, thermostat(500, 15), 15)  # 60 fs
        v = engine.by_id(state, "velocity")
        energy = masses[kind][:, None] * v * v
        shares.append([energy[kind == 0].sum(), energy[kind == 1].sum(), *energy.sum(axis=0)])
    fractions = np.array(shares) / np.sum(shares, axis=1, keepdims=True) * 2.0  # each total is in there twice
    # Total momentum is zero: of 3N − 3 degrees of freedom the heavy kind, with 4/5 of the mass, lacks 3 · 4/5.
    light = (750 - 3 / 5) / 1497
    for column, expected in enumerate((light, 1 - light, 1 / 3, 1 / 3, 1 / 3)):
        value, error = series.mean(fractions[:, column])
        assert abs(value - expected) < 3.5 * error
        assert error < 0.02


def test_ramp_conserves_its_energy(engine: Any, liquid: Any) -> None:
    """The work of a ramp from 94.4 K to 150 K is accounted for: without it the sum would be off by orders."""
    steps = round(4e3 / TIMESTEP)
    integrator = thermostat(500, steps, (KELVIN, 150.0))
    record = engine.simulate(engine.copy(liquid[0]), argon(1.0), integrator, steps)
    still = engine.simulate(engine.copy(liquid[0]), argon(1.0), thermostat(500, steps), steps)
    assert record["temperature"][-100:].mean() > 130.0
    supplied = record["total"][-1] - record["total"][0]
    assert supplied > 1.5 * 500 * BOLTZMANN * 30.0
    assert np.ptp(record["conserved"]) < 5.0 * np.ptp(still["conserved"])
    assert np.ptp(record["conserved"]) < 1e-3 * supplied
    work = integrator.state_dict()["ramp_work"]
    assert abs(work) > 100.0 * np.ptp(record["conserved"])
