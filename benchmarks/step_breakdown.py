"""Where the time of a step goes, one rank, with the floor of each part beside it: silver, the bilinear model.

    python benchmarks/step_breakdown.py [--input FILE] [--set KEY=VALUE ...]

Two runs of the program that differ by `STEPS` steps: the difference of their timers, so that starting and compiling
cancel. The kernel's own parts: the same call with all pairs moved beyond the cutoff (what remains is the list and the
distances), and the matrix products alone, as many as a call makes. A floor is what the least memory traffic or
arithmetic would take, at the speed of a copy and of a large matrix product on this core. Writes
``results/step-breakdown-MACHINE.json``. A GB, five minutes.
"""

from __future__ import annotations

import argparse
import functools
import json
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import launch
import numpy as np
from numpy.typing import NDArray

SOURCE = launch.ROOT / "inputs" / "record-ag.toml"
DEFAULT = ["system.repeat=[15, 15, 16]"]
FIRST, STEPS = 20, 100
PARTS = {
    "integrator": ("integrate",), "halo": ("halo", "wait"), "rebuild": ("rebuild",), "potential": ("potential",),
    "guard": ("guard",), "output": ("output",),
}  # fmt: skip
"""Phases of the run's timers that make up a part; "wait" is the look at how far atoms have moved."""


def run(folder: Path, source: Path, steps: int, assignments: list[str]) -> dict[str, Any]:
    """The run.json of a run."""
    chosen = [*assignments, f"dynamics.steps={steps}"]
    command = [*launch.program(source, folder / "run", 1, chosen), "--overwrite"]
    subprocess.run(command, env=launch.environment(), check=True, stdout=subprocess.DEVNULL)
    return dict(json.loads((folder / "run" / "run.json").read_text()))


def phases(folder: Path, source: Path, assignments: list[str]) -> dict[str, Any]:
    """Seconds per step of each phase, and steps per rebuild, from the runs' own timers."""
    run(folder, source, FIRST, assignments)  # the first one compiles the kernels
    short, long = (run(folder, source, steps, assignments) for steps in (FIRST, FIRST + STEPS))
    before, after = (record["ranks"][0]["seconds"] for record in (short, long))
    seconds = {name: (after[name] - before.get(name, 0.0)) / STEPS for name in after}
    parts = {part: sum(seconds.get(name, 0.0) for name in names) for part, names in PARTS.items()}
    return {
        "seconds": parts,
        "rebuilds_per_step": (long["rebuilds"] - short["rebuilds"]) / STEPS,
        "versions": long["versions"],
    }


def kernel(source: Path, assignments: list[str]) -> dict[str, Any]:
    """Seconds of a call of the potential, of its parts, and what it works on; in this process."""
    from allegro_md.comm import Comm
    from allegro_md.config import load_input
    from allegro_md.models.fused.fold import fold
    from allegro_md.models.modelfile import load_model
    from allegro_md.simulation import Simulation

    config = load_input(source, assignments)
    loop = Simulation.from_config(config, Comm.serial(), overwrite=True).loop
    loop.start()
    state, neighbors, potential = loop.state, loop.forces.neighbors, loop.forces.potential

    def call() -> None:
        state.all("force").zero_()
        potential(state, neighbors, frozenset())

    shape = fold(load_model(config.potential[0].model), state.species_table.symbols)
    edges = edges_per_atom(state, neighbors, potential.info.cutoff)
    whole = median(call)
    state.all("position").mul_(3.0)  # ghosts keep their shifts: across a boundary, too, pairs are far apart
    apart = median(call)
    degrees, channels = shape.degrees, shape.channels
    sizes = [level.matrix.shape for level in shape.levels] if shape.kind != "bilinear" else []
    return {
        "class": shape.kind,
        "rows_per_step": 1.0 / config.output.thermo.every if config.output.thermo.every else 0.0,
        "atoms": state.n_local,
        "ghosts": state.n_ghost,
        "listed_per_atom": len(neighbors.neighbors) / state.n_local,
        "edges_per_atom": edges,
        "seconds": {"whole": whole, "list and distances": apart, "matrices": edges * state.n_local * products(sizes)},
        "operations_per_edge": {
            "tables": 10 * shape.sample(0, 0, np.array([0.5])).shape[1],  # a cubic and its slope
            "sums": 6 * degrees**2 * channels * 2,  # two sums forward, twice that backward
            "matrices": 4 * sum(a * b for a, b in sizes),
        },
    }


