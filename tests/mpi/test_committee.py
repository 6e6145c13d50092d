"""Runs of a committee: the same bits on any number of ranks, the limit of its standard deviation, continuation."""

from __future__ import annotations

import csv
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ase.io
import h5py
import numpy as np
import pytest
from runs import assigned
from systems import NETWORKS

from allegro_md import Simulation
from allegro_md.errors import PhysicsError
from allegro_md.models.allegro.architecture import parse_architecture
from allegro_md.models.allegro.network import Network
from allegro_md.models.modelfile import save_model

INPUT = """
[system]
crystal = { symbol = "Cu", lattice = "fcc", a = 3.7, repeat = [3, 3, 3], rattle = 0.1, seed = 3 }
velocities = { temperature = 600.0, seed = 2 }
[potential]
committee = ["a-0.allegro", "a-1.allegro", "a-2.allegro"]
[dynamics]
ensemble = "nve"
timestep = 2.0
steps = 12
[parallel]
skin = 0.1
[guard]
max_force_std = LIMIT
force_std_every = 2
on_force_std = "save"
[output]
thermo = { every = 3 }
checkpoint = { every = 6, keep = 3 }
"""
COLUMN = "max_force_std_eV_A"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The input, three members and a run on one rank; the limit is passed in some of its steps only."""
    where = tmp_path_factory.mktemp("committee")
    architecture = parse_architecture(NETWORKS["bilinear"] | {"symbols": ("Cu",), "average_neighbors": 12.0})
    for seed in range(3):
        save_model(Network(architecture).initialize(seed), where / f"a-{seed}.allegro")
    (where / "in.toml").write_text(INPUT.replace("LIMIT", "1e3"))
    run(where, "trial", "output.thermo.every=2")
    middle = sorted(float(row[COLUMN]) for row in rows(where / "trial"))[3]
    (where / "in.toml").write_text(INPUT.replace("LIMIT", repr(middle * (1.0 - 1e-9))))
    run(where, "one")
    return where


def run(folder: Path, directory: str, *settings: str, resume: bool = False) -> None:
    Simulation.from_toml(folder / "in.toml", (f"output.directory={directory}", *settings), resume=resume).run()


def rows(directory: Path) -> list[dict[str, str]]:
    with (directory / "thermo.csv").open() as file:
        return [{k: v for k, v in row.items() if k != "wall_s"} for row in csv.DictReader(file)]


def assert_same(a: Path, b: Path) -> None:
    assert rows(a) == rows(b)
    assert (a / "uncertain.extxyz").read_bytes() == (b / "uncertain.extxyz").read_bytes()
    with h5py.File(a / "checkpoint-12.h5") as first, h5py.File(b / "checkpoint-12.h5") as second:
        assert all(first[name][()].tobytes() == second[name][()].tobytes() for name in first if name != "header")


def test_rows_and_frames(folder: Path) -> None:
    """Every step above the limit has its frame, with the standard deviation of each atom; so say the rows, too."""
    table = rows(folder / "one")
    assert list(table[0])[-1] == COLUMN and [row["step"] for row in table] == ["0", "3", "6", "9", "12"]
    limit = json.loads((folder / "one" / "run.json").read_text())["input"]["guard"]["max_force_std"]
    trial = {int(row["step"]): float(row[COLUMN]) for row in rows(folder / "trial")}
    frames: Any = ase.io.read(folder / "one" / "uncertain.extxyz", ":")
    assert [frame.info["step"] for frame in frames] == [step for step, std in trial.items() if std > limit]
    assert 2 <= len(frames) < len(trial)
    for frame in frames:
        std = trial[frame.info["step"]]
        assert frame.arrays["force_std_eV_per_A"].max() == std == frame.info["max_force_std_eV_per_A"]
        assert len(frame) == 108 and frame.pbc.all() and frame.cell.volume == pytest.approx(11.1**3)
    with h5py.File(folder / "trial" / "checkpoint-12.h5") as file:
        position = file["position"][()]
    if frames[-1].info["step"] == 12:
        np.testing.assert_allclose(frames[-1].positions, position - 11.1 * np.floor(position / 11.1), atol=1e-10)
    assert len(json.loads((folder / "one" / "run.json").read_text())["model_digests"]) == 3


@pytest.mark.parallel
def test_two_ranks_make_the_same_bits(
    folder: Path, mpirun: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    """Then as if killed after the first checkpoint: what is later vanishes, also from the file of frames."""
    mpirun(2, ["-m", "allegro_md", folder / "in.toml", *assigned(["output.directory=two"])])
    assert_same(folder / "two", folder / "one")
    (folder / "two" / "checkpoint-12.h5").unlink()
    run(folder, "two", resume=True)
    assert_same(folder / "two", folder / "one")


def test_stop(folder: Path) -> None:
    """The step that passes the limit is not reported; the atoms to blame are on disk."""
    trial = {int(row["step"]): float(row[COLUMN]) for row in rows(folder / "trial")}
    start = trial.pop(0)
    beyond = [step for step, std in trial.items() if std > start]
    if not beyond:
        pytest.fail(f"the trial never leaves its start: {trial}")
    said = r"standard deviation of the force on atom .* \(guard.max_force_std\)"
    with pytest.raises(PhysicsError, match=said) as why:
        run(folder, "stop", f"guard.max_force_std={start!r}", "guard.on_force_std=stop", "output.thermo.every=1")
    directory = folder / "stop"
    assert [int(row["step"]) for row in rows(directory)] == list(range(beyond[0]))
    assert (directory / f"emergency-{beyond[0]}.h5").exists() and not (directory / "uncertain.extxyz").exists()
    picture: Any = ase.io.read(directory / f"emergency-{beyond[0]}.extxyz", "0")
    assert picture.info["atom"] == why.value.atoms[0] and why.value.exit_status == 3


@pytest.mark.long
@pytest.mark.parallel
def test_stop_and_resume_on_other_ranks(
    folder: Path, mpirun: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    words = ["-m", "allegro_md", folder / "in.toml", *assigned(["output.directory=ranks"])]
    mpirun(3, words)
    (folder / "ranks" / "checkpoint-12.h5").unlink()
    mpirun(2, [*words, "--resume"])
    assert_same(folder / "ranks", folder / "one")
    limit = assigned(["guard.max_force_std=1e-6", "guard.on_force_std=stop", "output.directory=halt"])
    done = mpirun(2, ["-m", "allegro_md", folder / "in.toml", *limit], check=False)
    assert done.returncode == 3 and done.stderr.count("guard.max_force_std") == 1
    assert (folder / "halt" / "emergency-0.extxyz").exists()


@pytest.mark.long
@pytest.mark.parallel
def test_check_and_verify(folder: Path, mpirun: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    said = mpirun(1, ["-m", "allegro_md", "check", folder / "in.toml"]).stdout
    assert all(f"a-{k}.allegro" in said for k in range(3)) and "memory per rank" in said
    mpirun(2, ["-m", "allegro_md", "verify", folder / "in.toml"])
