"""A run of an input that measures itself, for `plan_check`: seconds per step in blocks, and its peak memory.

    mpirun -n N python benchmarks/plan_side.py BLOCK INPUT.toml KEY=VALUE ...

Blocks of BLOCK steps follow each other without a pause; a block's time is that of the slowest rank, by the clock on the
wall and by the clock of the processor. The last line printed is JSON.
"""

from __future__ import annotations

import json
import resource
import sys
import time

import numpy as np

from allegro_md.comm import Comm
from allegro_md.config import load_input
from allegro_md.simulation import Simulation


def main() -> None:
    """Runs and prints."""
    comm, block = Comm.world(), int(sys.argv[1])
    simulation = Simulation.from_config(load_input(sys.argv[2], sys.argv[3:]), comm, overwrite=True)
    clocks, rebuilds = [], []
    for _ in simulation.pieces(block):
        comm.max(0.0)
        clocks.append((time.perf_counter(), time.process_time()))
        rebuilds.append(simulation.loop.forces.rebuilds)
    seconds = comm.max(np.diff(np.array(clocks), axis=0) / block)
    peaks = comm.allgather(1024.0 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
    if comm.rank == 0:
        figures = {
            "wall_s": seconds[:, 0].tolist(),
            "processor_s": seconds[:, 1].tolist(),
            "steps_per_rebuild": block * len(seconds) / max(1, rebuilds[-1] - rebuilds[0]),
            "peak_memory_bytes": max(peaks),
        }
        print(json.dumps(figures), flush=True)


if __name__ == "__main__":
    main()
