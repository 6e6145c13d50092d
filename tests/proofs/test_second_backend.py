"""A backend is one module and one registry line: one in plain torch, trying all pairs, gives the same bits."""

from __future__ import annotations

import csv
from importlib import import_module
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch

from allegro_md.backends import BACKENDS, backend_for
from allegro_md.comm import Comm
from allegro_md.config import load_input
from allegro_md.simulation.run import Simulation

DRIVER = Path(__file__).parent / "plain_torch.py"

INPUT = """
[system]
crystal = { symbol = "Ar", lattice = "fcc", a = 5.3, repeat = [4, 3, 3], rattle = 0.2 }
velocities = { temperature = 300.0, seed = 1 }
periodic = [true, true, false]
[potential]
kind = "lj"
epsilon = 0.0103
sigma = 3.4
cutoff = 6.0
[dynamics]
ensemble = "nvt-nose-hoover"
timestep = 4.0
steps = 60
temperature = 200.0
thermostat_time = 50.0
[parallel]
skin = 0.2
[output]
thermo = { every = 1 }
trajectory = { every = 20, fields = ["position", "velocity", "force", "image"], dtype = "float64" }
"""


def results(directory: Path) -> tuple[list[list[str]], dict[str, Any]]:
    """Rows of thermo.csv without the time they took, and all frames."""
    rows = [row[:-1] for row in csv.reader((directory / "thermo.csv").open())]
    with h5py.File(directory / "trajectory.h5") as file:
        group = file["particles/all"]
        return rows, {name: group[name]["value"][:] for name in ("position", "velocity", "force", "image")}


def same(first: Path, second: Path) -> bool:
    (rows, frames), (others, other_frames) = results(first), results(second)
    return rows == others and all(np.array_equal(frames[name], other_frames[name]) for name in frames)


def run(folder: Path, name: str) -> Path:
    (folder / "input.toml").write_text(INPUT)
    source = load_input(folder / "input.toml", [f'output.directory="{name}"'])
    Simulation.from_config(source, Comm.serial()).run()
    return folder / name


@pytest.mark.parallel
def test_the_same_bits_on_one_and_two_ranks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mpirun: Any) -> None:
    numba = run(tmp_path, "numba")
    monkeypatch.syspath_prepend(str(DRIVER.parent))
    monkeypatch.setitem(BACKENDS, "cpu", "plain_torch")
    plain = run(tmp_path, "plain")
    wanted = {"kick", "drift", "kinetic", "largest_length", "find_pairs", "assign_owners", "beyond"}
    assert import_module("plain_torch").CALLS >= wanted
    assert same(numba, plain)
    mpirun(2, [DRIVER, "run", tmp_path / "input.toml", "--set", f'output.directory="{tmp_path / "two"}"'])
    assert same(numba, tmp_path / "two")


def test_a_device_without_a_backend() -> None:
    with pytest.raises(ValueError, match="no backend for meta, only for cpu"):
        backend_for(torch.device("meta"))
