"""Reads `trajectory.h5` with MDAnalysis: python read_mdanalysis.py TRAJECTORY."""

import sys

import h5py
import MDAnalysis

with h5py.File(sys.argv[1]) as file:
    n_atoms = len(file["particles/all/id"])
universe = MDAnalysis.Universe.empty(n_atoms)
universe.load_new(sys.argv[1], format="H5MD")
for frame in universe.trajectory:
    print(frame.frame, frame.time, universe.atoms.positions[0])  # ps and Å: MDAnalysis converts the time
