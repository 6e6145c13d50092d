"""Parallel tempering: the same exchanges and bits on any number of ranks and after any end; canonical averages."""

from __future__ import annotations

import csv
import json
import runpy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import runs
from scipy import stats

from allegro_md.accumulators.mean import Mean
from allegro_md.comm import Comm
from allegro_md.config import load_input
from allegro_md.errors import InputError, InterruptedRun
from allegro_md.io.exchanges import read_exchanges
from allegro_md.io.thermo import read_thermo
from allegro_md.simulation.replicas import run_replicas
from allegro_md.stopping import StopRequest

EXAMPLES = Path(__file__).resolve().parents[2] / "docs" / "examples"
DRIVER = Path(__file__).resolve().parents[1] / "drivers" / "dying.py"

MpiRun = Callable[..., "subprocess.CompletedProcess[str]"]

COUNT, STEPS = 3, 60
INPUT = f"""
[system]
crystal = {{ symbol = "Ar", lattice = "fcc", a = 5.4, repeat = [2, 2, 2], rattle = 0.1, seed = 3 }}
velocities = {{ seed = 2 }}

[potential]
kind = "lj"
epsilon = 0.0103
sigma = 3.4
cutoff = 5.0

[dynamics]
ensemble = "nvt-bussi"
timestep = 4.0
steps = {STEPS}

[output]
directory = "DIRECTORY"
trajectory = {{ every = 7, fields = ["position", "image", "velocity", "force"], dtype = "float64" }}
thermo = {{ every = 5 }}
checkpoint = {{ every = 15 }}

[replicas]
count = {COUNT}
temperature = [60.0, 80.0]
exchange = {{ every = 5, seed = 4 }}
"""
CHAIN = 'ensemble = "nvt-nose-hoover"'
NOISE = 'ensemble = "nvt-langevin"'


def write(folder: Path, name: str, *changes: tuple[str, str]) -> Path:
    return runs.write_changed(folder, name, INPUT, *changes)


def run(path: Path, *settings: str, resume: bool = False) -> None:
    run_replicas(load_input(path, settings), Comm.serial(), resume=resume)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One rank, undisturbed."""
    folder = tmp_path_factory.mktemp("tempering")
    run(write(folder, "run"))
    return folder / "run"


def assert_same(directory: Path, whole: Path) -> None:
    for name in ("exchanges.csv", "temperatures.csv"):
        assert (directory / name).read_bytes() == (whole / name).read_bytes()
    for index in range(COUNT):
        runs.assert_same(directory / f"replica-{index}", whole / f"replica-{index}", STEPS)
    exchanges = [json.loads((where / "replicas.json").read_text())["pairs"] for where in (directory, whole)]
    assert exchanges[0] == exchanges[1]


def test_files(whole: Path) -> None:
    rows = read_exchanges(whole / "exchanges.csv")
    assert rows.steps.tolist() == list(range(5, STEPS, 5))
    ladder = sorted(rows.temperatures[0])
    assert ladder == pytest.approx([60.0, 60.0 * (4 / 3) ** 0.5, 80.0])
    assert all(sorted(row) == ladder for row in rows.temperatures.tolist())
    pairs = json.loads((whole / "replicas.json").read_text())["pairs"]
    assert [pair["attempted"] for pair in pairs] == [6, 5] and sum(pair["accepted"] for pair in pairs) > 2
    for index in range(COUNT):
        thermo = runs.rows(whole / f"replica-{index}")
        assert [int(row["step"]) for row in thermo] == list(range(0, STEPS + 1, 5))
        energies = {int(row["step"]): float(row["potential_eV"]) for row in thermo}
        assert [energies[step] for step in rows.steps] == rows.potentials[:, index].tolist()
        conserved = [float(row["conserved_eV"]) for row in thermo]  # counts what exchanges give
        assert np.ptp(conserved) < 2e-4 < 0.02 < np.ptp([float(row["total_eV"]) for row in thermo])


def test_rows_at_a_temperature(
    whole: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The program of docs/examples finds the rows by temperature that a walk through both files finds."""
    ladder = load_input(whole.parent / "run.toml").replicas.temperatures  # type: ignore[union-attr]
    with (whole / "exchanges.csv").open() as file:
        changes = {int(row["step"]): row for row in csv.DictReader(file)}
    energies = []
    for index in range(COUNT):
        now = ladder[index]  # type: ignore[index]
        for row in runs.rows(whole / f"replica-{index}"):
            if np.isclose(now, 80.0):
                energies.append(float(row["potential_eV"]))
            step = int(row["step"])
            now = float(changes[step][f"temperature_{index}_K"]) if step in changes else now
    monkeypatch.setattr(sys, "argv", ["rows_at_temperature.py", str(whole), "80"])
    runpy.run_path(str(EXAMPLES / "rows_at_temperature.py"), run_name="__main__")
    expected = f"{len(energies)} rows at 80 K, mean potential energy {np.mean(energies):.6f} eV\n"
    assert capsys.readouterr().out == expected and len(energies) == 13


