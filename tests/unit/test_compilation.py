"""Compiling is announced once, and is a phase of its own."""

from __future__ import annotations

import os
import tempfile
import threading
import time
from pathlib import Path

import numba
import pytest
from numba.core.event import trigger_event

from allegro_md.cli import diagnosis
from allegro_md.compilation import COMPILE, CompilationWatch
from allegro_md.kernel_cache import configure_numba, kept_kernels


def test_what_is_compiled_is_announced_once(capsys: pytest.CaptureFixture[str]) -> None:
    """One line for a function and the one that it calls, none for what is compiled already."""

    @numba.njit
    def inner(x: float) -> float:
        return 2.0 * x

    @numba.njit
    def outer(x: float) -> float:
        return inner(x) + 1.0

    with CompilationWatch(active=True) as watch:
        began = time.perf_counter()
        with watch.timers.phase("potential"):
            assert outer(2.0) == 5.0
        elapsed = time.perf_counter() - began
        once = watch.timers.seconds[COMPILE]
        with watch.timers.phase("potential"):
            assert outer(3.0) == 7.0
    printed = capsys.readouterr().out
    assert printed == f"compiling kernels, once per machine; they are kept in {os.environ['NUMBA_CACHE_DIR']}\n"
    assert 0.5 * elapsed < once < elapsed and watch.timers.seconds[COMPILE] == once
    assert watch.timers.seconds["potential"] + once <= time.perf_counter() - began
    outer(1)  # compiled for integers, and nobody watches any more
    assert watch.timers.seconds[COMPILE] == once and capsys.readouterr().out == ""


def test_other_ranks_and_other_threads_say_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    def compiling() -> None:
        with trigger_event("numba:compile", data={}):
            pass

    with CompilationWatch(active=False) as silent:
        compiling()
    with CompilationWatch(active=True) as other:
        thread = threading.Thread(target=compiling)
        thread.start()
        thread.join()
    assert capsys.readouterr().out == ""
    assert COMPILE in silent.timers.seconds and COMPILE not in other.timers.seconds


def test_where_no_folder_is_safe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A cache folder that others can write is not used; the line and `doctor` say that every start compiles."""
    shared = tmp_path / "allegro-md"
    shared.mkdir()
    shared.chmod(0o777)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("NUMBA_CACHE_DIR", "")
    monkeypatch.delenv("NUMBA_CACHE_DIR")
    monkeypatch.setattr(numba.config, "CACHE_DIR", numba.config.CACHE_DIR)  # what is set below is taken back
    configure_numba()
    assert os.environ["NUMBA_CACHE_DIR"].startswith(tempfile.gettempdir()) and kept_kernels() is None
    with CompilationWatch(active=True), trigger_event("numba:compile", data={}):
        pass
    assert capsys.readouterr().out.startswith("compiling kernels, at every start: there is no cache folder")
    for finding in (diagnosis.kernel_cache(), diagnosis.table_cache()):
        assert finding.verdict == "warning" and "every start" in finding.found and "XDG_CACHE_HOME" in finding.remedy
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "mine"))  # the remedy
    monkeypatch.delenv("NUMBA_CACHE_DIR")
    configure_numba()
    for finding in (diagnosis.kernel_cache(), diagnosis.table_cache()):
        assert finding.verdict == "ok" and str(tmp_path / "mine") in finding.found
