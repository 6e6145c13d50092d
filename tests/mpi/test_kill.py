"""A run that is killed, stopped or out of time, and resumed on other ranks, is the undisturbed run, bit for bit."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from runs import assert_same, assert_whole_frames, write_input

DRIVER = Path(__file__).resolve().parents[1] / "drivers" / "dying.py"
STEPS = 120
OFTEN = ["--set", "output.trajectory.every=1", "--set", "output.checkpoint.every=9", "--set", "output.thermo.every=2"]

MpiRun = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, mpirun: MpiRun) -> dict[str, Any]:
    """The run nobody disturbed, and how many writing system calls rank 0 and rank 1 of two made."""
    folder = tmp_path_factory.mktemp("undisturbed")
    calls = {}
    for rank in (0, 1):
        log = folder / f"calls-{rank}"
        fault = {"fault": "kill", "rank": rank, "call": 10**9, "log": str(log)}
        path = write_input(folder, f"whole-{rank}", STEPS)
        mpirun(2, [DRIVER, json.dumps(fault), path, *OFTEN])
        calls[rank] = int(log.read_text().split()[1])
    assert_same(folder / "whole-0", folder / "whole-1", STEPS)
    return {"directory": folder / "whole-0", "calls": calls}


def moments(first: int, last: int) -> list[Any]:
    return [pytest.param(seed, id=f"moment-{seed}") for seed in range(first, last)]


def kill_and_resume(seed: int, folder: Path, undisturbed: dict[str, Any], mpirun: MpiRun) -> None:
    """SIGKILL at a random write of a random rank; the even seeds among the first writes, where checkpoints are few."""
    draw = random.Random(seed)
    ranks, rank = (2, draw.choice([0, 1])) if seed % 4 else (1, 0)
    total = undisturbed["calls"][rank]
    call = draw.randint(1, total // 10 if seed % 2 == 0 else total)
    path, log = write_input(folder, "run", STEPS), folder / "log"
    over = True
    while over:  # a quick machine shows frames less often, and may be done, or all but gone, before so many calls
        fault = {"fault": "kill", "rank": rank, "call": call, "log": str(log)}
        killed = mpirun(ranks, [DRIVER, json.dumps(fault), path, *OFTEN, "--overwrite"], check=False, fresh=True)
        over = "\ndone: " in killed.stdout
        call = call * 2 // 3
    assert log.read_text().startswith("struck")
    assert killed.returncode not in (0, 1, 2, 3, 4), killed.stderr
    assert_whole_frames(folder / "run", undisturbed["directory"])
    mpirun(draw.choice([n for n in (1, 2, 3, 4) if n != ranks]), ["-m", "allegro_md", path, *OFTEN, "--resume"])
    assert_same(folder / "run", undisturbed["directory"], STEPS)
    assert assert_whole_frames(folder / "run", undisturbed["directory"]) == STEPS + 1


@pytest.mark.parallel
@pytest.mark.parametrize("seed", moments(0, 1))
def test_killed_while_writing(seed: int, tmp_path: Path, undisturbed: dict[str, Any], mpirun: MpiRun) -> None:
    kill_and_resume(seed, tmp_path, undisturbed, mpirun)


@pytest.mark.long
@pytest.mark.parallel
@pytest.mark.parametrize("seed", moments(1, 22))
def test_killed_at_twenty_more_writes(
    seed: int, tmp_path: Path, undisturbed: dict[str, Any], mpirun: MpiRun
) -> None:
    kill_and_resume(seed, tmp_path, undisturbed, mpirun)


@pytest.mark.parallel
@pytest.mark.parametrize(
    "number",
    [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.long),
     pytest.param(signal.SIGUSR1, marks=pytest.mark.long)],
)  # fmt: skip
def test_stopped_by_a_signal_to_the_launcher(
    number: signal.Signals, tmp_path: Path, undisturbed: dict[str, Any], mpirun: MpiRun, mpi_launch: Any
) -> None:
    """Batch systems know the launcher only."""
    path = write_input(tmp_path, "run", STEPS)
    job = mpi_launch(2, ["-m", "allegro_md", path, *OFTEN, "--set", "output.checkpoint.every=1"])  # each takes a while
    deadline = time.monotonic() + 100
    while not list((tmp_path / "run").glob("checkpoint-*.h5")) and time.monotonic() < deadline:
        time.sleep(0.005)
    job.send_signal(number)
    out, err = job.communicate(timeout=60)
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert record["status"].startswith("InterruptedRun") and 0 < record["step"] < STEPS, out + err
    assert (tmp_path / "run" / f"checkpoint-{record['step']}.h5").exists()
    assert job.returncode == 130 and "Traceback" not in err, err
    assert assert_whole_frames(tmp_path / "run", undisturbed["directory"]) == record["step"] + 1
    mpirun(1, ["-m", "allegro_md", path, *OFTEN, "--resume"])
    assert_same(tmp_path / "run", undisturbed["directory"], STEPS)


@pytest.mark.parallel
def test_out_of_walltime_again_and_again(tmp_path: Path, undisturbed: dict[str, Any], mpirun: MpiRun) -> None:
    """Jobs on other ranks each time; the first is over after its first step, the second somewhere."""
    path = write_input(tmp_path, "run", STEPS)
    command = ["-m", "allegro_md", path, *OFTEN, "--resume", "--set"]
    first = mpirun(2, [*command, "stop.walltime=1e-3"], check=False)
    assert first.returncode == 130 and first.stderr.count("\n") == 1 and "walltime" in first.stderr, first.stderr
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert record["step"] == 1 and (tmp_path / "run" / "checkpoint-1.h5").exists()
    second = mpirun(3, [*command, "stop.walltime=0.3 s"], check=False)
    assert second.returncode in (0, 130), second.stderr
    mpirun(1, [*command, "stop.walltime=1 h"])
    changed = json.loads((tmp_path / "run" / "run.json").read_text())["changed_on_resume"]
    assert any(line.startswith("stop.walltime = 3600") for line in changed)
    assert_same(tmp_path / "run", undisturbed["directory"], STEPS)
