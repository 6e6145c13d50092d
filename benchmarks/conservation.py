"""Energy conservation of copper at 600 K with the Allegro model, 4,000 atoms: order of the integrator, and drift.

    python benchmarks/conservation.py [--engine fused]

One start is equilibrated (constant temperature, mixed precision); from it run 2 ps at constant energy in double
precision with timesteps of 0.5, 1, 2 and 4 fs, and 5 ps (with the fused engine 20 ps) in mixed precision with 2 fs.
Each run is one of the program on 2 ranks with a checkpoint every 100 steps: started again after it was broken off, this
script goes on where it was. Over an hour on two cores of 2021 with the reference engine, ten minutes with the fused
one. Writes ``results/conservation-ENGINE-4000-atoms-MACHINE.json``.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import launch
import numpy as np
import series
from ase import Atoms, units

from allegro_md import read_trajectory

LATTICE, KELVIN = 3.64, 600.0
TIMESTEPS = (4.0, 2.0, 1.0, 0.5)  # the cheap ones first
DRIFT_TIMESTEP = 2.0
DRIFT_LENGTH = {"reference": 5.0, "fused": 20.0}
"""ps, by engine."""

INPUT = """
[system]
{system}

[potential]
model = "{model}"
engine = "{engine}"
precision = "{precision}"

[dynamics]
{dynamics}
timestep = {timestep}
steps = {steps}

[output]
thermo = {{ every = 1 }}
checkpoint = {{ every = 100 }}
{trajectory}
"""


def measure(folder: Path, engine: str, cells: int, ranks: int, length: float, rest: float) -> dict[str, Any]:
    """Runs what has not run yet and analyzes all of it.

    Args:
        folder: of the run directories.
        engine: "reference" or "fused".
        cells: cubic cells of 4 atoms along each edge.
        ranks: number of ranks.
        length: of the runs in double precision, ps.
        rest: of the equilibration, ps.

    Returns:
        Fluctuation per timestep and its order, and the drift, per atom.
    """
    n_atoms = 4 * cells**3
    start = equilibrated(folder, engine, cells, ranks, rest)
    rms, kelvin = {}, {}
    for timestep in TIMESTEPS:
        time, energy, temperature, _ = constant_energy(folder, start, engine, "double", timestep, length, ranks)
        rms[timestep] = series.detrended_rms(time, energy) / n_atoms
        kelvin[timestep] = float(temperature.mean())
    drift_length = DRIFT_LENGTH[engine]
    time, energy, temperature, record = constant_energy(
        folder, start, engine, "mixed", DRIFT_TIMESTEP, drift_length, ranks
    )
    drift = series.drift(time, energy).per(n_atoms)
    return {
        "engine": engine,
        "atoms": n_atoms,
        "ranks": ranks,
        "fluctuation": {
            "precision": "double",
            "length_ps": length,
            "rms_eV_per_atom": {f"{timestep:g} fs": value for timestep, value in rms.items()},
            "mean_temperature_K": {f"{timestep:g} fs": value for timestep, value in kelvin.items()},
            "order": series.order(np.array(list(rms)), np.array(list(rms.values()))),
        },
        "drift": {
            "precision": "mixed",
            "length_ps": drift_length,
            "timestep_fs": DRIFT_TIMESTEP,
            "mean_temperature_K": float(temperature.mean()),
            "drift_eV_per_atom_ps": drift.slope,
            "standard_error": drift.error,
            "standard_error_if_it_wandered": drift.wandering,
        },
        "versions": record["versions"],
    }


def equilibrated(folder: Path, engine: str, cells: int, ranks: int, length: float) -> Path:
    """A structure file with velocities, after `length` ps at constant temperature."""
    path = folder / "start.traj"  # ASE's binary format keeps every digit
    if path.exists():
        return path
    system = (
        f'crystal = {{ symbol = "Cu", lattice = "fcc", a = {LATTICE}, repeat = [{cells}, {cells}, {cells}], '
        f"rattle = 0.1, seed = 1 }}\n[system.velocities]\ntemperature = {KELVIN}\nseed = 1"
    )
    dynamics = f'ensemble = "nvt-nose-hoover"\ntemperature = {KELVIN}\nthermostat_time = 100.0'
    steps = round(1e3 * length / 2.0)
    trajectory = f'trajectory = {{ every = {steps}, fields = ["position", "velocity"], dtype = "float64" }}'
    launch.run_input(text(system, engine, dynamics, "mixed", 2.0, steps, trajectory), "equilibration", folder, ranks)
    with read_trajectory(folder / "equilibration" / "trajectory.h5") as trajectory:
        position, velocity = trajectory[-1].position, trajectory[-1].velocity
    edge = LATTICE * cells
    atoms = Atoms("Cu" * len(position), position, cell=[edge] * 3, pbc=True, velocities=velocity / units.fs)
    atoms.write(path.with_suffix(".part"), format="traj")
    path.with_suffix(".part").rename(path)
    return path


def constant_energy(
    folder: Path, start: Path, engine: str, precision: str, timestep: float, length: float, ranks: int
) -> tuple[series.Array, series.Array, series.Array, dict[str, Any]]:
    """Time (ps), total energy (eV) and temperature (K) at every step, and the run's run.json."""
    name, steps = f"nve-{precision}-{timestep:g}fs", round(1e3 * length / timestep)
    source = text(f'structure = "{start.name}"', engine, 'ensemble = "nve"', precision, timestep, steps, "")
    record = launch.run_input(source, name, folder, ranks)
    columns = np.genfromtxt(folder / name / "thermo.csv", delimiter=",", names=True)
    if len(columns) != steps + 1:
        raise SystemExit(f"{folder / name}: {len(columns)} rows instead of {steps + 1}; remove it and start again")
    return 1e-3 * columns["time_fs"], columns["total_eV"], columns["temperature_K"], record


def text(system: str, engine: str, dynamics: str, precision: str, timestep: float, steps: int, trajectory: str) -> str:
    """An input."""
    return INPUT.format(
        system=system, model=launch.ROOT / "inputs" / "models" / "cu.allegro", engine=engine, precision=precision,
        dynamics=dynamics, timestep=timestep, steps=steps, trajectory=trajectory,
    )


def main() -> None:
    """Measures, prints and keeps the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--engine", choices=DRIFT_LENGTH, default="reference")
    parser.add_argument("--cells", type=int, default=10, help="cubic cells along each edge (10: 4,000 atoms)")
    parser.add_argument("--ranks", type=int, default=2)
    options = parser.parse_args()
    folder = Path(__file__).resolve().parent / f"run-conservation-{options.engine}-{options.cells}"
    figures = measure(folder, options.engine, options.cells, options.ranks, length=2.0, rest=1.0)
    for timestep, value in figures["fluctuation"]["rms_eV_per_atom"].items():
        print(f"{timestep:>7}  RMS {1e6 * value:9.4f} µeV/atom")
    print(f"order {figures['fluctuation']['order']:.4f}")
    drift = figures["drift"]
    print(f"drift {drift['drift_eV_per_atom_ps']:.2e} ± {drift['standard_error']:.1e} eV/(atom·ps)")
    print(launch.save(f"conservation-{options.engine}-{figures['atoms']}-atoms", figures, figures.pop("versions")))


if __name__ == "__main__":
    main()
