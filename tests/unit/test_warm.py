"""`warm`: what it goes through is valid, and after it a run compiles nothing."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from allegro_md.cli import main
from allegro_md.config import load_input
from allegro_md.simulation.warming import trials


def test_inputs_are_valid(tmp_path: Path, root: Path) -> None:
    names = []
    for trial in trials([root / "inputs" / "models" / "cu.allegro"], tmp_path):
        (tmp_path / "input.toml").write_text(trial.text)
        load_input(tmp_path / "input.toml")
        names.append(trial.name)
    assert names == ["lj, all ensembles", "zbl, all observers", "eam", "cu, mixed", "cu, double"]


def test_only_the_first_process_of_a_host_compiles(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SLURM_LOCALID", "1")
    assert main(["warm"]) == 0 and capsys.readouterr().out == ""


def test_refused_where_nothing_can_be_kept(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("NUMBA_CACHE_DIR", f"{tempfile.gettempdir()}/allegro-md-x/0123")  # as where there is none
    assert main(["warm"]) == 2 and "set XDG_CACHE_HOME" in capsys.readouterr().err


def test_not_a_model(capsys: pytest.CaptureFixture[str]) -> None:
    """Said before anything is compiled."""
    assert main(["warm", "absent.allegro"]) == 2
    said = capsys.readouterr()
    assert "absent.allegro" in said.err and said.out == ""


@pytest.mark.long
def test_after_it_a_run_compiles_nothing(tmp_path: Path, root: Path) -> None:
    environment = {k: v for k, v in os.environ.items() if k != "NUMBA_CACHE_DIR"} | {"XDG_CACHE_HOME": str(tmp_path)}
    program = [sys.executable, "-m", "allegro_md"]

    def printed(*words: str | Path) -> str:
        done = subprocess.run([*program, *words], env=environment, capture_output=True, text=True, timeout=1500)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert "lj, all ensembles: " in printed("warm", root / "inputs" / "models" / "cu.allegro")
    for name in ("quickstart", "tension", "shock"):
        words = ["--set", "dynamics.steps=2", "--set", f'output.directory="{tmp_path / name}"']
        assert "compiling" not in printed(root / "inputs" / f"{name}.toml", *words)
