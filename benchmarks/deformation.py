"""Draws docs/ensembles/deformation.svg: the work of a shear that replaces the cell, and stress against strain at 1e9/s.

Run it as  python benchmarks/deformation.py  (a minute on one core).
"""

from __future__ import annotations

import csv
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from allegro_md.comm import Comm
from allegro_md.config import load_input
from allegro_md.figures import COLORS, figure, svg
from allegro_md.simulation.run import Simulation

ROOT = Path(__file__).resolve().parent.parent
STRAIN = 1e-3
"""Of the differences that give the elastic constants."""

INPUT = """
[system]
crystal = {{ symbol = "Ag", lattice = "fcc", a = 4.09, repeat = [4, 4, 4] }}
velocities = {{ temperature = {temperature}, seed = 1 }}
[potential]
kind = "eam"
file = "{root}/inputs/potentials/ag-sutton-chen.eam.alloy"
[dynamics]
ensemble = "nve"
timestep = {timestep}
steps = {steps}
deform = {deform}
[output]
directory = "{directory}"
thermo = {{ every = 1 }}
checkpoint = {{ every = 0 }}
"""

Array = NDArray[np.float64]


def run(folder: Path, name: str, temperature: float, timestep: float, steps: int, deform: str) -> dict[str, Array]:
    """Runs 256 atoms of silver.

    Args:
        folder: for the files.
        name: of the run.
        temperature: at the start, K.
        timestep: fs.
        steps: number of steps.
        deform: as in an input.

    Returns:
        Columns of thermo.csv, (steps + 1,).
    """
    path = folder / f"{name}.toml"
    keys = {"temperature": temperature, "timestep": timestep, "steps": steps, "deform": deform}
    path.write_text(INPUT.format(root=ROOT, directory=folder / name, **keys))
    Simulation.from_config(load_input(path), Comm.serial()).run()
    with (folder / name / "thermo.csv").open() as file:
        rows = list(csv.DictReader(file))
    return {key: np.array([float(row[key]) for row in rows]) for key in rows[0]}


def main() -> None:
    """Makes the runs and the picture."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        sheared = run(folder, "sheared", 600.0, 2.0, 1000, "{ strain = { xy = 1.8 } }")
        pulled = {
            name: run(folder, name, 2.0, 2.0, 2500, f'{{ rate = {{ {name} = "1e9/s" }} }}') for name in ("xx", "xy")
        }
        tangents = {name: tangent(folder, name) for name in ("xx", "xy")}
    picture, (left, right) = figure(1, 2, 9.0, 3.4)
    time = sheared["time_fs"] / 1000.0
    for key, label, color in (
        ("total_eV", "energy $K + E$", COLORS[0]), ("conserved_eV", "energy less work", COLORS[1]),
    ):  # fmt: skip
        left.plot(time, (sheared[key] - sheared[key][0]) / 256, label=label, color=color)
    flips = np.flatnonzero(np.abs(np.diff(sheared["gamma_deg"])) > 10.0)
    for flip in flips:
        left.axvline(time[flip + 1], color="0.7", linewidth=0.8, zorder=0)
    left.set(xlabel="time (ps)", ylabel="change (eV per atom)")
    left.legend(frameon=False)
    for (name, rows), color in zip(pulled.items(), COLORS, strict=False):
        strain = 1e-6 * rows["time_fs"]
        constant = "C_{11}" if name == "xx" else "C_{44}"
        stress = rows[f"s{name}_GPa"]
        first = float(np.polyfit(strain, stress, 2)[1])
        right.plot(100.0 * strain, stress, color=color, label=f"${constant}$: {first:.1f} GPa")
        right.plot(100.0 * strain, tangents[name] * strain, "--", color="0.3", linewidth=1.0)
        print(f"{name}: slope {first:.2f} GPa, strain derivative {tangents[name]:.2f} GPa")
    right.set(xlabel="strain (%)", ylabel="stress (GPa)")
    right.legend(frameon=False)
    drift = float(np.abs(sheared["conserved_eV"] - sheared["conserved_eV"][0]).max() / 256)
    print(f"{len(flips)} cells replaced; energy less work within {drift:.2e} eV per atom")
    (ROOT / "docs" / "ensembles" / "deformation.svg").write_bytes(svg(picture))


def tangent(folder: Path, component: str) -> float:
    """Derivative of the stress by a strain at rest, GPa: atoms without velocities, strained in ten steps of 0.01 fs."""
    stresses = []
    for sign in (1, -1):
        deform = f"{{ strain = {{ {component} = {sign * STRAIN} }} }}"
        rows = run(folder, f"{component}{sign}", 1e-9, 0.01, 10, deform)
        stresses.append(rows[f"s{component}_GPa"][-1])
    return float(stresses[0] - stresses[1]) / (2.0 * STRAIN)


if __name__ == "__main__":
    main()