@pytest.mark.parametrize("ensemble", [CHAIN, NOISE])
def test_conserved_energy_counts_exchanges(ensemble: str, tmp_path: Path) -> None:
    run(write(tmp_path, "run", ('ensemble = "nvt-bussi"', ensemble)))
    for index in range(COUNT):
        thermo = runs.rows(tmp_path / "run" / f"replica-{index}")
        assert np.ptp([float(row["conserved_eV"]) for row in thermo]) < 4e-4
    moved = read_exchanges(tmp_path / "run" / "exchanges.csv").temperatures
    assert np.ptp(moved, axis=0).max() > 0.0


@pytest.mark.parametrize("ensemble", [CHAIN, pytest.param(NOISE, marks=pytest.mark.long)])
def test_continued_and_prolonged(ensemble: str, tmp_path: Path) -> None:
    """To step 30 (an exchange is due there) or 40, then to the end: the same as at once."""
    change = ('ensemble = "nvt-bussi"', ensemble)
    run(write(tmp_path, "whole", change))
    run(write(tmp_path, "run", change), "dynamics.steps=30")
    run(tmp_path / "run.toml", "dynamics.steps=40", resume=True)
    run(tmp_path / "run.toml", resume=True)
    assert_same(tmp_path / "run", tmp_path / "whole")


