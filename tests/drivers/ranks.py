"""Starts programs on several ranks: real interpreters, or forks of one that has imported all (rank_server.py)."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import pytest

SINGLE_THREAD = {
    name: "1" for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")
}
"""One thread per process: ranks share the cores."""

DRIVERS = Path(__file__).parent
Words = Sequence[str | Path]


class MpiRun(Protocol):
    """See `Launcher.run`."""

    def __call__(
        self, n: int, args: Words, *, timeout: float = ..., env: dict[str, str] | None = ..., cwd: Path | None = ...,
        check: bool = ..., fresh: bool = ...,
    ) -> subprocess.CompletedProcess[str]: ...  # fmt: skip


class MpiLaunch(Protocol):
    """See `Launcher.launch`."""

    def __call__(
        self, n: int, args: Words, *, env: dict[str, str] | None = ..., cwd: Path | None = ..., fresh: bool = ...
    ) -> subprocess.Popen[str]: ...


class RankServer:
    """The process of rank_server.py, started when it is first needed and again should it have ended."""

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="ranks-"))  # short: the paths of sockets have 108 bytes
        self._process: subprocess.Popen[str] | None = None
        self._starts = 0
        self._starting = threading.Lock()

    def socket(self) -> Path:
        """Where it listens.

        Raises:
            Failed: it did not start.
        """
        with self._starting:
            if self._process is None or self._process.poll() is not None:
                self._start()
        return self._path()

    def _start(self) -> None:
        self._starts += 1
        self._process = subprocess.Popen(
            [sys.executable, str(DRIVERS / "rank_server.py"), str(self._path())], text=True, bufsize=1,
            env={**os.environ, **SINGLE_THREAD}, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=(self._folder / "errors").open("w"), start_new_session=True,
        )  # fmt: skip
        assert self._process.stdout is not None
        if self._process.stdout.readline() != "ready\n":
            pytest.fail(f"no server of ranks:\n{(self._folder / 'errors').read_text()}")

    def _path(self) -> Path:
        return self._folder / f"{self._starts}"

    def close(self) -> None:
        """Ends it and all programs it runs."""
        if self._process is not None:
            assert self._process.stdin is not None
            self._process.stdin.close()
            self._process.wait(timeout=30)
        shutil.rmtree(self._folder)


class Launcher:
    """Starts Python command lines on n ranks; 0 is one process without mpirun.

    They are forks of one process that has imported the package, where the launcher is MPICH's on Linux, and where not
    `fresh`: those are interpreters of their own. `env` of a fork is not seen by what is imported already.
    """

    def __init__(self, mpirun: str | None, server: RankServer) -> None:
        self._mpirun, self._server = mpirun, server
        self._forks = sys.platform == "linux" and mpirun is not None and is_hydra(mpirun)

    def launch(
        self, n: int, args: Words, *, env: dict[str, str] | None = None, cwd: Path | None = None, fresh: bool = True
    ) -> subprocess.Popen[str]:
        """The running program: ``launch(2, ["-m", "allegro_md", …])``; its group is that of the launcher."""
        if n and self._mpirun is None:
            pytest.skip("no mpirun: install the mpi extra")
        if n > 1 and "PYTEST_XDIST_WORKER" in os.environ:
            pytest.fail(f"{n} ranks beside other tests: mark this one parallel, and run those without -n")
        python = [sys.executable]
        if self._forks and not fresh:
            python += ["-I", "-S", str(DRIVERS / "rank.py"), str(self._server.socket())]
        return subprocess.Popen(
            [*([str(self._mpirun), "-n", str(n)] if n else []), *python, *map(str, args)],
            env={**os.environ, **SINGLE_THREAD, **(env or {})}, cwd=cwd, text=True, start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    def run(
        self, n: int, args: Words, *, timeout: float = 120.0, env: dict[str, str] | None = None,
        cwd: Path | None = None, check: bool = True, fresh: bool = False,
    ) -> subprocess.CompletedProcess[str]:  # fmt: skip
        """Runs to the end: ``run(4, ["-m", "allegro_md", "x.toml"], timeout=60)``.

        A job that outlives its timeout is killed and fails the test with the output so far; so does a status other
        than 0 unless `check` is false.
        """
        job = self.launch(n, args, env=env, cwd=cwd, fresh=fresh)
        try:
            out, err = job.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            os.killpg(job.pid, signal.SIGTERM)  # mpirun passes it on to the ranks, wherever they are
            time.sleep(2.0)
            os.killpg(job.pid, signal.SIGKILL)
            out, err = job.communicate()
            pytest.fail(f"{n} ranks still running after {timeout} s: {job.args!r}\n{out}\n{err}")
        done = subprocess.CompletedProcess(job.args, job.returncode, out, err)
        if check and done.returncode != 0:
            pytest.fail(f"exit {done.returncode} of {job.args!r}\n{done.stdout}\n{done.stderr}")
        return done


def is_hydra(mpirun: str) -> bool:
    """Whether it is MPICH's launcher, whose ranks find it through a file that can be handed on."""
    said = subprocess.run([mpirun, "--version"], capture_output=True, text=True, check=False)
    return "HYDRA" in said.stdout
