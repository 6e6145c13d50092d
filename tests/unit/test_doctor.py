"""`allegro-md doctor`: what is well is said to be, what is not comes with how to mend it."""

from __future__ import annotations

import fcntl
import shutil
import sys
import tempfile
from pathlib import Path

import pytest
import torch
from ranks import MpiRun

from allegro_md.cli import diagnosis, main
from allegro_md.comm import Comm
from allegro_md.simulation.host_info import host_info

LAUNCHERS = {
    # Two copies that take themselves for the only rank, as with the mpirun of another MPI.
    "of another MPI": ("for r in 0 1; do OMPI_COMM_WORLD_SIZE=2 OMPI_COMM_WORLD_RANK=$r $PROGRAM; done", "only one"),
    "that nobody told": ("$PROGRAM; $PROGRAM", "only rank"),
    "that fails": ("echo no slots left >&2; exit 1", "no slots left"),
    "that hangs": ("sleep 60", "no answer"),
}


@pytest.mark.parallel
def test_this_machine(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor"]) == 0
    out = capsys.readouterr().out
    caches = ("kernel cache", "table cache", "--no-cache")
    for word in ("torch", "h5py", "launcher", "MPI", "messages", *caches, "file locking", "cores"):
        assert word in out
    assert "wrong" not in out


@pytest.mark.parallel
def test_under_mpirun(mpirun: MpiRun) -> None:
    done = mpirun(2, ["-m", "allegro_md", "doctor"])
    assert "around 2 ranks" in done.stdout and done.stdout.count("file locking") == 1
    assert "launcher" not in done.stdout  # it need not be tried


@pytest.mark.parametrize("kind", LAUNCHERS)
def test_a_launcher(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    body, words = LAUNCHERS[kind]
    path = tmp_path / "mpirun"
    path.write_text(f'#!/bin/sh\nPROGRAM="{sys.executable} -m allegro_md.cli.mpi_check"\n{body}\n')
    path.chmod(0o755)
    monkeypatch.setattr(diagnosis, "LAUNCHER_SECONDS", 2.0 if kind == "that hangs" else 60.0)
    (finding,) = diagnosis.launcher(lambda name: str(path))
    assert finding.verdict == "wrong" and words in finding.found and str(path) in finding.found
    assert "mpirun" in finding.remedy


def test_no_launcher(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    (finding,) = diagnosis.launcher(lambda name: None)
    assert finding.verdict == "warning" and "one rank" in finding.found and "allegro-md[mpi]" in finding.remedy


def test_a_package_that_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(diagnosis, "PACKAGES", ("numpy", "no-such-package"))
    bad = [f for f in diagnosis.versions() if f.verdict != "ok"]
    assert [(f.verdict, f.what) for f in bad] == [("wrong", "no-such-package")]


def test_messages_that_arrive_damaged() -> None:
    (finding,) = diagnosis.ranks_found("MPI 9", 2, {"latency": 1.0, "bandwidth": 1.0, "intact": 0.0})
    assert finding.verdict == "wrong"


def test_places_that_cannot_be_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "file" / "cache"))
    cache = diagnosis.kernel_cache()
    assert cache.verdict == "warning" and "NUMBA_CACHE_DIR" in cache.remedy
    assert diagnosis.locking(tmp_path / "file").verdict == "warning"
    assert diagnosis.locking(tmp_path).verdict == "ok" and [p.name for p in tmp_path.iterdir()] == ["file"]

    def refuse(*arguments: object) -> None:
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(fcntl, "flock", refuse)
    assert "no two runs" in diagnosis.locking(tmp_path).remedy
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=5_000_000))
    assert "5 MB free" in diagnosis.scratch().found
    monkeypatch.setattr(tempfile, "TemporaryDirectory", refuse)
    assert diagnosis.hdf5().verdict == "wrong"


def test_a_gpu_nobody_can_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(diagnosis, "_DRIVER", tmp_path / "none")
    assert diagnosis.gpu().verdict == "ok"
    monkeypatch.setattr(diagnosis, "_DRIVER", tmp_path)
    for built, words in ((None, "CPU only"), ("12.8", "cannot use it")):
        monkeypatch.setattr(torch.version, "cuda", built)
        finding = diagnosis.gpu()
        assert finding.verdict == "warning" and words in finding.found


def test_something_wrong_is_status_2(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(diagnosis, "launcher", lambda: [diagnosis.Finding("wrong", "launcher", "x", "mend it")])
    assert main(["doctor"]) == 2
    out, err = capsys.readouterr()
    assert "mend it" in out and err == ""


def test_oversubscribed_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    (here,) = host_info(Comm.serial())
    crowd = [{**here, "cores": [0], "threads": 1, "rank": rank} for rank in range(3)]
    (finding,) = diagnosis.cores(crowd)
    assert finding.verdict == "warning" and "3 ranks share 1 cores" in finding.found and "mpirun" in finding.remedy
