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
MpiLaunch = Callable[..., "subprocess.Popen[str]"]


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
def mpi_launch() -> MpiLaunch:
    """Start a Python command line on n ranks and return the running Popen: `mpi_launch(2, ["-m", "allegro_md", …])`."""
    command = launcher()
    if command is None:
        pytest.skip("no mpirun: install the mpi extra")

    def launch(
        n: int, args: Sequence[str | Path], *, env: dict[str, str] | None = None, cwd: Path | None = None
    ) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [command, "-n", str(n), sys.executable, *map(str, args)],
            env={**os.environ, **SINGLE_THREAD, **(env or {})}, cwd=cwd, text=True, start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    return launch


@pytest.fixture(scope="session")
def mpirun(mpi_launch: MpiLaunch) -> MpiRun:
    """Run a Python command line on n ranks: `mpirun(4, ["-m", "allegro_md", "x.toml"], timeout=60)`.

    Returns the CompletedProcess (text); a job that outlives its timeout is killed and fails the test,
    so that a hang is a failure with the output so far.
    """

    def run(
        n: int,
        args: Sequence[str | Path],
        *,
        timeout: float = 120.0,
        env: dict[str, str] | None = None,
        cwd: Path | None = None,
        check: bool = True,
    ) -> subprocess.CompletedProcess[str]:
        job = mpi_launch(n, args, env=env, cwd=cwd)
        try:
            out, err = job.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            os.killpg(job.pid, signal.SIGTERM)  # mpirun passes it on to the ranks, wherever they are
            time.sleep(2.0)
            os.killpg(job.pid, signal.SIGKILL)
            out, err = job.communicate()
            pytest.fail(f"{n} ranks still running after {timeout} s: {job.args}\n{out}\n{err}")
        done = subprocess.CompletedProcess(job.args, job.returncode, out, err)
        if check and done.returncode != 0:
            pytest.fail(f"exit {done.returncode} of {job.args}\n{done.stdout}\n{done.stderr}")
        return done

    return run
