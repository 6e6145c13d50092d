"""Reads frames of a trajectory of any format: python open_frames.py TRAJECTORY."""

import sys

from allegro_md import open_frames

with open_frames(sys.argv[1]) as source:
    print(f"{source.n_frames} frames of {source.n_atoms} atoms with {', '.join(source.fields)}")
    for frame in source[::2]:
        print(f"step {frame.step}: {frame.time:g} fs, {frame.cell.volume:.1f} Å³, first atom at {frame.position[0]} Å")
