"""Memory per rank when the system grows with the number of ranks: 2 and 4 ranks with 500,000 Lennard-Jones atoms each.

    python benchmarks/memory_per_rank.py

Every rank should need the same, whether the system is a `crystal` or a `structure` with `repeat`: nothing is ever
gathered on one rank; and no more than `allegro-md check` says beforehand, within 10 %. Writes
``results/memory-per-rank-MACHINE.json``. Less than a GB per rank.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import launch
from ase.build import bulk

STEPS = 10
REPEATS = {2: (2, 1, 1), 4: (2, 2, 1)}
"""Cubes of atoms along each axis, one per rank."""

INPUT = """
[system]
{source}
repeat = {repeat}
[system.velocities]
temperature = 40.0

[potential]
kind = "lj"
epsilon = 0.0103236
sigma = 3.405
cutoff = 8.5

[dynamics]
ensemble = "nve"
timestep = 4.0
steps = {steps}

[output]
thermo = {{ every = {steps} }}
"""


def measure(folder: Path, cells: int, steps: int = STEPS) -> dict[str, Any]:
    """Runs both kinds of source on 2 and 4 ranks.

    Args:
        folder: of the run directories.
        cells: cubic cells of 4 atoms along each edge of a rank's cube; a multiple of 5.
        steps: of each run.

    Returns:
        Figures per run, and `spread`: how far the peaks of all ranks of both rank counts are apart, per source.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (bulk("Ar", "fcc", a=5.4, cubic=True) * (5, 5, 5)).write(folder / "argon500.extxyz")
    sources = {
        "crystal": (1, 'crystal = { symbol = "Ar", lattice = "fcc", a = 5.4 }'),
        "structure": (5, 'structure = "argon500.extxyz"'),
    }
    # The first run on a machine compiles the kernels, which takes memory of its own.
    launch.run_input(INPUT.format(source=sources["crystal"][1], repeat=[2, 2, 2], steps=1), "compile", folder, 2)
    runs, spread, versions = [], {}, {}
    for kind, (edge, source) in sources.items():
        peaks = []
        for ranks, cubes in REPEATS.items():
            repeat = [n * cells // edge for n in cubes]
            record = launch.run_input(
                INPUT.format(source=source, repeat=repeat, steps=steps), f"{kind}-{ranks}", folder, ranks
            )
            versions = record["versions"]
            foreseen = predicted(folder / f"{kind}-{ranks}.toml", ranks)
            runs.append({**describe(record, kind, steps), "predicted_peak_MB": foreseen})
            peaks += runs[-1]["peak_memory_MB"]
        spread[kind] = max(peaks) / min(peaks) - 1.0
    return {"steps": steps, "runs": runs, "spread": spread, "versions": versions}


def predicted(path: Path, ranks: int) -> float:
    """What `allegro-md check` says of the largest memory of a rank, in the MB (2²⁰ bytes) of run.json."""
    command = [launch.mpirun(), "-n", str(ranks), sys.executable, "-m", "allegro_md", "check", str(path)]
    environment = os.environ | dict.fromkeys(launch.SINGLE_THREAD, "1")
    said = subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout
    number, unit = re.findall(r"^# memory per rank: (\S+) ([MG])B", said, re.MULTILINE)[0]
    return round(float(number) * {"M": 1e6, "G": 1e9}[unit] / 2**20, 1)


def describe(record: dict[str, Any], kind: str, steps: int) -> dict[str, Any]:
    """The figures of one run."""
    ranks = record["ranks"]
    atoms = [rank["atoms"] for rank in ranks]
    stepping = max(rank["seconds"]["step"] for rank in ranks)
    return {
        "source": kind,
        "ranks": len(ranks),
        "rank_grid": record["rank_grid"],
        "atoms": sum(atoms),
        "atoms_per_rank": atoms,
        "peak_memory_MB": [rank["peak_memory_MB"] for rank in ranks],
        "rebuilds": record["rebuilds"],
        "us_per_atom_step": round(1e6 * stepping * len(ranks) / sum(atoms) / steps, 3),
        "us_per_atom_rebuild": round(
            1e6 * max(rank["seconds"]["rebuild"] for rank in ranks) * len(ranks) / sum(atoms) / record["rebuilds"], 3
        ),
        "wall_s": record["wall_s"],
    }


def main() -> None:
    """Measures, prints and keeps the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cells", type=int, default=50, help="cubic cells along the edge of a rank's cube (50)")
    cells = parser.parse_args().cells
    with tempfile.TemporaryDirectory() as folder:
        figures = measure(Path(folder), cells)
    for run in figures["runs"]:
        print(f"{run['source']:10} {run['ranks']} ranks  {run['atoms']:9} atoms  peak MB {run['peak_memory_MB']}, "
              f"predicted {run['predicted_peak_MB']}")
    print({kind: f"{100 * value:.2f} %" for kind, value in figures["spread"].items()}, "between all ranks")
    print(launch.save("memory-per-rank", figures, figures.pop("versions")))


if __name__ == "__main__":
    main()
