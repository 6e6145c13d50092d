"""Weak scaling from 1 to 2 ranks on one machine: silver, the bilinear model, as many atoms on each rank.

    python benchmarks/weak_scaling.py [--repeat X Y Z]

One rank with a crystal and two ranks with two of them side by side take turns in making steps, rebuilds included.
Efficiency: the time of the one over that of the two. Writes ``results/weak-scaling-MACHINE.json``. A GB, five minutes.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from pathlib import Path
from typing import Any

import launch
import turns

SOURCE = launch.ROOT / "inputs" / "record-ag.toml"
STEPS, ROUNDS = 20, 7


def measure(folder: Path, repeat: tuple[int, int, int], steps: int = STEPS, rounds: int = ROUNDS) -> dict[str, Any]:
    """Both systems, taking turns.

    Args:
        folder: for the pipes.
        repeat: cells along the edges of one rank's crystal.
        steps: in a turn.
        rounds: turns of each.
    """
    x, y, z = repeat

    def side(ranks: int) -> turns.Side:
        assignments = [f"system.repeat=[{ranks * x}, {y}, {z}]", "dynamics.steps=1000000", "output.trajectory.every=0"]
        return turns.Side("engine_side.py", [SOURCE, *assignments], folder / str(ranks), ranks)

    with side(1) as one, side(2) as two:
        sides = {"1 rank": one, "2 ranks": two}
        seconds = turns.alternate(sides, dict.fromkeys(sides, f"steps {steps}"), rounds)
        atoms = one.about["atoms"]
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    return {
        "atoms_per_rank": atoms,
        "steps_per_turn": steps,
        "per_atom_of_a_rank_and_step": {name: turns.described(s, atoms) for name, s in seconds.items()},
        "efficiency": round(medians["1 rank"] / medians["2 ranks"], 4),
        "efficiency_of_each_turn": [round(a / b, 4) for a, b in zip(*seconds.values(), strict=True)],
    }


def main() -> None:
    """Measures, prints and keeps the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeat", type=int, nargs=3, default=(15, 15, 16), help="cells of 71 atoms per rank")
    repeat = tuple(parser.parse_args().repeat)
    with tempfile.TemporaryDirectory() as folder:
        figures = measure(Path(folder), repeat)
    print(figures)
    print(launch.save("weak-scaling", figures, launch.versions("allegro-md", "numpy", "numba", "mpi4py")))


if __name__ == "__main__":
    main()
