"""Reads `trajectory.h5` with h5py alone: python read_h5py.py TRAJECTORY."""

import sys

import h5py
import numpy as np

with h5py.File(sys.argv[1]) as file:
    atoms = file["particles/all"]
    step, time = atoms["position/step"][:], atoms["position/time"][:]  # (frames,), the time in fs
    position = atoms["position/value"][:].astype(np.float64)  # (frames, atoms, 3) Å, wrapped
    image = atoms["image/value"][:]  # (frames, atoms, 3) integers
    cell = atoms["box/edges/value"][:]  # (frames, 3, 3) Å, rows are the lattice vectors
    numbers = atoms["species"][:]  # (atoms,) atomic numbers, in the order of the input
    unwrapped = position + image @ cell
    print(f"{len(step)} frames of {len(numbers)} atoms, steps {step[0]} to {step[-1]}, {time[-1]:g} fs")
    print("mean square displacement, Å²:", ((unwrapped[-1] - unwrapped[0]) ** 2).sum(axis=1).mean())
