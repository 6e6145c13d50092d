"""Studies and trials on real ranks: tiny ones, which show that all is measured and written, not how fast it is."""

from __future__ import annotations

import csv
import json
import tomllib
from pathlib import Path

import pytest
from ranks import MpiRun

from allegro_md.cli import main
from allegro_md.launcher import find_mpirun

ARGON = """
[system]
crystal = { symbol = "Ar", lattice = "fcc", a = 5.4, repeat = [4, 4, 4], rattle = 0.05 }
velocities = { temperature = 80.0, seed = 1 }
[potential]
kind = "lj"
epsilon = 0.0103
sigma = 3.405
cutoff = 6.0
[dynamics]
ensemble = "nve"
timestep = 2.0
steps = 10
[output]
directory = "run"
trajectory = { every = 5 }
"""
QUICK = ("--steps", "10", "--warmup", "2", "--repeats", "3")


@pytest.fixture
def argon(tmp_path: Path) -> Path:
    if find_mpirun() is None:
        pytest.skip("no mpirun: install the mpi extra")
    (tmp_path / "argon.toml").write_text(ARGON)
    return tmp_path / "argon.toml"


@pytest.mark.parallel
def test_a_weak_study(argon: Path, capfd: pytest.CaptureFixture[str]) -> None:
    folder = argon.parent / "study"
    assert main(["scale", "weak", str(argon), "--ranks", "2,1", "--out", str(folder), *QUICK]) == 0
    out = capfd.readouterr().out
    document = json.loads((folder / "scaling.json").read_text())
    assert [(row["ranks"], row["atoms"], row["turns"]) for row in document["rows"]] == [(1, 256, 3), (2, 512, 3)]
    for row in document["rows"]:
        assert row["us_per_atom_step"] == pytest.approx(1e6 * row["seconds_per_step"] / row["atoms"])
        assert row["ns_per_day"] == pytest.approx(2e-6 * 86_400 / row["seconds_per_step"])
        assert 0.1 < sum(row["slowest"].values()) < 1.2 and row["peak_memory_MB"] > 50
    assert document["failed"] == [] and document["machine"]["cores"] >= 1 and document["versions"]["numpy"]
    with (folder / "scaling.csv").open() as file:
        assert len(list(csv.reader(line for line in file if not line.startswith("#")))) == 3
    assert (folder / "scaling.png").exists() and not (argon.parent / "run").exists()
    assert out.count("turn 3 of 3") == 1 and "advice: " in out
    before = (folder / "scaling.csv").read_bytes()
    assert main(["scale", "collect", str(folder)]) == 0  # the same files from the same results
    assert (folder / "scaling.csv").read_bytes() == before


@pytest.mark.parallel
def test_with_output_and_a_size_that_fails(argon: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """A launcher that cannot start three ranks: the table tells, and the other sizes are there."""
    folder, launcher = argon.parent / "study", argon.parent / "launch"
    refuse = '[ "$1" = 3 ] && echo "no third rank" >&2 && exit 7'
    launcher.write_text(f'#!/bin/sh\n{refuse}\nexec {find_mpirun()} -n "$@"\n')
    launcher.chmod(0o755)
    words = ["--ranks", "1,3", "--out", str(folder), "--launcher", f"{launcher} {{n}}", "--with-output", *QUICK]
    assert main(["scale", "strong", str(argon), *words]) == 0
    out = capfd.readouterr().out
    document = json.loads((folder / "scaling.json").read_text())
    assert [row["ranks"] for row in document["rows"]] == [1] and document["rows"][0]["mean"]["output"] > 0.0
    assert "no third rank" in document["failed"][0]["reason"] and "no result: it ended with status 7" in out
    assert "with the files of the input" in out
    assert sorted(path.suffix for path in folder.glob("ranks-1*")) == [".json", ".log"]


@pytest.mark.parallel
def test_tune_on_two_ranks(argon: Path, mpirun: MpiRun) -> None:
    words = ["-m", "allegro_md", "tune", str(argon), "--repeats", "1", "--set", "parallel.skin=0.3"]
    found = mpirun(2, words).stdout
    settings = tomllib.loads(found).get("parallel", {})
    assert set(settings) <= {"skin", "grid"}
    assert "# skin 0.3 Å (now): " in found and "# grid [1, 1, 2] (now): " in found and "2 ranks" in found
    assert not (argon.parent / "run").exists() and list(argon.parent.iterdir()) == [argon]


@pytest.mark.parallel
@pytest.mark.parametrize("balance", ["auto", "off"])
def test_the_end_of_a_run_tells_how_even_it_was(argon: Path, mpirun: MpiRun, balance: str) -> None:
    words = ["-m", "allegro_md", str(argon), "--set", f"parallel.balance={balance}", "--set", "parallel.grid=[1, 1, 2]"]
    mpirun(2, words)
    record = json.loads((argon.parent / "run" / "run.json").read_text())
    log = (argon.parent / "run" / "log.txt").read_text().splitlines()
    begins = ["communication: ", "balance: ", "time: ", "floor: ", "advice: ", "done: 10 steps"]
    assert all(line.startswith(begin) for line, begin in zip(log[-6:], begins, strict=True))
    atoms = [rank["atoms"] for rank in record["ranks"]]
    if balance == "off":
        assert record["balance"]["off"] and record["balance"]["moves"] == 0
        assert record["balance"]["even"] == pytest.approx(max(atoms) / (sum(atoms) / 2), abs=1e-3)
        assert log[-5].startswith("balance: off; one rank has ")
    assert all(rank["cpu_s"] > 0.0 for rank in record["ranks"])


@pytest.mark.parallel
def test_studies_start_their_ranks_by_themselves(argon: Path, mpirun: MpiRun) -> None:
    done = mpirun(2, ["-m", "allegro_md", "scale", "strong", argon, "--out", argon.parent / "study"], check=False)
    assert done.returncode == 2 and done.stderr.count("start it without mpirun") == 1
    assert list(argon.parent.iterdir()) == [argon]
