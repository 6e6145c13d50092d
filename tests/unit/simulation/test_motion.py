"""Net momentum of the start, and thermostats on atoms at rest."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from allegro_md.comm import Comm
from allegro_md.config import load_input
from allegro_md.errors import InputError
from allegro_md.observables import kinetic_energy, momentum
from allegro_md.simulation.run import Simulation
from allegro_md.units import AMU_A2_PER_FS2

INPUT = """
[system]
structure = "start.extxyz"
[potential]
kind = "lj"
epsilon = 0.0103
sigma = 3.4
cutoff = 5.0
[dynamics]
ensemble = "nvt-nose-hoover"
timestep = 2.0
steps = 2
temperature = 40.0
"""


def crystal() -> Atoms:
    return bulk("Ar", "fcc", a=5.4, cubic=True) * (2, 2, 2)


def simulation(folder: Path, atoms: Atoms, *settings: str, overwrite: bool = True) -> Simulation:
    atoms.write(folder / "start.extxyz")
    (folder / "input.toml").write_text(INPUT)
    return Simulation.from_config(load_input(folder / "input.toml", settings), Comm.serial(), overwrite=overwrite)


def test_net_momentum_is_removed_and_said(tmp_path: Path) -> None:
    """What is left is the motion relative to the center of mass; the drift's energy is said."""
    atoms, drift = crystal(), np.array([0.003, -0.001, 0.002])
    relative = np.random.default_rng(1).normal(scale=0.001, size=(32, 3))
    relative -= relative.mean(axis=0)
    atoms.set_momenta((relative + drift) * atoms.get_masses()[:, None] / AMU_A2_PER_FS2**-0.5)
    run = simulation(tmp_path, atoms)
    assert np.abs(momentum(run.state).value()).max() < 1e-12
    mass = 32 * float(run.state.species_table.masses[0])
    order = np.argsort(run.state.local("id").numpy())
    np.testing.assert_allclose(run.state.local("velocity").numpy()[order], relative, rtol=0, atol=1e-9)
    run.run()
    log = (tmp_path / "run" / "log.txt").read_text()
    energy = 0.5 * mass * float(drift @ drift) * AMU_A2_PER_FS2
    assert "the net momentum of the start velocities was removed" in log and f"{energy:.4g} eV" in log

    kept = simulation(tmp_path, atoms, "dynamics.remove_momentum=false")  # the remedy of the message
    assert kept.loop.integrator.degrees_of_freedom == 3 * 32 and run.loop.integrator.degrees_of_freedom == 3 * 31
    np.testing.assert_allclose(momentum(kept.state).value(), mass * drift, rtol=1e-6)


def test_a_thermostat_on_a_perfect_crystal_at_rest_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="all atoms are at rest, and no force moves them") as error:
        simulation(tmp_path, crystal()).run()
    assert "[system.velocities] temperature" in error.value.remedy
    assert not (tmp_path / "run").exists()  # the remedy needs no --overwrite
    warm = simulation(tmp_path, crystal(), "system.velocities={ temperature = 40 }", overwrite=False)  # the remedy
    warm.run()
    assert float(kinetic_energy(warm.state).value()[0]) > 0.0


def test_atoms_that_forces_move_are_thermostatted(tmp_path: Path) -> None:
    atoms = crystal()
    atoms.rattle(0.1, seed=1)
    simulation(tmp_path, atoms).run()
    assert "all atoms are at rest; the thermostat" in (tmp_path / "run" / "log.txt").read_text()


def test_a_crystal_that_only_drifts_is_at_rest(tmp_path: Path) -> None:
    """The message says where the motion in the file went."""
    atoms = crystal()
    atoms.set_momenta(np.full((32, 3), 0.1) * atoms.get_masses()[:, None])
    with pytest.raises(InputError, match="at rest once the net momentum is removed, and no force moves them"):
        simulation(tmp_path, atoms)
    kept = simulation(tmp_path, atoms, "dynamics.remove_momentum=false")
    kept.run()
    assert kept.loop.measure().temperature > 0.0


def test_the_only_atom_flies(tmp_path: Path) -> None:
    """Its momentum is all its motion: it goes 0.1 Å in 20 fs at 0.005 Å/fs, with m v²/2, and has no temperature."""
    atom = Atoms("Ar", positions=[[1.0, 2.0, 3.0]], cell=[20.0, 20.0, 20.0], pbc=True)
    atom.set_momenta(np.array([[0.005, 0.0, 0.0]]) * atom.get_masses()[:, None] / AMU_A2_PER_FS2**-0.5)
    run = simulation(tmp_path, atom, 'dynamics={ ensemble = "nve", timestep = 2.0, steps = 10 }')
    run.run()
    np.testing.assert_allclose(run.state.local("position").numpy(), [[1.1, 2.0, 3.0]], atol=1e-9)
    thermo = run.loop.measure()
    assert thermo.kinetic == pytest.approx(0.5 * atom.get_masses()[0] * 0.005**2 * AMU_A2_PER_FS2)
    assert thermo.temperature == 0.0
    assert "the velocity of the only atom is kept" in (tmp_path / "run" / "log.txt").read_text()
