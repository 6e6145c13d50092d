"""What `allegro-md plan` says of six runs, and what they take: time per step and peak memory of a rank.

    python benchmarks/plan_check.py [--only NAME ...]

For each case the plan is made first, in a process of its own that measures samples of at most 160,000 atoms on one
core; then the run is made on its ranks. Sizes, skins, numbers of ranks and models differ. Times are those of the
processor, of the slowest rank, medians over blocks of steps after the first block; the clock on the wall is kept, too.
Ranks that wait take processor time: on a machine that does other things times on 2 ranks are too long. Writes
``results/plan-check-MACHINE.json``. 2 cores, 1 GB, 5 minutes.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import launch

INPUTS = launch.ROOT / "inputs"
TIME_LIMIT, MEMORY_LIMIT = 0.20, 0.10
BLOCKS = 5


@dataclass(frozen=True)
class Case:
    """A run: its input with changed keys, ranks, and steps of a block."""

    source: str
    ranks: int
    block: int
    changed: tuple[str, ...]


CASES = {
    "silver, bilinear, 255,600 atoms": Case("record-ag.toml", 1, 20, ("system.repeat=[15, 15, 16]",)),
    "silver, bilinear, skin 0.4, 133,480 atoms": Case(
        "record-ag.toml", 2, 40, ("system.repeat=[10, 10, 19]", "parallel.skin=0.4", "output.thermo.every=5"),
    ),
    "argon, lj, skin 1.0, 108,000 atoms": Case(
        "argon-lj.toml", 2, 20, ("system.crystal.repeat=[30, 30, 30]", "parallel.skin=1.0"),
    ),
    "argon, lj, skin 0.3, 256,000 atoms": Case(
        "argon-lj.toml", 1, 10, ("system.crystal.repeat=[40, 40, 40]", "parallel.skin=0.3"),
    ),
    "silver, eam, nve, skin 0.8, 70,304 atoms": Case(
        "ag-crystal.toml", 2, 20,
        ("system.crystal.repeat=[26, 26, 26]", "parallel.skin=0.8",
         'dynamics={ ensemble = "nve", timestep = 4.0, steps = 10 }'),
    ),
    "copper, single-layer, 13,392 atoms": Case("quickstart.toml", 2, 10, ("system.repeat=[3, 3, 3]",)),
}  # fmt: skip
"""By name."""

QUIET = ("output.trajectory.every=0", "output.checkpoint.every=0")


def measure(name: str, folder: Path) -> dict[str, Any]:
    """The plan and the run of one case."""
    case = CASES[name]
    steps = case.block * (BLOCKS + 2)
    keys = [*QUIET, *case.changed, f"dynamics.steps={steps}", f"output.directory={json.dumps(str(folder / 'run'))}"]
    source = str(INPUTS / case.source)
    planned = _json([sys.executable, "-m", "allegro_md", "plan", source, "--ranks", str(case.ranks), "--json", "-",
                     *(word for key in keys for word in ("--set", key))])  # fmt: skip
    begin = launch.on_ranks(case.ranks) if case.ranks > 1 else [sys.executable]
    found = _json([*begin, str(launch.ROOT / "benchmarks" / "plan_side.py"), str(case.block), source, *keys])
    seconds = statistics.median(found["processor_s"][1:])
    figures = {
        "atoms": planned["atoms"],
        "ranks": case.ranks,
        "planned_ms": round(1e3 * planned["seconds_per_step"], 4),
        "measured_ms": round(1e3 * seconds, 4),
        "measured_wall_ms": round(1e3 * statistics.median(found["wall_s"][1:]), 4),
        "time_error": round(planned["seconds_per_step"] / seconds - 1.0, 4),
        "planned_MB": round(planned["memory_per_rank_bytes"] / 1e6, 1),
        "measured_MB": round(found["peak_memory_bytes"] / 1e6, 1),
        "memory_error": round(planned["memory_per_rank_bytes"] / found["peak_memory_bytes"] - 1.0, 4),
        "planned_steps_per_rebuild": round(planned["steps_per_rebuild"], 2),
        "measured_steps_per_rebuild": round(found["steps_per_rebuild"], 2),
    }
    figures["holds"] = abs(figures["time_error"]) <= TIME_LIMIT and abs(figures["memory_error"]) <= MEMORY_LIMIT
    return figures


def _json(command: Sequence[str]) -> dict[str, Any]:
    """Runs a command and reads the JSON at the end of what it prints."""
    done = subprocess.run(command, env=launch.environment(), capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(command)}\n{done.stderr}")
    text = done.stdout
    return dict(json.loads(text[text.index("{") :] if text.startswith("{") else text[text.rindex("\n{") :]))


def main() -> None:
    """Measures, prints and keeps the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="*", default=list(CASES), choices=list(CASES), metavar="NAME")
    names = parser.parse_args().only
    models = [str(INPUTS / "models" / name) for name in ("silver.allegro", "cu.allegro")]
    # A process that compiles kernels takes memory for that, in a plan and in a run.
    subprocess.run([sys.executable, "-m", "allegro_md", "warm", *models], env=launch.environment(), check=True)
    cases = {}
    for name in names:
        with tempfile.TemporaryDirectory() as folder:
            cases[name] = measure(name, Path(folder))
        print(name, json.dumps(cases[name]), flush=True)
    print(launch.save("plan-check", {"cases": cases}, launch.versions("allegro-md", "numpy", "numba", "mpi4py")))


if __name__ == "__main__":
    main()
