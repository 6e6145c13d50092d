"""Is a model of Li3PO4 stable? 192 atoms of quenched glass, 600 K, 20 ps at constant temperature.

    python benchmarks/lithium_phosphate_run.py MODEL.allegro [--data FOLDER] [--steps 10000] [--ranks 1]

Starts from the first quenched frame of the data (`inputs/train/README.md`), as the runs of the paper did: 2 fs,
thermostat of 80 fs (Musaelian et al., Nat. Commun. 14, 579 (2023)). Checks that the conserved quantity stays, that the
temperature is 600 K, that no atom is lost, and that phosphorus stays what it is: four oxygens at 1.55 Å. A run that was
broken off goes on. Writes ``results/lithium-phosphate-MODEL-MACHINE.json``; status 1 if a check fails.
"""

from __future__ import annotations

import argparse
import json
import lzma
import subprocess
import sys
from io import StringIO
from pathlib import Path
from typing import Any

import launch
import numpy as np
from ase import Atoms
from ase.io import read, write
from ase.neighborlist import neighbor_list

from allegro_md import read_trajectory

TEMPERATURE = 600.0
SETTLED = 0.1
"""Part of the run that is not looked at."""
BOND = 2.0
"""Å; within it are the four oxygens of a phosphorus, and no others."""

INPUT = """
[system]
structure = "start.extxyz"

[system.velocities]
temperature = {temperature}
seed = 1

[potential]
model = "{model}"

[dynamics]
ensemble = "nvt-nose-hoover"
timestep = 2.0
steps = {steps}
temperature = {temperature}
thermostat_time = 80.0

[output]
trajectory = {{ every = 100 }}
thermo = {{ every = 5 }}
checkpoint = {{ every = 1000 }}
"""

LIMITS = {
    "drift_meV_atom": (-5.0, 5.0), "temperature_K": (0.97 * TEMPERATURE, 1.03 * TEMPERATURE),
    "atoms": (192, 192), "bond_A": (1.50, 1.62), "least_oxygens": (4, 4), "most_oxygens": (4, 4),
}


def start(folder: Path) -> Atoms:
    """The first quenched frame."""
    with lzma.open(folder / "li3po4" / "test.extxyz.xz", "rt") as file:
        atoms = read(StringIO(file.read()), 0, format="extxyz")
    assert isinstance(atoms, Atoms)
    atoms.calc = None
    return atoms


def examined(directory: Path, atoms: Atoms) -> dict[str, float]:
    """What is checked of a run, under the names of `LIMITS`, and its length."""
    thermo = np.genfromtxt(directory / "thermo.csv", delimiter=",", names=True)
    thermo = thermo[int(SETTLED * len(thermo)) :]
    picoseconds = thermo["time_fs"] / 1e3
    slope = np.polyfit(picoseconds, thermo["conserved_eV"], 1)[0] if len(thermo) > 1 else np.nan
    with read_trajectory(directory / "trajectory.h5") as trajectory:
        n_atoms, frames = trajectory.n_atoms, [frame.position for frame in trajectory]
    lengths: list[float] = []
    counts: list[int] = []
    for positions in frames[int(SETTLED * len(frames)) :]:
        moved = atoms.copy()
        moved.positions = positions
        i, j, d = neighbor_list("ijd", moved, BOND)
        bonds = (atoms.numbers[i] == 15) & (atoms.numbers[j] == 8)
        lengths += d[bonds].tolist()
        counts += np.bincount(i[bonds], minlength=len(atoms))[atoms.numbers == 15].tolist()
    return {
        "drift_meV_atom": float(1e3 * slope * (picoseconds[-1] - picoseconds[0]) / len(atoms)),
        "temperature_K": float(thermo["temperature_K"].mean()),
        "atoms": n_atoms,
        "bond_A": float(np.median(lengths)),
        "least_oxygens": min(counts),
        "most_oxygens": max(counts),
        "picoseconds": float(picoseconds[-1]),
    }


def main() -> None:
    """Runs, checks, prints and keeps the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("--data", type=Path, default=launch.SHARED / "data", help="folder of the data sets")
    parser.add_argument("--steps", type=int, default=10_000)
    parser.add_argument("--ranks", type=int, default=1)
    options = parser.parse_args()
    atoms = start(options.data)
    folder = launch.ROOT / "benchmarks" / f"run-lithium-phosphate-{options.model.stem}"
    folder.mkdir(exist_ok=True)
    write(folder / "start.extxyz", atoms)
    source = INPUT.format(temperature=TEMPERATURE, model=options.model.resolve(), steps=options.steps)
    try:
        record = launch.run_input(source, "run", folder, options.ranks)
    except subprocess.CalledProcessError as error:
        raise SystemExit(f"not stable: the run ended with status {error.returncode}; see {folder / 'run'}") from None
    found: dict[str, Any] = examined(folder / "run", atoms)
    passed = {key: bool(low <= found[key] <= high) for key, (low, high) in LIMITS.items()}
    figures = {"model": options.model.name, "status": record["status"], **found, "limits": LIMITS, "passed": passed}
    print(json.dumps(figures, indent=1))
    versions = launch.versions("allegro-md", "ase", "numpy")
    print(launch.save(f"lithium-phosphate-{options.model.stem}", figures, versions))
    sys.exit(0 if all(passed.values()) else 1)


if __name__ == "__main__":
    main()