def test_interrupted(whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A signal stops all replicas at the next exchange; one damaged checkpoint takes all back to the one before."""
    asked = iter([0, 0, 0, 0, 1])
    monkeypatch.setattr(StopRequest, "wanted", lambda self: next(asked, 0))
    with pytest.raises(InterruptedRun, match="interrupted; all replicas stopped after step 25"):
        run(write(tmp_path, "run"))
    for index in range(COUNT):
        record = json.loads((tmp_path / "run" / f"replica-{index}" / "run.json").read_text())
        assert record["status"].startswith("InterruptedRun") and record["step"] == 25
    assert json.loads((tmp_path / "run" / "replicas.json").read_text())["exchanges"] == 4
    damaged = tmp_path / "run" / "replica-1" / "checkpoint-25.h5"
    damaged.write_bytes(damaged.read_bytes()[:-500])
    run(tmp_path / "run.toml", resume=True)
    assert "going on from step 15" in (tmp_path / "run" / "log.txt").read_text()
    assert_same(tmp_path / "run", whole)


def test_an_error_in_one_replica_ends_all(tmp_path: Path) -> None:
    """The others keep a checkpoint, and nothing of theirs is lost."""
    path = write(tmp_path, "run", ("steps = 60", "steps = 5000"))
    with pytest.raises(Exception, match=r"^replica \d: ") as caught:
        run(path, "guard.max_force=0.2")
    assert type(caught.value).__name__ == "PhysicsError"
    status = [json.loads(file.read_text())["status"] for file in (tmp_path / "run").glob("replica-*/run.json")]
    assert len(status) == COUNT and sum(text.startswith("PhysicsError") for text in status) == 1, status
    assert sum("another replica has ended early" in text for text in status) == COUNT - 1


@pytest.mark.parallel
@pytest.mark.parametrize("ranks", [2, pytest.param(4, marks=pytest.mark.long)])
def test_same_exchanges_on_any_number_of_ranks(ranks: int, whole: Path, tmp_path: Path, mpirun: MpiRun) -> None:
    mpirun(ranks, ["-m", "allegro_md", write(tmp_path, "run")])
    assert_same(tmp_path / "run", whole)


@pytest.mark.parallel
@pytest.mark.parametrize("call", [115, *(pytest.param(call, marks=pytest.mark.long) for call in range(10, 190, 11))])
def test_killed_and_continued(call: int, whole: Path, tmp_path: Path, mpirun: MpiRun) -> None:
    fault = {"fault": "kill", "rank": 0, "call": call, "log": str(tmp_path / "log")}
    killed = mpirun(2, [DRIVER, json.dumps(fault), write(tmp_path, "run")], check=False, fresh=True)
    assert killed.returncode != 0, (tmp_path / "log").read_text()
    run(tmp_path / "run.toml", resume=True)
    assert_same(tmp_path / "run", whole)


def test_damaged_beyond_repair(tmp_path: Path) -> None:
    run(write(tmp_path, "run"))
    exchanges = tmp_path / "run" / "exchanges.csv"
    text = exchanges.read_text()
    exchanges.write_text("".join(text.splitlines(keepends=True)[:-3]))
    with pytest.raises(InputError, match="does not have the exchanges made before step"):
        run(tmp_path / "run.toml", "dynamics.steps=90", resume=True)
    exchanges.unlink()
    with pytest.raises(InputError, match="no such file — restore it"):
        run(tmp_path / "run.toml", "dynamics.steps=90", resume=True)
    exchanges.write_text(text)
    with pytest.raises(InputError, match="but the run began with"):
        run(tmp_path / "run.toml", "replicas.exchange.every=15", resume=True)
    for file in (tmp_path / "run" / "replica-2").glob("checkpoint-*.h5"):
        file.write_bytes(b"")
    with pytest.raises(InputError, match="no undamaged checkpoint of one and the same step"):
        run(tmp_path / "run.toml", "dynamics.steps=90", resume=True)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ([("temperature = [60.0, 80.0]", "temperatures = [60.0, 90.0, 80.0]")], "temperatures must rise"),
        (
            [("temperature = [60.0, 80.0]\n", ""), ("{ seed = 2 }", "{ temperature = 60.0 }"),
             ('"nvt-bussi"', '"nvt-bussi"\ntemperature = 60.0')],
            "there are no temperatures to exchange",
        ),
        ([("every = 15", "every = 16")], "must be a multiple of the 5 steps between exchanges"),
        ([("every = 15", "every = 15, keep = 1")], "keep at least 2"),
        ([('"nvt-bussi"', '"npt-mtk"\npressure = 0.1')], "npt-mtk changes the cell"),
        ([('"nvt-bussi"', '"nve"')], "nve has no thermostat"),
        ([("count = 3", "count = 1"), ("temperature = [60.0, 80.0]", "temperatures = [60.0]")], "needs two replicas"),
        ([("[replicas]", "[guard]\nrollback = 1\n[replicas]")], "guard.rollback: a replica cannot go back alone"),
        ([("[output]", 'apply = [{ group = "a", force = [0, 0, 0.1] }]\n[[group]]\nname = "a"\nall = true\n[output]')],
         "dynamics.apply: the canonical ensemble"),
        ([("[output]",
           'thermostats = [{ group = "a", temperature = 9 }]\n[[group]]\nname = "a"\nall = true\n[output]')],
         "the groups of thermostats have temperatures"),
        ([("exchange = { every = 5, seed = 4 }", "exchange = { every = 0 }")], "replicas.exchange.every"),
    ],
)
def test_refusals(changes: list[tuple[str, str]], complaint: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=complaint):
        load_input(write(tmp_path, "run", *changes))


def test_not_canonical(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nvt-berendsen does not give the canonical ensemble"):
        run(write(tmp_path, "run", ("nvt-bussi", "nvt-berendsen")))


def accepted(low: float, high: float, freedom: int) -> float:
    """Mean of min(1, exp Δ) for harmonic energies: Gamma distributions of shape `freedom`/2, on a grid."""
    points = (np.arange(4000) + 0.5) / 4000
    cold, hot = (stats.gamma.ppf(points, 0.5 * freedom) * kelvin for kelvin in (low, high))
    delta = (1.0 / low - 1.0 / high) * (cold[:, None] - hot[None, :])
    return float(np.minimum(1.0, np.exp(np.minimum(0.0, delta))).mean())


@pytest.mark.long
def test_cold_crystal(tmp_path: Path) -> None:
    """Argon of 32 atoms below 10 K is nearly harmonic.

    Acceptance is that of Gamma distributions with 3N − 3 degrees of freedom, mean energies by temperature are those of
    canonical runs without exchanges; each replica is everywhere, about equally.
    """
    ladder = [6.0, 7.0, 8.2, 9.6]
    changes = [
        ("nvt-bussi", "nvt-langevin"), ("timestep = 4.0", 'timestep = 8.0\nfriction = "5/ps"'), ("a = 5.4", "a = 5.25"),
        ("rattle = 0.1", "rattle = 0.02"), ("steps = 60", "steps = 16000"), ("count = 3", "count = 4"),
        ("temperature = [60.0, 80.0]", f"temperatures = {ladder}"),
        ("exchange = { every = 5", "exchange = { every = 40"),
        ('trajectory = { every = 7, fields = ["position", "image", "velocity", "force"], dtype = "float64" }\n', ""),
        ("thermo = { every = 5 }", "thermo = { every = 40 }"), ("every = 15", "every = 4000"),
    ]  # fmt: skip
    path = write(tmp_path, "run", *changes)
    run(path)
    record = json.loads((tmp_path / "run" / "replicas.json").read_text())
    for pair in record["pairs"]:
        low, high = pair["temperatures_K"]
        ratio, expected = pair["accepted"] / pair["attempted"], accepted(low, high, 93)
        error = np.sqrt(expected * (1.0 - expected) / pair["attempted"])
        print(f"{pair['temperatures_K']} K: accepted {ratio:.3f}, harmonic {expected:.3f} ± {error:.3f}")
        assert abs(ratio - expected) < 4.0 * error
    rows = read_exchanges(tmp_path / "run" / "exchanges.csv")
    shares = np.array([[np.mean(rows.temperatures[:, k] == kelvin) for kelvin in ladder] for k in range(4)])
    print("shares", shares.round(3).tolist())
    assert np.abs(shares - 0.25).max() < 0.2
    with (tmp_path / "run" / "temperatures.csv").open() as file:
        tempered = list(csv.DictReader(file))
    alone: Any = write(tmp_path, "alone", *(change for change in changes if "exchange" not in change[0]),
                       ("exchange = { every = 5, seed = 4 }\n", ""))
    run(alone)
    for k, row in enumerate(tempered):
        energies = read_thermo(tmp_path / "alone" / f"replica-{k}" / "thermo.csv").columns["potential_eV"][50:]
        mean = Mean(1)
        mean.add(energies, first=0)
        found = mean.estimate()
        difference = float(row["potential_eV"]) - found.mean[0]
        error = float(np.hypot(float(row["error_eV"]), found.error[0]))
        print(f"{row['temperature_K']} K: differs by {difference:.6f} ± {error:.6f} eV")
        assert abs(difference) < 4.0 * error
