"""Time and memory per atom from a thousand to ten million atoms: silver, the bilinear model, one rank.

    python benchmarks/size_sweep.py [--largest N] [--rounds K]

Whole steps of runs of the program: rebuilds, guard and a row of thermo.csv every 10 steps included, the first steps
left out. Sizes take turns; those above two million atoms have one. Writes ``results/size-sweep-MACHINE.json``. 3 GB of
memory, half an hour.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import launch
import numpy as np

SOURCE = launch.ROOT / "inputs" / "record-ag.toml"
CELL = 71
REPEATS = ((2, 2, 4), (4, 4, 4), (7, 7, 9), (15, 15, 16), (24, 24, 25), (52, 52, 52))
"""Cells of `CELL` atoms: 1,136 to 9,983,168 atoms."""

FIRST, LEAST, MOST, ATOM_STEPS = 10, 40, 1000, 20_000_000
"""Steps left out; fewest and most that count, and how many times atoms in between."""

FLAT_FROM = 30_000
"""Atoms from which the time per atom should not depend on their number."""

ONCE_ABOVE = 2_000_000


def run(folder: Path, repeat: tuple[int, int, int]) -> dict[str, Any]:
    """One run of the program.

    Returns:
        Atoms, steps that count and their time per atom, rebuilds of all steps, peak memory.
    """
    n_atoms = CELL * int(np.prod(repeat))
    steps = min(MOST, max(LEAST, ATOM_STEPS // n_atoms)) // 10 * 10
    directory = folder / "run"
    assignments = [
        f"system.repeat={list(repeat)}", f"dynamics.steps={FIRST + steps}", "output.thermo.every=10",
        "output.trajectory.every=0", "output.checkpoint.every=0",
    ]
    command = [*launch.program(SOURCE, directory, 1, assignments), "--overwrite"]
    subprocess.run(command, env=launch.environment(), check=True, stdout=subprocess.DEVNULL)
    record = json.loads((directory / "run.json").read_text())
    thermo = np.genfromtxt(directory / "thermo.csv", delimiter=",", names=True)
    counted = thermo["wall_s"][thermo["step"] >= FIRST]
    return {
        "atoms": record["ranks"][0]["atoms"],
        "steps": steps,
        "us_per_atom_step": float(1e6 * (counted[-1] - counted[0]) / steps / n_atoms),
        "rebuilds": record["rebuilds"],
        "peak_memory_MB": record["ranks"][0]["peak_memory_MB"],
        "versions": record["versions"],
    }


def measure(folder: Path, repeats: list[tuple[int, int, int]], rounds: int) -> dict[str, Any]:
    """All sizes; medians over the rounds."""
    run(folder, repeats[0])  # the first run on a machine compiles the kernels
    found: list[list[dict[str, Any]]] = [[] for _ in repeats]
    for turn in range(rounds):
        for repeat, runs in zip(repeats, found, strict=True):
            if turn == 0 or CELL * int(np.prod(repeat)) < ONCE_ABOVE:
                runs.append(run(folder, repeat))
                print({key: value for key, value in runs[-1].items() if key != "versions"}, flush=True)
    versions = found[0][0]["versions"]
    sizes = [summary(runs) for runs in found]
    smallest = sizes[0]
    for size in sizes[1:]:
        more = size["peak_memory_MB"] - smallest["peak_memory_MB"]
        size["bytes_per_atom"] = round(more * 2**20 / (size["atoms"] - smallest["atoms"]), 1)
    level = [size["us_per_atom_step"] for size in sizes if size["atoms"] > FLAT_FROM]
    spread = round(max(level) / min(level) - 1.0, 4) if level else None
    return {"sizes": sizes, "spread_above_30000_atoms": spread, "versions": versions}


def summary(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """One size."""
    times = [one["us_per_atom_step"] for one in runs]
    return {
        **{key: runs[0][key] for key in ("atoms", "steps", "rebuilds")},
        "us_per_atom_step": round(statistics.median(times), 4),
        "range": [round(min(times), 4), round(max(times), 4)],
        "runs": len(runs),
        "peak_memory_MB": max(one["peak_memory_MB"] for one in runs),
    }


def main() -> None:
    """Measures, prints and keeps the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--largest", type=int, default=10_000_000, help="number of atoms")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    repeats = [repeat for repeat in REPEATS if CELL * np.prod(repeat) <= options.largest]
    with tempfile.TemporaryDirectory() as folder:
        figures = measure(Path(folder), repeats, options.rounds)
    print(json.dumps(figures["sizes"], indent=1), f"spread {figures['spread_above_30000_atoms']}")
    print(launch.save("size-sweep", figures, figures.pop("versions")))


if __name__ == "__main__":
    main()
