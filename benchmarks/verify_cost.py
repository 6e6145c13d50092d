"""Time and memory of the checks that a run makes at its start: Lennard-Jones systems up to 1,000,000 atoms on 2 ranks.

    python benchmarks/verify_cost.py

At most 10 s, and memory independent of the system: beyond what two evaluations of the forces hold, the checks hold the
same at every size. Writes ``results/verify-cost-MACHINE.json``. About a GB per rank.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
import tracemalloc
from pathlib import Path
from typing import Any

import launch

RANKS = 2
INPUT = """
[system]
crystal = {{ symbol = "Ar", lattice = "fcc", a = 5.4, repeat = {repeat}, rattle = 0.05 }}
[potential]
kind = "lj"
epsilon = 0.0103236
sigma = 3.405
cutoff = 8.5
[dynamics]
ensemble = "nve"
timestep = 4.0
steps = 0
"""


def measure(path: Path, traced: bool, out: Path) -> None:
    """On each rank: the checks after the first forces, as a run makes them.

    Args:
        path: the input.
        traced: memory is traced, which takes time of its own.
        out: rank 0 writes the figures here.
    """
    from allegro_md.comm import Comm
    from allegro_md.config import load_input
    from allegro_md.simulation import Simulation
    from allegro_md.simulation.certificate import verify_start

    comm = Comm.world()
    config = load_input(path)
    loop = Simulation.from_config(config, comm).loop
    loop.start()
    if traced:
        tracemalloc.start()
    for _ in range(2):  # as in the checks, which evaluate the forces twice
        loop.forces(loop.state)
    plain = tracemalloc.get_traced_memory()[1] if traced else 0
    tracemalloc.reset_peak()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    spent = loop.timers.seconds["potential"] = loop.timers.seconds["potential"] / 3.0  # a run has made one by now
    began = time.perf_counter()
    certificate = verify_start(config, loop)
    seconds = time.perf_counter() - began
    own = tracemalloc.get_traced_memory()[1] - plain if traced else 0
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    certificate.require()
    parts = comm.allgather((before, after, own))
    figures = {
        "atoms": loop.state.n_total,
        "samples": certificate.samples,
        "seconds": round(seconds, 2),
        "seconds_of_one_force_evaluation": round(spent, 2),
        "peak_memory_MB": [round(part[0] / 1024, 1) for part in parts],
        "peak_memory_with_checks_MB": [round(part[1] / 1024, 1) for part in parts],
        "more_than_force_evaluations_MB": [round(part[2] / 2**20, 1) for part in parts],
        "remarks": list(certificate.remarks),
    }
    if comm.rank == 0:
        out.write_text(json.dumps(figures))


def launched(folder: Path, repeat: tuple[int, int, int], traced: bool) -> dict[str, Any]:
    """`measure` on several ranks."""
    path, out = folder / "input.toml", folder / "out.json"
    path.write_text(INPUT.format(repeat=list(repeat)))
    command = [launch.mpirun(), "-n", str(RANKS), sys.executable, __file__, "--on", str(path), "--out", str(out)]
    environment = os.environ | dict.fromkeys(launch.SINGLE_THREAD, "1")
    subprocess.run([*command, *(["--traced"] if traced else [])], env=environment, check=True)
    return dict(json.loads(out.read_text()))


def main() -> None:
    """Measures, prints and keeps the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cells", type=int, nargs="*", default=[16, 32, 63], help="cubic cells of 4 atoms per edge")
    parser.add_argument("--on", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--traced", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.on is not None:
        measure(options.on, options.traced, options.out)
        return
    runs, key = [], "more_than_force_evaluations_MB"
    with tempfile.TemporaryDirectory() as folder:
        launched(Path(folder), (8, 8, 8), traced=False)  # the first run on a machine compiles the kernels
        for cells in options.cells:
            timed = launched(Path(folder), (cells, cells, cells), traced=False)
            traced = launched(Path(folder), (cells, cells, cells), traced=True)
            runs.append(timed | {key: traced[key]})
            print(runs[-1], flush=True)
    import numpy

    print(launch.save("verify-cost", {"ranks": RANKS, "runs": runs}, {"numpy": numpy.__version__}))


if __name__ == "__main__":
    main()
