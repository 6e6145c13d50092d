"""Labeled configurations for tests: small cells of copper and gold by the effective medium theory of ASE."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write

from allegro_md.io.labeled import Frame

INPUT = """
[data]
train = "train.extxyz"
validation = {validation}

[model]
cutoff = 4.0
layers = {layers}
l_max = 1
channels = 4
scalars = 8
two_body = [8]
latent = [8]
readout = []
shifts = "least-squares"

[loss]
energy = 1.0
stress = {stress}

[training]
epochs = {epochs}
batch = 3
optimizer = "{optimizer}"
schedule = "{schedule}"
precision = "{precision}"

[output]
directory = "run"
"""

DEFAULTS = {
    "validation": 4, "layers": 2, "stress": 1.0, "epochs": 3, "optimizer": "adam", "schedule": "plateau",
    "precision": "float32",
}  # fmt: skip


def alloy(seed: int, gold: float = 0.3) -> Atoms:
    """Four or eight atoms of copper, and gold in part, in a strained cell, with energy, forces and stress."""
    rng = np.random.default_rng(seed)
    atoms = bulk("Cu", cubic=True, a=3.8) * ((1, 1, 2) if seed % 2 else (1, 1, 1))
    atoms.numbers[rng.random(len(atoms)) < gold] = 79
    atoms.set_cell(atoms.cell.array @ (np.eye(3) + rng.normal(scale=0.03, size=(3, 3))), scale_atoms=True)
    atoms.positions += rng.normal(scale=0.08, size=(len(atoms), 3))
    atoms.calc = EMT()
    labels = {"energy": atoms.get_potential_energy(), "forces": atoms.get_forces(), "stress": atoms.get_stress()}
    atoms.calc = SinglePointCalculator(atoms, **labels)
    return atoms


def frame(atoms: Atoms, source: str = "") -> Frame:
    """As the program reads it."""
    stress = atoms.get_stress(voigt=False)
    a, b, c = map(bool, atoms.pbc)
    return Frame(
        numbers=atoms.numbers.astype(np.int64), position=atoms.positions, cell=atoms.cell.array,
        periodic=(a, b, c), energy=atoms.get_potential_energy(), forces=atoms.get_forces(),
        stress=stress, kind="", source=source,
    )  # fmt: skip


def write_training(folder: Path, frames: int = 16, gold: float = 0.3, **options: object) -> Path:
    """An input for training on alloys, and its data; returns the input's path."""
    write(folder / "train.extxyz", [alloy(seed, gold) for seed in range(frames)])
    path = folder / "train.toml"
    path.write_text(INPUT.format(**(DEFAULTS | options)))
    return path
