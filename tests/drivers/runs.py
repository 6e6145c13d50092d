"""A short run with everything in it, a temperature ramp included, and what is left of a run to be compared."""

from __future__ import annotations

import csv
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from allegro_md import read_trajectory

INPUT = """
[system]
crystal = {{ symbol = "Ar", lattice = "fcc", a = 5.4, repeat = [4, 4, 4], rattle = 0.1, seed = 3 }}
velocities = {{ temperature = 120.0, seed = 2 }}

[potential]
kind = "lj"
epsilon = 0.0103
sigma = 3.4
cutoff = 8.0

[dynamics]
ensemble = "nvt-nose-hoover"
timestep = 4.0
steps = {steps}
temperature = [120.0, 240.0]

[output]
directory = "{directory}"
trajectory = {{ every = 7, fields = ["position", "image", "velocity", "force"], dtype = "float64" }}
thermo = {{ every = 5 }}
checkpoint = {{ every = 40, keep = 3 }}
observe = [{{ kind = "rdf", every = 3, rmax = 12.0, bins = 90 }}, {{ kind = "msd", every = 3 }}]
"""

SMALLER = {"record-ag": ["system.repeat=[3,3,4]"], "silver": ["system.repeat=[3,3,4]"]}
"""Files of `inputs/` whose systems are too large for a test → assignments that make them smaller."""

IDLE_START = 2.0
"""Seconds that a program which imports torch takes on an idle machine (1.6 to 2)."""

FRAME = ("position", "image", "velocity", "force")


def write_input(folder: Path, directory: str, steps: int = 120) -> Path:
    path = folder / f"{directory}.toml"
    path.write_text(INPUT.format(directory=directory, steps=steps))
    return path


def write_changed(folder: Path, name: str, text: str, *changes: tuple[str, str]) -> Path:
    """Writes an input of a test, whose run directory is called DIRECTORY in its text, under a name with changes."""
    path, text = folder / f"{name}.toml", text.replace("DIRECTORY", name)
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    path.write_text(text)
    return path


def assigned(settings: Iterable[str]) -> list[str]:
    """The words of a command line that make assignments: ``--set KEY=VALUE`` each."""
    return [word for setting in settings for word in ("--set", setting)]


def unhurried(seconds: float, limit: float, ranks: int) -> float:
    """`seconds` of a program on some ranks; beyond `limit`, what they would have been on an idle machine.

    How much slower this one is now is seen by how long as many programs take to start.
    """
    if seconds < limit:
        return seconds
    began = time.perf_counter()
    starts = [subprocess.Popen([sys.executable, "-c", "import torch"]) for _ in range(ranks)]
    assert [start.wait() for start in starts] == [0] * ranks
    return seconds / max(1.0, (time.perf_counter() - began) / IDLE_START)


def rows(directory: Path) -> list[dict[str, str]]:
    """``thermo.csv`` without the one column that is of this machine and day."""
    with (directory / "thermo.csv").open() as file:
        return [{k: v for k, v in row.items() if k != "wall_s"} for row in csv.DictReader(file)]


def observed(directory: Path) -> dict[str, list[str]]:
    """Tables of the observers, without the remarks at their head, which hold the time of day."""
    files = sorted((directory / "observe").rglob("*.csv"))
    lines = {str(file.relative_to(directory)): file.read_text().splitlines() for file in files}
    return {name: [line for line in text if line[0] != "#"] for name, text in lines.items()}


def frames(directory: Path) -> dict[str, np.ndarray]:
    with h5py.File(directory / "trajectory.h5") as file:
        values = {name: file[f"particles/all/{name}/value"][()] for name in FRAME}
        return {"step": file["particles/all/position/step"][()], **values}


def assert_whole_frames(directory: Path, undisturbed: Path) -> int:
    """The package's reader sees frames of the undisturbed run, from the first on, each of them whole, or no file yet.

    Returns:
        How many there are.
    """
    if not (directory / "trajectory.h5").exists():
        return 0
    expected = frames(undisturbed)
    with read_trajectory(directory / "trajectory.h5") as trajectory:
        for k, frame in enumerate(trajectory):
            assert frame.step == expected["step"][k]
            for name in FRAME:
                assert getattr(frame, name).tobytes() == expected[name][k].tobytes(), name
        return trajectory.n_frames


def end_state(directory: Path, step: int) -> dict[str, Any]:
    """All per-atom columns of a checkpoint."""
    with h5py.File(directory / f"checkpoint-{step}.h5") as file:
        return {name: file[name][()] for name in file if name != "header"}


def assert_same(directory: Path, undisturbed: Path, steps: int) -> None:
    """The same run, bit for bit: end state, every row, every frame, every observable, none missing or doubled."""
    assert rows(directory) == rows(undisturbed)
    assert observed(directory) == observed(undisturbed)
    for compare in (frames, lambda where: end_state(where, steps)):
        found, expected = compare(directory), compare(undisturbed)
        assert found.keys() == expected.keys()
        for name, values in expected.items():
            assert found[name].tobytes() == values.tobytes(), name
