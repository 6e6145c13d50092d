"""A run that breaks goes back to its last checkpoint and on with half the timestep, and ends where it should."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from runs import end_state, frames, rows, write_input

MpiRun = Callable[..., "subprocess.CompletedProcess[str]"]

NVE = 'dynamics={{ ensemble = "nve", timestep = {:g}, steps = {} }}'


def nve(timestep: float, steps: int, *more: str) -> list[str]:
    """What makes of the run of `runs` one at constant energy with a frame for every step."""
    assignments = [NVE.format(timestep, steps), "output.trajectory.every=1", *more]
    return [word for assignment in assignments for word in ("--set", assignment)]


@pytest.mark.parallel
def test_rollback_is_a_run_with_half_the_timestep(tmp_path: Path, mpirun: MpiRun) -> None:
    """A limit on the length of a step that 4 fs pass at any time and 2 fs never: every step is made in halves in the
    end, and constant energy with halved steps of 4 fs is constant energy with 2 fs, bit for bit.
    """
    mpirun(1, ["-m", "allegro_md", write_input(tmp_path, "fine"), *nve(2.0, 60, "output.observe=[]")])
    fine = frames(tmp_path / "fine")
    farthest = 2.0 * float(np.linalg.norm(fine["velocity"], axis=2).max())
    limits = (f"guard.max_displacement={1.2 * farthest}", "output.checkpoint.every=10", "guard.rollback=100",
              "output.observe=[]")  # whose samples are at other times in the other run
    mpirun(2, ["-m", "allegro_md", write_input(tmp_path, "coarse"), *nve(4.0, 30, *limits)])

    record = json.loads((tmp_path / "coarse" / "run.json").read_text())
    assert record["status"] == "done" and len(record["rollbacks"]) >= 3
    first = record["rollbacks"][0]
    assert (first["step"], first["to"], first["parts"]) == (1, 0, 2) and "guard.max_displacement" in first["fault"]
    assert (tmp_path / "coarse" / "emergency-1.extxyz").exists()
    coarse: dict[str, Any] = frames(tmp_path / "coarse")
    assert coarse["step"].tolist() == list(range(31))
    for name in ("position", "velocity", "force", "image"):
        assert coarse[name].tobytes() == fine[name][::2].tobytes(), name
    ends = end_state(tmp_path / "coarse", 30), end_state(tmp_path / "fine", 60)
    assert all(ends[0][name].tobytes() == ends[1][name].tobytes() for name in ends[0])
    assert [row["time_fs"] for row in rows(tmp_path / "coarse")] == [str(20.0 * k) for k in range(7)]


@pytest.mark.parallel
def test_without_leave_to_roll_back_the_run_ends(tmp_path: Path, mpirun: MpiRun) -> None:
    command = ["-m", "allegro_md", write_input(tmp_path, "run"), *nve(4.0, 30, "guard.max_displacement=0.001")]
    ended = mpirun(2, command, check=False)
    assert ended.returncode == 3 and ended.stderr.count("guard.max_displacement") == 1, ended.stderr
    assert len(rows(tmp_path / "run")) == 1  # the start; the step that broke is not reported


@pytest.mark.parallel
def test_any_number_of_ranks_blames_the_same_atoms(tmp_path: Path, mpirun: MpiRun) -> None:
    """A limit that few atoms pass, so that most ranks have none of them."""
    mpirun(1, ["-m", "allegro_md", write_input(tmp_path, "fine"), *nve(4.0, 1, "output.observe=[]")])
    moves = 4.0 * np.linalg.norm(frames(tmp_path / "fine")["velocity"][1], axis=1)
    limit = float(np.sort(moves)[-3:-1].mean())
    told = []
    for n_ranks in (1, 3):
        command = ["-m", "allegro_md", write_input(tmp_path, f"run-{n_ranks}")]
        ended = mpirun(n_ranks, [*command, *nve(4.0, 30, f"guard.max_displacement={limit!r}")], check=False)
        assert ended.returncode == 3, ended.stderr
        message = next(line for line in ended.stderr.splitlines() if "guard.max_displacement" in line)
        told.append((message, (tmp_path / f"run-{n_ranks}" / "emergency-1.extxyz").read_bytes()))
    assert told[0] == told[1]
    first, second = np.argsort(-moves)[:2]
    assert f"atom {first} (" in told[0][0] and f"; also atoms {second} —" in told[0][0]
