"""Groups: frozen atoms, constant forces, prescribed velocities, thermostats of their own, against closed formulas."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ase
import h5py
import numpy as np
import pytest
from ase.build import bulk, fcc100
from ase.constraints import FixAtoms

from allegro_md.comm import Comm
from allegro_md.config import load_input
from allegro_md.errors import InputError
from allegro_md.exact import FORCE_SCALE
from allegro_md.simulation.run import Simulation
from allegro_md.units import AMU_A2_PER_FS2, BOLTZMANN

LJ = '[potential]\nkind = "lj"\nepsilon = 0.0103408\nsigma = 3.405\ncutoff = 7.0\n'
END = """[output]
thermo = { every = 1 }
trajectory = { every = 1, fields = ["position", "velocity", "force", "image"], dtype = "float64" }
"""


def simulated(folder: Path, atoms: ase.Atoms, rest: str, *settings: str) -> Simulation:
    """A run of a structure, made to its end."""
    atoms.write(folder / "start.extxyz")
    (folder / "input.toml").write_text('[system]\nstructure = "start.extxyz"\n' + rest + LJ + END)
    run = Simulation.from_config(load_input(folder / "input.toml", settings), Comm.serial(), overwrite=True)
    run.run()
    return run


def frames(folder: Path, name: str) -> Any:
    with h5py.File(folder / "run" / "trajectory.h5") as file:
        return file[f"particles/all/{name}/value"][:]


def thermo(folder: Path, name: str) -> Any:
    table = np.genfromtxt(folder / "run" / "thermo.csv", delimiter=",", names=True)
    return table[name]


def slab() -> ase.Atoms:
    atoms = fcc100("Ar", (3, 3, 5), a=5.3, vacuum=8.0, periodic=True)
    atoms.positions += np.random.default_rng(1).normal(scale=0.05, size=atoms.positions.shape)
    return atoms


def test_frozen_atoms_report_their_forces(tmp_path: Path) -> None:
    """They stay where they are; forces are those of a single point in which nothing is frozen."""
    atoms = slab()
    low = int((atoms.positions[:, 2] < 12.0).sum())
    rest = '[system.velocities]\ntemperature = 30.0\n[[group]]\nname = "floor"\nexpression = "z < 12"\n'
    rest += '[dynamics]\nensemble = "nve"\ntimestep = 2.0\nsteps = 20\nfrozen = ["floor"]\n'
    run = simulated(tmp_path, atoms, rest)
    position, force = frames(tmp_path, "position"), frames(tmp_path, "force")
    frozen = atoms.positions[:, 2] < 12.0
    assert 0 < low < len(atoms) and np.array_equal(position[-1][frozen], position[0][frozen])
    assert (np.abs(position[-1] - position[0])[~frozen].max(axis=1) > 0.0).all()
    assert run.loop.integrator.degrees_of_freedom == 3 * (len(atoms) - low)
    conserved = thermo(tmp_path, "conserved_eV")
    assert np.ptp(conserved) < 1e-4 and np.ptp(thermo(tmp_path, "kinetic_eV")) > 1e-3
    atoms.positions = position[-1]
    single = simulated(tmp_path, atoms, '[dynamics]\nensemble = "nve"\ntimestep = 2.0\nsteps = 0\n')
    np.testing.assert_allclose(frames(tmp_path, "force")[0], force[-1], atol=1e-8)  # of positions with 8 digits
    assert np.abs(force[-1][frozen]).max() > 1e-3
    assert single.loop.integrator.degrees_of_freedom == 3 * len(atoms) - 3


def test_start_velocities_of_the_mobile_atoms(tmp_path: Path) -> None:
    """Equipartition over 3 (N − n) degrees of freedom: the temperature within three standard errors."""
    atoms = bulk("Ar", a=5.3, cubic=True) * (8, 8, 8)
    rest = '[system.velocities]\ntemperature = 50.0\n[[group]]\nname = "half"\nregion = { x = [0, 21] }\n'
    rest += '[dynamics]\nensemble = "nve"\ntimestep = 2.0\nsteps = 0\nfrozen = ["half"]\n'
    run = simulated(tmp_path, atoms, rest)
    freedom = run.loop.integrator.degrees_of_freedom
    assert freedom == 3 * 1024
    assert thermo(tmp_path, "temperature_K") == pytest.approx(50.0, abs=3.0 * 50.0 * np.sqrt(2.0 / freedom))


@pytest.mark.parametrize("cause", ["force = [0.002, 0, -0.001]", 'acceleration = ["4.83e-7 Å/fs^2", 0, -2.415e-7]'])
def test_a_constant_force_on_free_particles(tmp_path: Path, cause: str) -> None:
    """x = F t²/2m; the conserved energy holds to rounding though K grows."""
    atoms = ase.Atoms("Ar2", positions=[[2, 2, 2], [2, 12, 2]], cell=[20] * 3, pbc=True)
    rest = '[[group]]\nname = "one"\nids = [1]\n[dynamics]\nensemble = "nve"\ntimestep = 5.0\nsteps = 200\n'
    simulated(tmp_path, atoms, rest + f'apply = [{{ group = "one", {cause} }}]\n')
    with h5py.File(tmp_path / "run" / "trajectory.h5") as file:
        group = file["particles/all"]
        x = group["position/value"][:, 1] + 20.0 * group["image/value"][:, 1]
        force = group["force/value"][:, 1]
    fixed = np.rint(np.array([0.002, 0.0, -0.001]) * FORCE_SCALE) / FORCE_SCALE
    np.testing.assert_allclose(force, np.broadcast_to(fixed, force.shape), rtol=2e-4)
    t = 5.0 * np.arange(201)[:, None]
    mass = atoms.get_masses()[1] * AMU_A2_PER_FS2
    np.testing.assert_allclose(x - x[0], force[0] * t**2 / (2.0 * mass), rtol=1e-10, atol=1e-10)
    kinetic, conserved = thermo(tmp_path, "kinetic_eV"), thermo(tmp_path, "conserved_eV")
    assert kinetic[-1] > 5e-4 and np.abs(conserved - conserved[0]).max() < 1e-14
    assert thermo(tmp_path, "temperature_K")[-1] == pytest.approx(2.0 * kinetic[-1] / (6 * BOLTZMANN))


def test_a_piston_moves_as_it_is_told(tmp_path: Path) -> None:
    """x = x₀ + v t exactly but for rounding; its work on the others is in the conserved energy, of second order."""
    atoms, ranges = slab(), []
    rest = '[system.velocities]\ntemperature = 20.0\n[[group]]\nname = "piston"\nexpression = "z > 17"\n'
    rest += '[[group]]\nname = "floor"\nexpression = "z < 9.5"\n[dynamics]\nensemble = "nve"\nfrozen = ["floor"]\n'
    rest += 'apply = [{ group = "piston", velocity = [0, 0, "-200 m/s"] }]\n'
    for timestep, steps in ((4.0, 100), (2.0, 200)):
        simulated(tmp_path, atoms, rest + f"timestep = {timestep}\nsteps = {steps}\n")
        z, velocity = frames(tmp_path, "position")[:, :, 2], frames(tmp_path, "velocity")
        piston = atoms.positions[:, 2] > 17.0
        assert 0 < piston.sum() < 20 and (velocity[:, piston] == [0.0, 0.0, -2e-3]).all()
        t = timestep * np.arange(steps + 1)[:, None]
        path = np.broadcast_to(-2e-3 * t, z[:, piston].shape)
        np.testing.assert_allclose(z[:, piston] - z[0, piston], path, atol=1e-12)
        total, conserved = thermo(tmp_path, "total_eV"), thermo(tmp_path, "conserved_eV")
        ranges.append(np.ptp(conserved))
        assert np.ptp(total) > 0.05 and ranges[-1] < 0.02 * np.ptp(total)
    assert ranges[0] / ranges[1] == pytest.approx(4.0, rel=0.25)


@pytest.mark.parametrize("ensemble", ["nvt-langevin", "nvt-bussi", "nvt-nose-hoover"])
def test_heat_flows_from_hot_to_cold(tmp_path: Path, ensemble: str) -> None:
    """Thermostats of two slabs: each at its temperature; the heat from one to the other is in the conserved energy."""
    atoms = bulk("Ar", a=5.3, cubic=True) * (2, 2, 6)
    time = "friction = 0.01" if ensemble == "nvt-langevin" else "thermostat_time = 50.0"
    rest = '[system.velocities]\ntemperature = 60.0\n[[group]]\nname = "hot"\nexpression = "fz < 0.16"\n'
    rest += f'[[group]]\nname = "cold"\nexpression = "0.49 < fz < 0.66"\n[dynamics]\nensemble = "{ensemble}"\n{time}\n'
    rest += "timestep = 4.0\nsteps = 1000\nthermostats = [{ group = 'hot', temperature = 45 }, "
    rest += "{ group = 'cold', temperature = 15 }]\n"
    run = simulated(tmp_path, atoms, rest, "output.trajectory.every=10")
    heat = run.loop.integrator.heat()  # type: ignore[attr-defined]
    assert heat["hot"] > 0.05 and heat["cold"] < -0.15
    total, conserved = thermo(tmp_path, "total_eV"), thermo(tmp_path, "conserved_eV")
    assert total[-1] - total[0] == pytest.approx(sum(heat.values()), abs=2e-3) and np.ptp(conserved) < 2e-3
    late = frames(tmp_path, "velocity")[50:]
    fraction = (atoms.positions[:, 2] / atoms.cell[2, 2]) % 1.0
    for chosen, target in ((fraction < 0.16, 45.0), ((fraction > 0.49) & (fraction < 0.66), 15.0)):
        kinetic = 0.5 * atoms.get_masses()[0] * AMU_A2_PER_FS2 * (late[:, chosen] ** 2).sum(axis=(1, 2)).mean()
        assert 2.0 * kinetic / (3 * chosen.sum() * BOLTZMANN) == pytest.approx(target, rel=0.2)


@pytest.mark.parametrize(
    ("groups", "dynamics", "message"),
    [
        ('name = "a"\nexpression = "z > 90"', 'frozen = ["a"]', "group 'a' has no atom"),
        ('name = "a"\nids = [45]', 'frozen = ["a"]', "index 45, but there are 45 atoms"),
        ('name = "a"\nspecies = ["Kr"]', 'frozen = ["a"]', "there is no Kr in the system"),
        ('name = "a"\nall = true', 'frozen = ["a"]', "all atoms are frozen"),
        (
            'name = "a"\nall = true\n[[group]]\nname = "b"\nids = [3]',
            'frozen = ["b"]\napply = [{ group = "a", velocity = [0, 0, 0.001] }]',
            "the frozen ones and group 'a' have 1 atoms in common",
        ),
    ],
)
def test_groups_that_fit_no_system(tmp_path: Path, groups: str, dynamics: str, message: str) -> None:
    rest = f'[[group]]\n{groups}\n[dynamics]\nensemble = "nve"\ntimestep = 2.0\nsteps = 0\n{dynamics}\n'
    with pytest.raises(InputError, match=message):
        simulated(tmp_path, slab(), rest)


def test_a_continuation_keeps_its_groups(tmp_path: Path) -> None:
    """The same input goes on with the members of the start; another definition of a group is refused."""
    rest = '[system.velocities]\ntemperature = 40.0\n[[group]]\nname = "top"\nexpression = "z > 16"\n'
    rest += '[dynamics]\nensemble = "nve"\ntimestep = 4.0\nsteps = 20\nfrozen = ["top"]\n'
    simulated(tmp_path, slab(), rest)
    path = tmp_path / "input.toml"
    longer = Simulation.from_config(load_input(path, ["dynamics.steps=30"]), Comm.serial(), resume=True)
    longer.run()
    position = frames(tmp_path, "position")
    top = position[0][:, 2] > 16.0
    assert len(position) == 31 and np.array_equal(position[-1][top], position[0][top])
    for change in ('group.0.expression="z > 17"', "dynamics.frozen=[]"):
        with pytest.raises(InputError, match="but the run began with"):
            Simulation.from_config(load_input(path, [change]), Comm.serial(), resume=True)


def test_atoms_that_a_file_fixes(tmp_path: Path) -> None:
    """They stay, unless the input says otherwise; the log tells."""
    atoms = slab()
    atoms.set_constraint(FixAtoms([0, 40]))
    rest = '[system.velocities]\ntemperature = 40.0\n[dynamics]\nensemble = "nve"\ntimestep = 4.0\nsteps = 5\n'
    for settings, moved in (((), False), (("system.constraints=ignore",), True)):
        run = simulated(tmp_path, atoms, rest, *settings)
        position, log = frames(tmp_path, "position"), (tmp_path / "run" / "log.txt").read_text()
        assert (position[-1] != position[0]).any(axis=1).sum() == (45 if moved else 43)
        assert ("2 atoms are frozen" in log) != moved and ("are ignored" in log) == moved
        assert run.loop.integrator.degrees_of_freedom == (3 * 44 if moved else 3 * 43)
