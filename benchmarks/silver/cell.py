"""The cell of the record run: 71 atoms of silver in equilibrium at 300 K, at the size at which they push on nothing.

    python benchmarks/silver/cell.py

Reads `inputs/models/silver.allegro`, writes `inputs/structures/silver-71.extxyz`. The lattice constant is where the
mean pressure of 852 atoms vanishes. Of the frames of a run of the 71 atoms that one is taken whose potential energy is
nearest to the mean: copies of it, given velocities of 300 K, neither cool nor heat.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from ase import Atoms
from ase.io import write
from data import EV_PER_A3_IN_GPA, SITES, Array, Frame, Recipe, label

ROOT = Path(__file__).resolve().parents[2]
KELVIN = 300.0

INPUT = """
[system]
structure = "start.traj"
repeat = {repeat}

[system.velocities]
temperature = {kelvin}
seed = {seed}

[potential]
model = "{model}"
engine = "fused"
precision = "double"

[dynamics]
ensemble = "nvt-nose-hoover"
timestep = 5.0
steps = {steps}
temperature = 300.0

[output]
directory = "run"
trajectory = {{ every = {every}, fields = ["position", "velocity", "force"], dtype = "float64" }}
thermo = {{ every = {every} }}
"""


def frames(atoms: Atoms, repeat: tuple[int, int, int], kelvin: float, steps: int, every: int, seed: int) -> list[Frame]:
    """The run of copies of a cell."""
    model = ROOT / "inputs" / "models" / "silver.allegro"
    source = INPUT.format(repeat=list(repeat), kelvin=kelvin, model=model, steps=steps, every=every, seed=seed)
    return label("cell", atoms, source, repeat)


def lattice_constant() -> float:
    """Å, where the mean pressure at 300 K vanishes."""
    sizes, pressures = (4.10, 4.12), []
    for seed, a in enumerate(sizes):
        made = frames(Recipe("cell", KELVIN, a).start(), (2, 2, 3), 2.0 * KELVIN, 2000, 10, seed)[80:]
        pressures.append(np.mean([pressure(frame) for frame in made]))
        print(f"a = {a:.3f} Å: {pressures[-1]:+.3f} GPa")
    slope, at_zero = np.polyfit(sizes, pressures, 1)
    return float(-at_zero / slope)


def pressure(frame: Frame) -> float:
    """GPa, with the ideal gas' share at 300 K."""
    volume = abs(np.linalg.det(frame.cell))
    return EV_PER_A3_IN_GPA * (len(frame.position) * 8.617333e-5 * KELVIN / volume - np.trace(frame.stress) / 3.0)


def equilibrated(a: float) -> tuple[Array, Array]:
    """Positions (71, 3) and cell (3, 3), Å."""
    start = Recipe("cell", KELVIN, a).start()
    made = frames(start, (1, 1, 1), 2.0 * KELVIN, 8000, 20, 71)[100:]
    energies = np.array([frame.energy for frame in made])
    chosen = made[int(np.argmin(np.abs(energies - energies.mean())))]
    spread = energies.std() / len(chosen.position)
    print(f"{energies.mean() / len(chosen.position):.5f} ± {spread:.5f} eV per atom, {pressure(chosen):+.3f} GPa")
    return chosen.position, chosen.cell


def main() -> None:
    """Makes the file."""
    a = round(lattice_constant(), 4)
    position, cell = equilibrated(a)
    path = ROOT / "inputs" / "structures" / "silver-71.extxyz"
    write(path, Atoms(f"Ag{len(position)}", position, cell=cell, pbc=True), columns=["symbols", "positions"])
    print(f"{path}: {len(position)} of {4 * np.prod(SITES)} sites, a = {a} Å")


if __name__ == "__main__":
    main()
