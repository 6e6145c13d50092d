"""Writes what the silver of the record run is trained and tested on, for `inputs/train/silver-eam.toml`.

    python benchmarks/silver/write_data.py Ag_u3.eam FOLDER

Runs of the program with the embedded-atom potential (`data.py`), labeled with energies, forces and stresses, as
``FOLDER/train.extxyz`` and ``FOLDER/test.extxyz``. A minute on one core.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from pathlib import Path

import data
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write


def labeled(frame: data.Frame) -> Atoms:
    """A frame as ASE holds it; its kind becomes the ``config_type``."""
    atoms = Atoms(f"Ag{len(frame.position)}", positions=frame.position, cell=frame.cell, pbc=True)
    atoms.info["config_type"] = frame.kind.replace(" ", "")
    atoms.calc = SinglePointCalculator(atoms, energy=frame.energy, forces=frame.force, stress=frame.stress)
    return atoms


def write_runs(recipes: Iterable[data.Recipe], table: Path, path: Path) -> int:
    """Makes runs, writes their frames, returns how many."""
    frames = [labeled(frame) for recipe in recipes for frame in data.run(recipe, table)]
    write(path, frames, format="extxyz")
    return len(frames)


def main() -> None:
    """Writes both files."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("table", type=Path, help="the reference potential: Ag_u3.eam")
    parser.add_argument("folder", type=Path)
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    for name, recipes in (("train", data.training_runs()), ("test", data.test_runs())):
        path = options.folder / f"{name}.extxyz"
        print(f"{path}: {write_runs(recipes, options.table.resolve(), path)} frames")


if __name__ == "__main__":
    main()
