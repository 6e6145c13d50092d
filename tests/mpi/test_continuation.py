"""A run stopped and resumed on another number of ranks equals the undisturbed one; and how runs end early."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from runs import FRAME, SMALLER, assert_same, assigned, frames, rows, write_input

from allegro_md import read_trajectory
from allegro_md.cli import main

INPUTS = Path(__file__).resolve().parents[2] / "inputs"


@pytest.mark.parallel
def test_resumed_on_other_ranks_equals_undisturbed(
    tmp_path: Path, mpirun: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    mpirun(1, ["-m", "allegro_md", write_input(tmp_path, "whole")])
    broken = write_input(tmp_path, "broken")
    mpirun(2, ["-m", "allegro_md", broken])
    # As if it had been killed after the first checkpoint: everything later is on disk and must vanish.
    for later in ("checkpoint-80.h5", "checkpoint-120.h5"):
        (tmp_path / "broken" / later).unlink()
    mpirun(3, ["-m", "allegro_md", broken, "--resume"])
    assert rows(tmp_path / "whole") == rows(tmp_path / "broken")
    assert len(rows(tmp_path / "whole")) == 25
    whole, resumed = frames(tmp_path / "whole"), frames(tmp_path / "broken")
    assert whole["step"].tolist() == list(range(0, 121, 7))
    for name, values in whole.items():
        np.testing.assert_array_equal(values, resumed[name], err_msg=name)


TENSORS = "[[0.5, 0.2, 0.3, 0.02, -0.02, 0.05], [-0.02, 0.0, 0.01, 0.0, 0.0, 0.0]]"
BAROSTATS = {
    "npt-mtk": [f"dynamics.pressure={TENSORS}", 'dynamics.cell="flexible"'],
    "npt-crescale": ["dynamics.pressure=[0.4, 0.0]", 'dynamics.cell="anisotropic"', "dynamics.compressibility=0.5"],
    "npt-berendsen": [f"dynamics.pressure={TENSORS}", 'dynamics.cell="flexible"', "dynamics.compressibility=0.5"],
}
"""Ensemble → assignments: ramps of pressure and temperature, on all components of the cell that the method has."""


@pytest.mark.parallel
@pytest.mark.parametrize("kind", ["npt-mtk", *(pytest.param(k, marks=pytest.mark.long) for k in list(BAROSTATS)[1:])])
def test_a_moving_cell_resumed_on_other_ranks_equals_undisturbed(
    kind: str, tmp_path: Path, mpirun: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    settings = [f'dynamics.ensemble="{kind}"', "dynamics.barostat_time=300.0", *BAROSTATS[kind], "output.observe=[]"]

    def run(ranks: int, directory: str, *options: str) -> None:
        mpirun(ranks, ["-m", "allegro_md", write_input(tmp_path, directory), *assigned(settings), *options])

    run(1, "whole")
    run(2, "broken")
    for later in ("checkpoint-80.h5", "checkpoint-120.h5"):
        (tmp_path / "broken" / later).unlink()
    run(2, "broken", "--resume")
    whole, resumed = rows(tmp_path / "whole"), rows(tmp_path / "broken")
    assert whole == resumed and len(whole) == 25
    volumes = [float(row["volume_A3"]) for row in whole]
    assert abs(volumes[-1] / volumes[0] - 1.0) > 0.02
    first, second = frames(tmp_path / "whole"), frames(tmp_path / "broken")
    for name, values in first.items():
        np.testing.assert_array_equal(values, second[name], err_msg=name)


@pytest.mark.parallel
def test_a_deformation_resumed_on_other_ranks_equals_undisturbed(
    tmp_path: Path, mpirun: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    """A ramp of strain, stopped before the cell is replaced by a less tilted one; unwrapped positions are smooth."""
    deform = "dynamics.deform={ strain = { xy = 0.9, zz = -0.05 } }"
    words = assigned([deform, "output.trajectory.every=2"])
    mpirun(1, ["-m", "allegro_md", write_input(tmp_path, "whole", 100), *words])
    broken = write_input(tmp_path, "broken", 100)
    mpirun(2, ["-m", "allegro_md", broken, *words])
    for later in ("checkpoint-80.h5", "checkpoint-100.h5"):
        (tmp_path / "broken" / later).unlink()
    mpirun(4, ["-m", "allegro_md", broken, *words, "--resume"])
    assert_same(tmp_path / "broken", tmp_path / "whole", 100)
    with read_trajectory(tmp_path / "whole" / "trajectory.h5") as trajectory:
        cells = np.array([frame.cell.matrix for frame in trajectory])
        unwrapped = np.array([frame.unwrapped for frame in trajectory])
        images = np.array([frame.image for frame in trajectory])
    tilts = cells[:, 1, 0] / cells[:, 0, 0]
    replaced = int(np.argmin(np.diff(tilts)))
    assert np.diff(tilts)[replaced] < -0.9 and (images[replaced] != images[replaced + 1]).any(axis=1).mean() > 0.1
    assert np.abs(np.diff(unwrapped, axis=0)).max() < 1.5
    assert cells[-1][2, 2] == pytest.approx(0.95 * cells[0][2, 2], rel=1e-12)
    assert tilts[-1] == pytest.approx(0.9 - 1.0, abs=1e-12)


@pytest.mark.parallel
@pytest.mark.parametrize("name", ["silver", pytest.param("quickstart", marks=pytest.mark.long)])
def test_the_fast_path_resumed_on_other_ranks_equals_undisturbed(
    name: str, tmp_path: Path, mpirun: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    """Bilinear and single-layer networks in single precision, with rebuilds, whose moments depend on restarts."""
    fields = json.dumps(FRAME)
    settings = [
        *SMALLER.get(name, []), "dynamics.steps=40", "output.thermo.every=2", "parallel.skin=0.2",
        "output.checkpoint={ every = 15, keep = 3 }",
        f'output.trajectory={{ every = 10, fields = {fields}, dtype = "float64" }}',
    ]  # fmt: skip

    def run(ranks: int, directory: str, *options: str) -> dict[str, Any]:
        words = assigned([*settings, f'output.directory="{tmp_path / directory}"'])
        mpirun(ranks, ["-m", "allegro_md", INPUTS / f"{name}.toml", *words, *options])
        return dict(json.loads((tmp_path / directory / "run.json").read_text()))

    whole = run(1, "whole")
    run(2, "broken")
    for later in (30, 40):
        (tmp_path / "broken" / f"checkpoint-{later}.h5").unlink()
    resumed = run(3, "broken", "--resume")
    assert "fused" in json.dumps(whole["input"]["potential"]) and min(whole["rebuilds"], resumed["rebuilds"]) > 2
    assert_same(tmp_path / "broken", tmp_path / "whole", 40)


@pytest.mark.parallel
def test_resume_of_a_finished_run_changes_nothing(
    tmp_path: Path, mpirun: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    path = write_input(tmp_path, "done", steps=20)
    mpirun(1, ["-m", "allegro_md", path])
    before = rows(tmp_path / "done"), frames(tmp_path / "done")
    mpirun(2, ["-m", "allegro_md", path, "--resume"])
    after = rows(tmp_path / "done"), frames(tmp_path / "done")
    assert before[0] == after[0]
    assert all(np.array_equal(before[1][name], after[1][name]) for name in before[1])


def test_interrupt_leaves_a_checkpoint(tmp_path: Path) -> None:
    path = write_input(tmp_path, "long", steps=1_000_000)
    job = subprocess.Popen([sys.executable, "-m", "allegro_md", str(path)], stderr=subprocess.PIPE, text=True)
    directory = tmp_path / "long"
    deadline = time.monotonic() + 120
    while not list(directory.glob("checkpoint-*.h5")) and time.monotonic() < deadline:
        time.sleep(0.1)
    job.send_signal(signal.SIGINT)
    _, message = job.communicate(timeout=60)
    assert job.returncode == 130, message
    assert "Traceback" not in message
    step = json.loads((directory / "run.json").read_text())["step"]
    assert (directory / f"checkpoint-{step}.h5").exists()


def test_nan_ends_with_status_3(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Atoms on top of each other: the force overflows, the run says which atom and ends."""
    path = write_input(tmp_path, "burst", steps=5)
    assert main([str(path), "--set", "system.crystal.a=0.6"]) == 3
    said = capsys.readouterr().err
    assert "atom" in said and "Traceback" not in said
    assert json.loads((tmp_path / "burst" / "run.json").read_text())["status"].startswith("PhysicsError")


