"""Counts the reductions per step of inputs, as run.json tells them.

mpirun -n 2 python reductions.py INPUT.toml ...
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from allegro_md.comm import Comm
from allegro_md.config import load_input
from allegro_md.simulation import Simulation
from allegro_md.simulation.traffic import communication

WARMUP, STEPS = 20, 100


def counted(comm: Comm) -> float:
    """Reductions, and messages from one rank to all, so far, but for those of rebuilds."""
    phases = communication(comm.allgather({name: dict(kinds) for name, kinds in comm.timers.counts.items()}))
    return sum(kinds["allreduces"] + kinds["collectives"] for phase, kinds in phases.items() if phase != "rebuild")


def per_step(source: str, comm: Comm) -> dict[str, float]:
    """Reductions and rebuilds per step of an input without output."""
    loop = Simulation.from_config(load_input(Path(source)), comm, overwrite=True).loop
    loop.observers.clear()
    loop.start()
    loop.advance(WARMUP)
    before, rebuilds = counted(comm), loop.forces.rebuilds
    loop.advance(WARMUP + STEPS)
    return {
        "reductions": (counted(comm) - before) / STEPS, "rebuilds": (loop.forces.rebuilds - rebuilds) / STEPS,
    }  # fmt: skip


def main() -> None:
    """Prints a list in JSON, in the order of the inputs."""
    comm = Comm.world()
    found = [per_step(source, comm) for source in sys.argv[1:]]
    if comm.rank == 0:
        print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
