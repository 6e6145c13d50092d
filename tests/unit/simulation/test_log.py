"""Lines of a run's log: what is compiled, how long it will take, where the time went."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import Any

import pytest
from numba.core.event import trigger_event

from allegro_md.cli import main
from allegro_md.integrators.nve import VelocityVerlet
from allegro_md.potentials.lj import LennardJones
from allegro_md.simulation.progress import Progress

COMPILING = 0.6
"""Seconds that the pretended compilation of the first step takes."""

INPUT = """
[system]
crystal = { symbol = "Ar", lattice = "fcc", a = 5.4, repeat = [3, 3, 3] }
velocities = { temperature = 20.0, seed = 1 }
[potential]
kind = "lj"
epsilon = 0.0103
sigma = 3.4
cutoff = 6.0
[dynamics]
ensemble = "nve"
timestep = 2.0
steps = 10
[output]
directory = "run"
thermo = { every = 5 }
"""


@pytest.fixture
def source(tmp_path: Path) -> Path:
    (tmp_path / "in.toml").write_text(INPUT)
    return tmp_path / "in.toml"


def shares(line: str) -> dict[str, float]:
    """Per cent by phase."""
    return {name: float(value) for name, value in re.findall(r"([a-z]+) (\d+) %", line)}


def compile_at_first_call(monkeypatch: pytest.MonkeyPatch, owner: type, name: str) -> None:
    """The first call of a method pretends to compile for a while."""
    method = getattr(owner, name)
    compiled: list[bool] = []

    def slow(self: Any, *arguments: Any) -> Any:
        if not compiled:
            compiled.append(True)
            with trigger_event("numba:compile", data={}):
                time.sleep(COMPILING)
        return method(self, *arguments)

    monkeypatch.setattr(owner, name, slow)


def test_compiling_is_no_part_of_the_estimate(
    source: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first step compiles for longer than all steps take; speed, time left and phases are those without."""
    assert main([str(source)]) == 0  # all kernels there are
    capsys.readouterr()
    compile_at_first_call(monkeypatch, VelocityVerlet, "step")
    assert main([str(source), "--overwrite"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"reading {source}"
    assert sum(line.startswith("compiling kernels, once per machine; they are kept in ") for line in lines) == 1
    steps = [line for line in lines if line.startswith("step ")]
    micro = float(re.findall(r"([\d.]+) µs/\(atom·step\)", steps[0])[0])
    assert micro * 1e-6 * 108 * 10 < 0.5 * COMPILING
    record = json.loads((source.parent / "run" / "run.json").read_text())
    seconds = record["ranks"][0]["seconds"]
    assert seconds["compile"] == pytest.approx(COMPILING, rel=0.1) and seconds["integrate"] < 0.5 * COMPILING
    line = next(line for line in lines if line.startswith("time: "))
    total = float(line.split()[-2])
    assert line in (source.parent / "run" / "log.txt").read_text().splitlines()
    assert shares(line)["compile"] == pytest.approx(100 * COMPILING / total, abs=8)
    assert 90 <= sum(shares(line).values()) <= 105


def test_what_is_compiled_before_the_run_begins(
    source: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Atoms at rest under a thermostat: forces are evaluated and kernels compiled before the run directory is made."""
    at_rest = INPUT.replace("velocities = { temperature = 20.0, seed = 1 }", "")
    at_rest = at_rest.replace("repeat = [3, 3, 3]", "repeat = [3, 3, 3], rattle = 0.1")
    source.write_text(at_rest.replace('"nve"', '"nvt-nose-hoover"\ntemperature = 20.0'))
    assert main([str(source)]) == 0  # all kernels there are
    capsys.readouterr()
    compile_at_first_call(monkeypatch, LennardJones, "__call__")
    assert main([str(source), "--overwrite"]) == 0
    lines = capsys.readouterr().out.splitlines()
    line = next(line for line in lines if line.startswith("time: "))
    found, total = shares(line), float(line.split()[-2])
    assert found["compile"] == pytest.approx(100 * COMPILING / total, abs=8) and found.get("potential", 0.0) < 20
    assert 90 <= sum(found.values()) <= 102
    log = (source.parent / "run" / "log.txt").read_text().splitlines()
    assert sum(line.startswith("compiling kernels") for line in log) == 1


def test_a_warm_start_compiles_nothing(source: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(source)]) == 0
    capsys.readouterr()
    assert main([str(source), "--overwrite"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert not any(line.startswith("compiling") for line in lines)
    log = (source.parent / "run" / "log.txt").read_text().splitlines()
    assert [line for line in lines if not line.startswith("reading ")] == log
    begins = ["time: ", "floor: ", "advice: ", "done: 10 steps"]
    assert all(line.startswith(begin) for line, begin in zip(log[-4:], begins, strict=True))


def test_a_run_that_breaks_tells_its_time_too(
    source: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """And ends the live line of a terminal, which would else stay there without a cursor."""
    ended: list[Progress] = []
    monkeypatch.setattr(Progress, "close", lambda self: ended.append(self))
    assert main([str(source), "--set", "guard.max_temperature=1", "--set", "output.thermo.every=1"]) == 3
    assert sum(line.startswith("time: ") for line in capsys.readouterr().out.splitlines()) == 1
    assert len(ended) == 1