def edges_per_atom(state: Any, neighbors: Any, cutoff: float) -> float:
    """Pairs of the list within the cutoff, mean over some atoms."""
    n = min(state.n_local, 10_000)
    i = np.repeat(np.arange(n), np.diff(neighbors.offsets[: n + 1]))
    j = neighbors.neighbors[: len(i)]
    place = state.all("position").numpy() + state.all("shift").numpy() @ state.cell.matrix
    return float((np.linalg.norm(place[j] - place[i], axis=1) < cutoff).sum() / n)


def products(sizes: list[tuple[int, int]], rows: int = 256) -> float:
    """Seconds per edge of all matrix products, forward and backward, on tiles in the cache."""

    def repeated(x: NDArray[np.float32], matrix: NDArray[np.float32]) -> None:
        for _ in range(100):
            np.dot(x, matrix)

    total = 0.0
    for fan_in, width in sizes:
        for a, b in ((fan_in, width), (width, fan_in)):
            arrays = np.ones((rows, a), np.float32), np.ones((a, b), np.float32)
            total += median(functools.partial(repeated, *arrays)) / (100 * rows)
    return total


def machine_speed() -> tuple[float, float]:
    """Bytes per second of a copy (read and written) and float32 operations per second of a matrix product."""
    source, out = np.ones(2**25), np.ones(2**25)
    square = np.ones((1024, 1024), np.float32)
    return 16 * 2**25 / median(lambda: np.copyto(out, source)), 2 * 1024**3 / median(lambda: square @ square)


def median(body: Callable[[], Any], repeats: int = 7) -> float:
    """Seconds of a call, the first one left out."""
    seconds = []
    for _ in range(repeats + 1):
        began = time.perf_counter()
        body()
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds[1:])


def table(step: dict[str, Any], call: dict[str, Any]) -> dict[str, Any]:
    """Time, share and floor of every part, µs per atom and step."""
    bandwidth, arithmetic = machine_speed()
    listed, ghosts = 4 * call["listed_per_atom"], call["ghosts"] / call["atoms"]
    bytes_of = {
        "integrator": 192,  # velocity and position read and written, force read; velocity and force again
        "halo": 96 * ghosts + 48,  # positions out, forces back; positions against those of the rebuild
        "rebuild": step["rebuilds_per_step"] * (listed + 8 + 2 * 84),  # the list, and every atom moved once
        "potential": listed + 8 + 24 + 12 + 2 + 48 + 8,  # list, offsets, position, shift, species, force, energy
        "guard": 48,  # force and velocity
        "output": 34 * call["rows_per_step"],  # velocity, species, energy, whenever there is a row of thermo.csv
    }
    whole = sum(step["seconds"].values())
    scale, rows = 1e6 / call["atoms"], {}
    for name, seconds in step["seconds"].items():
        rows[name] = {
            "us": round(scale * seconds, 4), "share": round(seconds / whole, 4),
            "floor_us_memory": round(1e6 * bytes_of[name] / bandwidth, 4), "bytes": round(bytes_of[name], 1),
        }
    operations = {name: n * call["edges_per_atom"] for name, n in call["operations_per_edge"].items()}
    operations["list and distances"] = 8 * call["listed_per_atom"]
    parts = dict(call["seconds"])
    parts["tables and sums"] = parts.pop("whole") - parts["list and distances"] - parts["matrices"]
    operations["tables and sums"] = operations.pop("tables") + operations.pop("sums")
    rows["potential"]["parts"] = {
        name: {
            "us": round(scale * seconds, 4), "floor_us_arithmetic": round(1e6 * operations[name] / arithmetic, 4),
            "operations": round(operations[name]),
        }
        for name, seconds in parts.items()
    }
    return {
        "us_per_atom_step": round(scale * whole, 4),
        "copy_GB_per_s": round(bandwidth / 1e9, 2),
        "matrix_product_GFLOP_per_s": round(arithmetic / 1e9, 1),
        "rebuilds_per_step": step["rebuilds_per_step"],
        **{key: call[key] for key in ("class", "atoms", "ghosts", "listed_per_atom", "edges_per_atom")},
        "parts": rows,
    }


def main() -> None:
    """Measures, prints and keeps the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--input", type=Path, default=SOURCE)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="assignments")
    options = parser.parse_args()
    assignments = options.assignments or (DEFAULT if options.input == SOURCE else [])
    with tempfile.TemporaryDirectory() as folder:
        step = phases(Path(folder), options.input, assignments)
    figures = {"input": options.input.name, **table(step, kernel(options.input, assignments))}
    print(json.dumps(figures, indent=1))
    print(launch.save(f"step-breakdown-{options.input.stem}", figures, step["versions"]))


if __name__ == "__main__":
    main()