@pytest.fixture(scope="module")
def five_steps(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The input of a short run that has been made."""
    path = write_input(tmp_path_factory.mktemp("five-steps"), "first", steps=5)
    assert main([str(path)]) == 0
    return path


@pytest.mark.parametrize(
    "change",
    ["dynamics.timestep=2.0", "potential.epsilon=0.02", "dynamics.steps=500", "dynamics.thermostat_chain=5"],
)
def test_other_physics_is_refused(five_steps: Path, capsys: pytest.CaptureFixture[str], change: str) -> None:
    """A ramp is as long as the run, so even the number of steps is part of it."""
    assert main([str(five_steps), "--resume", "--set", change]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert change.split("=")[0].split(".")[-1] in line and "began with" in line
    assert ("strain is a ramp" in line) == (change == "dynamics.steps=500")


def test_another_system_is_refused(five_steps: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(five_steps), "--resume", "--set", "system.repeat=[2, 1, 1]"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "another system" in line


@pytest.mark.parallel
def test_a_fault_on_one_rank_ends_all(tmp_path: Path, mpirun: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    """One atom far too fast: its kinetic energy fits no exact sum, which only the rank that owns it sees."""
    from ase import Atoms
    from ase.io import write

    atoms = Atoms("Ar8", positions=[[5.0 * i, 0, 0] for i in range(8)], cell=[40, 40, 40], pbc=True)
    momenta = np.zeros((8, 3))
    momenta[6, 1] = 1e6
    atoms.set_momenta(momenta)
    write(tmp_path / "fast.traj", atoms)
    path = write_input(tmp_path, "fast", steps=5)
    text = path.read_text().replace(path.read_text().split("\n")[2], 'structure = "fast.traj"')
    path.write_text("\n".join(line for line in text.splitlines() if not line.startswith("velocities")))
    ended = mpirun(2, ["-m", "allegro_md", path], check=False, timeout=100)
    assert ended.returncode == 3, ended.stderr
    assert ended.stderr.count("atom 6") == 1 and "Traceback" not in ended.stderr


def test_nobody_listens(tmp_path: Path) -> None:
    """A closed terminal is no reason to stop a run."""
    path = write_input(tmp_path, "deaf", steps=5)
    job = subprocess.Popen(
        [sys.executable, "-m", "allegro_md", str(path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert job.stdout is not None
    job.stdout.close()
    job.wait(timeout=100)
    assert (tmp_path / "deaf" / "checkpoint-5.h5").exists()


def test_grid_for_other_ranks_is_refused_from_python(tmp_path: Path) -> None:
    from allegro_md import Simulation
    from allegro_md.errors import InputError

    with pytest.raises(InputError, match="for 2 ranks"):
        Simulation.from_toml(write_input(tmp_path, "grid"), ["parallel.grid=[2, 1, 1]"])
