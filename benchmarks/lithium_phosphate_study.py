"""Melts and quenches of Li3PO4 beside ab initio dynamics: the runs of docs/li3po4.md.

    python benchmarks/lithium_phosphate_study.py [--data FOLDER] [--runs FOLDER]

Runs the three inputs of ``inputs/li3po4`` for each seed, in three ways: ``frame`` quenches the frame with which the ab
initio quench begins, as the paper did (Musaelian et al., Nat. Commun. 14, 579 (2023)); ``melt`` first melts it for
20 ps; ``ramp`` cools some of these melts within 50 ps. ``liquid`` is the melt in the cell of the ab initio melt,
``long`` one run of 510 ps. Runs that are done are not repeated.
"""

from __future__ import annotations

import argparse
import json
import lzma
import shutil
import subprocess
import sys
from io import StringIO
from pathlib import Path

import launch
from ase import Atoms
from ase.io import read, write

INPUTS = launch.ROOT / "inputs" / "li3po4"
RAMP = ["system.velocities.temperature=3000", "dynamics.temperature=[3000,600]", "dynamics.steps=25000"]
SEEDS = {"frame": 10, "liquid": 3, "melt": 5, "ramp": 1}
"""Runs of each kind."""
STOPPED = "PhysicsError"
"""How the status of a run begins that stopped itself."""
MELT_FRAME = 1
"""Of the frames of the ab initio melt; the first is a crystal."""


def frames(data: Path, name: str) -> list[Atoms]:
    """The frames of a file of the data set, ``train`` (melt) or ``test`` (glass)."""
    with lzma.open(data / "li3po4" / f"{name}.extxyz.xz", "rt") as file:
        found = read(StringIO(file.read()), ":", format="extxyz")
    assert isinstance(found, list)
    return found


def run(stage: str, directory: Path, start: Path, assignments: list[str]) -> Path | None:
    """Runs an input from a structure, unless that was done before.

    Returns:
        The structure of its last frame; None if the run stopped itself at a limit (``[guard]``).
    """
    last = directory.with_name(f"{directory.name}.extxyz")
    record = directory / "run.json"
    status = json.loads(record.read_text())["status"] if record.exists() else "new"
    if status != "done" and not status.startswith(STOPPED):
        directory.parent.mkdir(parents=True, exist_ok=True)
        settings = [f'system.structure="{start}"', f'output.directory="{directory}"', *assignments]
        words = [word for setting in settings for word in ("--set", setting)]
        resume = ["--resume"] if record.exists() else []
        command = [sys.executable, "-m", "allegro_md", str(INPUTS / f"{stage}.toml"), *words, *resume]
        code = subprocess.run(command, env=launch.environment()).returncode
        if code not in (0, 3):
            raise SystemExit(f"{directory}: the run ended with status {code}")
        status = json.loads(record.read_text())["status"]
    if status != "done":
        return None
    if not last.exists() and (directory / "trajectory.h5").exists():
        words = ["convert", str(directory / "trajectory.h5"), str(last), "--frames", "-1"]
        subprocess.run([sys.executable, "-m", "allegro_md", *words], env=launch.environment(), check=True)
    return last


def quench_and_produce(folder: Path, start: Path | None, seed: int, assignments: list[str]) -> None:
    """The second and the third input, from a melt, as far as there is one."""
    quenched = start and run("quench", folder / "quench", start, [f"system.velocities.seed={seed}", *assignments])
    if quenched:
        run("produce", folder / "produce", quenched, [])


def main() -> None:
    """Makes all runs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=launch.SHARED / "data", help="folder of the data sets")
    parser.add_argument("--runs", type=Path, default=launch.ROOT / "benchmarks" / "run-lithium-phosphate-study")
    options = parser.parse_args()
    runs = options.runs.resolve()
    runs.mkdir(parents=True, exist_ok=True)
    start, liquid = runs / "start.extxyz", runs / "liquid.extxyz"
    shutil.copy(launch.ROOT / "inputs" / "structures" / "li3po4-192.extxyz", start)
    hot = frames(options.data, "train")[MELT_FRAME]
    hot.calc = None
    write(liquid, hot, columns=["symbols", "positions"])
    for seed in range(1, max(SEEDS.values()) + 1):
        chosen = [f"system.velocities.seed={seed}"]
        if seed <= SEEDS["frame"]:
            quench_and_produce(runs / f"frame-{seed}", start, seed, [])
        if seed <= SEEDS["liquid"]:
            run("melt", runs / f"liquid-{seed}" / "melt", liquid, chosen)
        if seed <= SEEDS["melt"]:
            melt = run("melt", runs / f"melt-{seed}" / "melt", start, chosen)
            quench_and_produce(runs / f"melt-{seed}", melt, seed, [])
    for seed in range(1, SEEDS["ramp"] + 1):
        melt = run("melt", runs / f"melt-{seed}" / "melt", start, [f"system.velocities.seed={seed}"])
        quench_and_produce(runs / f"ramp-{seed}", melt, seed, RAMP)
    run("long", runs / "long-1" / "produce", start, [])


if __name__ == "__main__":
    main()
