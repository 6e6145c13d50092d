"""What an ensemble adds to a step of velocity Verlet: 100,000 Lennard-Jones atoms on one rank, taking turns.

    python benchmarks/ensemble_cost.py [nvt-langevin "npt-mtk cell=flexible" …]

One state is moved by all of them, twenty steps each, round after round, so that all see the same machine and the same
liquid. After the name of an ensemble stand keys of its own. Times are those of the processor, less disturbed by other
programs. Writes ``results/ensemble-cost-MACHINE.json``.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import launch
import numpy as np

from allegro_md.comm import Comm
from allegro_md.config import load_input
from allegro_md.simulation import Simulation
from allegro_md.simulation.build import build_parts, new_integrator

INPUT = """
[system]
crystal = { symbol = "Ar", lattice = "fcc", a = 5.7802, repeat = [25, 25, 40], rattle = 0.05 }
velocities = { temperature = 200.0 }
[potential]
kind = "lj"
epsilon = 0.0103236
sigma = 3.405
cutoff = 8.5
[dynamics]
ensemble = "nve"
timestep = 4.0
steps = 1000000
"""
TARGETS = {"nvt": ["temperature=94.4"], "npt": ["temperature=94.4", "pressure=0.0"], "nph": ["pressure=0.0"]}
MEASURED = ("nvt-nose-hoover", "nvt-bussi", "nvt-langevin", "nvt-berendsen")
SETTLING, STEPS = 200, 20


def overrides(words: str, folder: Path) -> list[str]:
    """Assignments that make an ensemble of nve, from its name and its own keys."""
    name, *keys = words.split()
    assigned = [f"ensemble={name}", *TARGETS.get(name[:3], []), *keys]
    return [f"dynamics.{each}" for each in assigned] + [f"output.directory={folder / 'run'}"]


def main() -> None:
    """Measures, prints and keeps the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("ensembles", nargs="*", default=MEASURED)
    parser.add_argument("--rounds", type=int, default=24)
    options = parser.parse_args()
    comm, names = Comm.serial(), ["nve", *options.ensembles]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "input.toml"
        path.write_text(INPUT)
        inputs = [load_input(path, overrides(name, Path(folder))) for name in names]
        loop = Simulation.from_config(inputs[0], comm).loop
        integrators = [new_integrator(build_parts(each, comm), comm) for each in inputs]
    loop.start()
    loop.advance(SETTLING)
    times = np.empty((options.rounds, len(names)))
    for row in times:
        for k, integrator in enumerate(integrators):
            loop.begin_stage(integrator)  # a barostat looks at the virial
            loop.start()
            began = time.process_time()
            loop.advance(loop.step + STEPS)
            row[k] = (time.process_time() - began) / STEPS
    first = len(times) // 6  # what is compiled, and other beginnings
    ratios = times[first:] / times[first:, :1]
    figures = {
        name: {"ms_per_step": 1e3 * float(np.median(times[first:, k])), "of_nve": float(np.median(ratios[:, k])),
               "quartiles": np.quantile(ratios[:, k], [0.25, 0.75]).tolist()}
        for k, name in enumerate(names)
    }  # fmt: skip
    for name, found in figures.items():
        print(f"{name:30s} {found['ms_per_step']:8.2f} ms  {found['of_nve']:.3f} of nve  {found['quartiles']}")
    print(launch.save("ensemble-cost", {"atoms": loop.state.n_total, "figures": figures}, {"numpy": np.__version__}))


if __name__ == "__main__":
    main()
