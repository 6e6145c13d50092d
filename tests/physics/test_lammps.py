"""The whole engine against LAMMPS: a Lennard-Jones trajectory step by step, and the first step of copper."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from allegro_md.cell import Cell
from allegro_md.integrators.nve import VelocityVerlet
from allegro_md.potentials.eam import Eam
from allegro_md.potentials.eam_file import read_eam
from allegro_md.potentials.lj import LennardJones
from allegro_md.units import AMU_A2_PER_FS2

# LAMMPS' own constants of `units metal`, older than CODATA 2022.
MVV2E = 1.0364269e-4  # eV per amu (Å/ps)²
BOLTZMANN = 8.617343e-5  # eV/K
BAR = 1.6021765e6  # per eV/Å³
MASS = 39.948 * MVV2E / (AMU_A2_PER_FS2 * 1e-6)  # amu; makes our kinetic energies LAMMPS'


@pytest.fixture(scope="module")
def trajectory(engine: Any, data: Path) -> Any:
    """Reference, forces at step 0, state after 100 steps and all observables."""
    with np.load(data / "lammps-lj" / "nve.npz") as file:
        reference = dict(file)
    box = reference["box"]
    cell = Cell(np.diag(box[:, 1] - box[:, 0]))
    one = np.ones((1, 1))
    potential = LennardJones(reference["epsilon"] * one, reference["sigma"] * one, float(reference["cutoff"]))
    start = engine.atoms(reference["x0"], reference["v0"] * 1e-3, cell, [MASS])
    integrator = VelocityVerlet(2.0, 3 * start.n_total - 3)
    engine.simulate(start, potential, integrator, 0)
    state = engine.atoms(reference["x0"], reference["v0"] * 1e-3, cell, [MASS])
    return reference, engine.by_id(start, "force"), state, engine.simulate(state, potential, integrator, 100)


def test_mass_that_stands_for_the_other_constants() -> None:
    assert pytest.approx(39.9479974285, abs=1e-10) == MASS


def test_forces_at_step_0(trajectory: Any) -> None:
    reference, force, _, _ = trajectory
    assert np.abs(force - reference["f0"]).max() < 1e-10 * np.abs(reference["f0"]).max()


@pytest.mark.parametrize(("column", "name"), [("PotEng", "potential"), ("KinEng", "kinetic"), ("TotEng", "total")])
def test_energies_of_100_steps(trajectory: Any, column: str, name: str) -> None:
    reference, _, _, record = trajectory
    expected = reference["thermo"][:, list(reference["thermo_cols"]).index(column)]
    assert len(expected) == 101
    assert record[name] == pytest.approx(expected, rel=1e-8)


def test_temperature_and_pressure_of_100_steps(trajectory: Any) -> None:
    reference, _, _, record = trajectory
    table = dict(zip(reference["thermo_cols"], reference["thermo"].T, strict=True))
    kelvin = 2.0 * record["kinetic"] / (3 * 3999) / BOLTZMANN
    assert kelvin == pytest.approx(table["Temp"], rel=1e-8)
    # The pressure is made of the virial and of the kinetic energy, both in eV/Å³ before LAMMPS' bar.
    volume = 57.0**3
    assert record["volume"] == pytest.approx(volume, rel=1e-12)
    pressure = record["pressure"] * 1e4 * BAR / 1.602176634e6
    scale = 2.0 * table["KinEng"] / (3.0 * volume) * BAR  # the kinetic part: the whole is a small difference
    assert np.abs(pressure - table["Press"]).max() < 1e-8 * scale.max()
    trace = record["stress"][:, :3].sum(axis=1)
    assert trace == pytest.approx(-3.0 * record["pressure"], rel=1e-12)


def test_positions_velocities_forces_after_100_steps(engine: Any, trajectory: Any) -> None:
    reference, _, state, _ = trajectory
    away = engine.by_id(state, "position") - reference["x100_unwrapped"]
    away -= 57.0 * np.rint(away / 57.0)
    assert np.abs(away).max() < 1e-9
    assert np.abs(engine.by_id(state, "velocity") * 1e3 - reference["v100"]).max() < 1e-9 * np.abs(
        reference["v100"]
    ).max()
    force = engine.by_id(state, "force")
    assert np.abs(force - reference["f100"]).max() < 1e-9 * np.abs(reference["f100"]).max()


def test_copper_eam_step_0(engine: Any, shared: Path) -> None:
    folder = shared / "data" / "lammps_eam"
    expected = json.loads((folder / "reference.json").read_text())["eam"]["thermo"][0]
    state = engine.crystal("Cu", 3.615, 20, 1600.0)
    assert state.n_total == 32_000
    potential = Eam(read_eam(folder / "Cu_u3.eam"), state.species_table)
    thermo = engine.simulate(state, potential, VelocityVerlet(2.0, 3 * state.n_total - 3), 0).rows[0]
    assert thermo.potential == pytest.approx(expected[2], rel=1e-8)
    # LAMMPS scales its start velocities to 1600 K; ours are as drawn. Pressure is linear in the kinetic energy.
    kinetic = 1.5 * (state.n_total - 1) * BOLTZMANN * 1600.0
    pressure = thermo.pressure * 1e4 * BAR / 1.602176634e6
    pressure += 2.0 * (kinetic - thermo.kinetic) / (3.0 * thermo.volume) * BAR
    assert pressure == pytest.approx(expected[4], rel=1e-6)
    assert thermo.potential + kinetic == pytest.approx(expected[3], rel=1e-7)
