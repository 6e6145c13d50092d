"""How much of the communication is hidden behind work: evaluations of forces on 2 ranks, waiting for messages or not.

    python benchmarks/overlap.py [--repeat X Y Z] [--delays MS ...] [--rounds N]

Both ways take turns, from the same positions: all ghosts are waited for before the first center, or atoms in the
interior of a brick are evaluated meanwhile. With a delay, messages count as arrived only so long after they were sent,
as on a slow network. Hidden is 1 − (time waited with overlap) / (time waited without), of medians. Silver, the bilinear
model. Writes ``results/overlap-MACHINE.json``. Half a GB, two minutes on two cores.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import launch

SOURCE = launch.ROOT / "inputs" / "record-ag.toml"
SIDE = Path(__file__).with_name("overlap_side.py")
DELAYS, ROUNDS = (0.0, 1.0, 5.0), 21


def measure(
    source: Path, assignments: Sequence[str], delays: Sequence[float] = DELAYS, rounds: int = ROUNDS
) -> dict[str, Any]:
    """Measures an input on 2 ranks.

    Args:
        source: the input.
        assignments: keys that are changed.
        delays: of messages, ms.
        rounds: evaluations of each way and delay.
    """
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out.json"
        seconds = json.dumps([delay / 1e3 for delay in delays])
        command = [*launch.on_ranks(2), str(SIDE), str(out), str(rounds), seconds, str(source), *assignments]
        subprocess.run(command, env=launch.environment(), check=True)
        measured = json.loads(out.read_text())
    rows = []
    for delay, ways in measured["by_delay_ms"].items():
        columns = {way: list(zip(*found, strict=True)) for way, found in ways.items()}
        medians, quartiles = (
            {way: [1e3 * typical(column) for column in both] for way, both in columns.items()}
            for typical in (statistics.median, lower_quartile)
        )
        rows.append({
            "delay_ms": float(delay),
            "evaluation_ms": {way: round(both[0], 3) for way, both in medians.items()},
            "waited_ms": {way: round(both[1], 3) for way, both in medians.items()},
            "hidden": hidden(medians),
            "hidden_of_lower_quartiles": hidden(quartiles),
        })  # fmt: skip
    return {"ranks": measured["ranks"], "rounds": rounds, "rows": rows}


def lower_quartile(values: Sequence[float]) -> float:
    """Exceeded by three quarters of the values: less is seen in it of other programs on the machine."""
    return statistics.quantiles(values, n=4)[0]


def hidden(times: dict[str, list[float]]) -> float:
    """Share of the time waited that overlap saves; `times`: way → evaluation and time waited, ms."""
    waiting = times["waiting"][1]
    return round(1.0 - times["overlap"][1] / waiting, 3) if waiting > 0.0 else 0.0


def main() -> None:
    """Measures, prints and keeps the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeat", type=int, nargs=3, default=(12, 12, 12), help="cells of 71 atoms")
    parser.add_argument("--delays", type=float, nargs="+", default=DELAYS, help="of messages, ms")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    chosen = parser.parse_args()
    figures = measure(SOURCE, [f"system.repeat={list(chosen.repeat)}"], chosen.delays, chosen.rounds)
    print(json.dumps(figures, indent=2))
    print(launch.save("overlap", figures, launch.versions("allegro-md", "numpy", "numba", "mpi4py")))


if __name__ == "__main__":
    main()
