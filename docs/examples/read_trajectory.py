"""Reads `trajectory.h5` frame by frame: python read_trajectory.py TRAJECTORY."""

import sys

from allegro_md import read_trajectory

with read_trajectory(sys.argv[1]) as trajectory:
    print(f"{trajectory.n_frames} frames of {trajectory.n_atoms} atoms, {trajectory.times[-1]:g} fs")
    start = trajectory[0].unwrapped  # (atoms, 3) Å
    for frame in trajectory[1::2]:  # every second frame; only these are read
        displacement = ((frame.unwrapped - start) ** 2).sum(axis=1).mean()
        print(f"step {frame.step}: mean square displacement {displacement:.6f} Å², volume {frame.cell.volume:.1f} Å³")
