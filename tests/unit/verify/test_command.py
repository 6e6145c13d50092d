"""The command, and the start of a run, with a right and with a wrong engine."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest

from allegro_md.cli import main
from allegro_md.evaluation import Evaluation
from allegro_md.potentials.lj import LennardJones
from allegro_md.verify.result import VerifyReport

INPUT = """
[system]
crystal = { symbol = "Ar", lattice = "fcc", a = 5.6, repeat = [2, 2, 2], rattle = 0.05 }
[system.velocities]
temperature = 100.0
[potential]
kind = "lj"
epsilon = 0.0103
sigma = 3.4
cutoff = 5.0
SHIFT
[dynamics]
ensemble = "nve"
timestep = 2.0
steps = 2
"""


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "in.toml"
    path.write_text(INPUT.replace("SHIFT", ""))
    return path


@contextmanager
def wrong_virial() -> Iterator[None]:
    right = LennardJones.__call__

    def wrong(self: Any, state: Any, lists: Any, needs: Any) -> Evaluation:
        result = right(self, state, lists, needs)
        if result.virial_per_atom is not None:
            result.per_atom["virial_per_atom"] = result.virial_per_atom * np.array([1, 1, 1, 1, -1, 1])
        return result

    with mock.patch.object(LennardJones, "__call__", wrong):
        yield


def test_what_is_right_passes(source: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", str(source)]) == 0
    out, err = capsys.readouterr()
    assert err == "" and "environment" in out and "FAILED" not in out
    assert [path.name for path in source.parent.iterdir()] == ["in.toml"]


def test_json_alone(source: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", str(source), "--json", "-"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["passed"] and {"name", "passed", "measured", "tolerance", "unit", "atom", "explanation"} <= set(
        document["checks"][0]
    )


def test_a_fault_ends_with_status_3_and_one_line(source: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out_file = source.parent / "out.json"
    with wrong_virial():
        assert main(["verify", str(source), "--json", str(out_file)]) == 3
    out, err = capsys.readouterr()
    assert err.count("\n") == 1 and "'virial' failed at atom" in err and "component xz" in err
    assert "FAILED" in out
    checks = json.loads(out_file.read_text())["checks"]
    assert {check["name"] for check in checks if not check["passed"]} == {"virial", "strain", "rotation", "reflection"}


def test_a_run_with_a_fault_does_not_start(source: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with wrong_virial():
        assert main([str(source), "--set", "output.directory=run"]) == 3
    assert "'virial' failed at atom" in capsys.readouterr().err
    record = json.loads((source.parent / "run" / "run.json").read_text())
    assert record["verify"]["passed"] is False and record["step"] == 0
    thermo = source.parent / "run" / "thermo.csv"
    assert not thermo.exists() or len(thermo.read_text().splitlines()) <= 1


def test_a_run_keeps_the_certificate(source: Path) -> None:
    assert main([str(source), "--set", "output.directory=run"]) == 0
    record = json.loads((source.parent / "run" / "run.json").read_text())
    assert record["verify"]["passed"] is True and record["verify"]["samples"] == 8
    assert "verify:" in (source.parent / "run" / "log.txt").read_text()


def test_the_certificate_changes_no_bit_of_a_run(source: Path) -> None:
    """With and without it: the same trajectory."""

    def table(name: str) -> list[str]:
        assert main([str(source), "--set", f"output.directory={name}", "--set", "output.thermo.every=1"]) == 0
        rows = (source.parent / name / "thermo.csv").read_text().splitlines()
        return [row.rpartition(",")[0] for row in rows]

    certified = table("with")
    with mock.patch("allegro_md.simulation.run.verify_start", lambda config, loop: VerifyReport([], 0, 0.0)):
        assert table("without") == certified
    assert len(certified) == 4


def test_a_truncated_potential_passes(source: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its energy jumps at the cutoff because the input says so."""
    source.write_text(INPUT.replace("SHIFT", "shift = false").replace("cutoff = 5.0", "cutoff = 3.96"))
    assert main(["verify", str(source), "--json", "-"]) == 0
    checks = {check["name"]: check for check in json.loads(capsys.readouterr().out)["checks"]}
    assert "as the input asks" in checks["cutoff"]["explanation"] and checks["drift"]["compared"] == 0
    assert checks["environment"]["compared"] > 0 and checks["force"]["compared"] > 0


def test_the_json_file_must_have_a_folder(source: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", str(source), "--json", str(source.parent / "none" / "out.json")]) == 2
    assert "no such folder" in capsys.readouterr().err
