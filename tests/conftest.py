"""What every test may use: the larger reference data, and several MPI ranks."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

# One thread per process, before anything loads torch or numba: ranks share the cores.
SINGLE_THREAD = {
    name: "1" for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")
}
os.environ.update(SINGLE_THREAD)

import pytest  # noqa: E402

ROOT = Path(__file__).resolve().parent.parent

MpiRun = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="session")
def root() -> Path:
    """The checkout."""
    return ROOT


@pytest.fixture(scope="session")
def shared() -> Path:
    """Folder of the larger reference sets: $ALLEGRO_MD_SHARED, else `../shared` beside the checkout."""
    folder = Path(os.environ.get("ALLEGRO_MD_SHARED", ROOT.parent / "shared"))
    if not (folder / "reference").is_dir():
        pytest.skip(f"no reference data at {folder} (set ALLEGRO_MD_SHARED)")
    return folder


def launcher() -> str | None:
    """The mpirun beside this Python (the wheel's), else the one on the path."""
    beside = Path(sys.executable).parent / "mpirun"
    return str(beside) if beside.exists() else shutil.which("mpirun")


@pytest.fixture(scope="session")
def mpirun() -> MpiRun:
    """Run a Python command line on n ranks: `mpirun(4, ["-m", "allegro_md", "x.toml"], timeout=60)`.

    Returns the CompletedProcess (text); a job that outlives its timeout is killed and fails the test,
    so that a hang is a failure with the output so far.
    """
    command = launcher()
    if command is None:
        pytest.skip("no mpirun: install the mpi extra")

    def run(
        n: int,
        args: Sequence[str | Path],
        *,
        timeout: float = 120.0,
        env: dict[str, str] | None = None,
        cwd: Path | None = None,
        check: bool = True,
    ) -> subprocess.CompletedProcess[str]:
        line = [command, "-n", str(n), sys.executable, *map(str, args)]
        environment = {**os.environ, **SINGLE_THREAD, **(env or {})}
        job = subprocess.Popen(
            line, env=environment, cwd=cwd, text=True, start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        try:
            out, err = job.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            os.killpg(job.pid, signal.SIGTERM)  # mpirun passes it on to the ranks, wherever they are
            time.sleep(2.0)
            os.killpg(job.pid, signal.SIGKILL)
            out, err = job.communicate()
            pytest.fail(f"{n} ranks still running after {timeout} s: {line}\n{out}\n{err}")
        done = subprocess.CompletedProcess(line, job.returncode, out, err)
        if check and done.returncode != 0:
            pytest.fail(f"exit {done.returncode} of {line}\n{done.stdout}\n{done.stderr}")
        return done

    return run
