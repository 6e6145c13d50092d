"""A wait without end ends the process; waits that do end, and work without any, do not."""

from __future__ import annotations

import subprocess
import sys
import time
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import pytest
from argon import ARGON

from allegro_md.comm import Comm
from allegro_md.config import load_input
from allegro_md.lost_ranks import BLOCKING, NotedCommunicator, ends_when_lost, noted
from allegro_md.simulation import run

HEAD = """
import time
from allegro_md.lost_ranks import ends_when_lost, noted
wait, told = noted(time.sleep, "a message"), []
"""


def ended(code: str) -> tuple[int, str, float]:
    """Status, standard error and seconds of a process."""
    began = time.monotonic()
    done = subprocess.run([sys.executable, "-c", HEAD + code], capture_output=True, text=True, timeout=60)
    return done.returncode, done.stderr, time.monotonic() - began


def test_long_wait_ends_the_process_and_the_others() -> None:
    status, said, seconds = ended(
        "with ends_when_lost(1.0, 3, lambda status: print('aborts with', status, flush=True)):\n    wait(50.0)"
    )
    assert status == 4 and seconds < 30.0
    assert said.startswith("allegro-md: rank 3 on ") and " has waited 0:00:01 for a message — a host" in said
    assert len(said.splitlines()) == 1


def test_process_ends_although_the_others_cannot_be_reached() -> None:
    """An abort that hangs, as on a network that is gone."""
    status, _, seconds = ended("with ends_when_lost(0.5, 0, lambda status: time.sleep(55.0)):\n    wait(50.0)")
    assert status == 4 and seconds < 30.0


def test_short_waits_and_long_work_are_no_loss() -> None:
    code = (
        "with ends_when_lost(0.6, 0, print):\n"
        "    for _ in range(8):\n        wait(0.2)\n"
        "    time.sleep(1.5)\n"
        "wait(1.5)\n"
        "with ends_when_lost(0.0, 0, print):\n    wait(1.5)\n"
    )
    assert ended(code)[:2] == (0, "")


def test_failed_operation_leaves_no_note() -> None:
    code = (
        "def fails():\n    raise ValueError\n"
        "with ends_when_lost(0.5, 0, print):\n"
        "    try:\n        noted(fails, 'a message')()\n    except ValueError:\n        time.sleep(1.5)\n"
    )
    assert ended(code)[:2] == (0, "")


class _Communicator:
    """Answers as mpi4py's does, without ranks."""

    def __getattr__(self, name: str) -> Any:
        return lambda *arguments, **keywords: (name, arguments, keywords)


def test_communicator_passes_everything_on() -> None:
    communicator = NotedCommunicator(_Communicator())
    for name in (*BLOCKING, "Isend", "Irecv", "Iprobe", "Get_rank"):
        assert getattr(communicator, name)(1, root=2) == (name, (1,), {"root": 2})


def test_note_costs_less_than_a_microsecond() -> None:
    """Of each operation: a step of a small system has few of them and takes a hundred microseconds."""
    call, n = noted(int, "nothing"), 20_000
    with ends_when_lost(600.0, 0, print):
        began = time.process_time()
        for _ in range(n):
            call()
        noting = time.process_time() - began
    assert noting / n < 2e-6  # twice that: machines that run tests are slow and busy


@pytest.mark.parallel
def test_partner_that_never_comes(mpirun: Any) -> None:
    """All ranks end, with one line and the status."""
    code = (
        "import time\n"
        "from allegro_md.comm import Comm\n"
        "from allegro_md.lost_ranks import ends_when_lost\n"
        "comm = Comm.world()\n"
        "with ends_when_lost(1.0, comm.rank, comm.abort):\n"
        "    time.sleep(50.0) if comm.rank == 1 else comm.any(True)\n"
    )
    began = time.monotonic()
    done = mpirun(2, ["-c", code], timeout=60, check=False)
    assert done.returncode == 4 and time.monotonic() - began < 30.0
    assert "rank 0 on " in done.stderr and "a sum or maximum over all ranks" in done.stderr


@pytest.mark.parametrize(("started", "patience"), [(1, 0.0), (2, 77.0)])
def test_runs_on_one_rank_of_several_are_watched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, started: int, patience: float
) -> None:
    """A replica on a single rank waits for others where replicas exchange their temperatures."""
    told = []

    def watch(seconds: float, *_: Any) -> AbstractContextManager[None]:
        told.append(seconds)
        return nullcontext()

    monkeypatch.setattr(run, "ends_when_lost", watch)
    (tmp_path / "argon.toml").write_text(ARGON + "[parallel]\npatience = 77.0\n")
    comm = Comm.serial()
    comm.n_started = started
    run.Simulation.from_config(load_input(tmp_path / "argon.toml"), comm).run()
    assert told == [patience]


@pytest.mark.parallel
def test_a_group_of_one_rank_ends_all(mpirun: Any) -> None:
    code = (
        "import time\n"
        "from allegro_md.comm import Comm\n"
        "world = Comm.world()\n"
        "part = world.split(world.rank)\n"
        "assert part.size == 1 and part.n_started == 2\n"
        "time.sleep(50.0) if world.rank == 1 else part.abort(4)\n"
    )
    began = time.monotonic()
    done = mpirun(2, ["-c", code], timeout=60, check=False)
    assert done.returncode == 4 and time.monotonic() - began < 30.0
