"""Writes frames as extended XYZ: python export_xyz.py TRAJECTORY OUT.extxyz [FIRST]; -1 is the last frame."""

import sys

from ase import Atoms, units
from ase.io import write

from allegro_md import read_trajectory

first = int(sys.argv[3]) if len(sys.argv) > 3 else 0
with read_trajectory(sys.argv[1]) as t, open(sys.argv[2], "w") as out:
    for f in t[first:]:
        atoms = Atoms(numbers=t.species, positions=f.position, cell=f.cell.given_rows, pbc=f.cell.periodic)
        atoms.set_masses(t.masses)
        if "velocity" in t.fields:
            atoms.set_velocities(f.velocity / units.fs)  # Å/fs here, ASE has units of its own
        write(out, atoms, format="extxyz")
