"""Independent replicas: the bits of runs made alone, on any number of ranks, also after a kill; common endings."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import runs

from allegro_md.comm import Comm
from allegro_md.config import load_input
from allegro_md.config.replicas import divide
from allegro_md.errors import InputError
from allegro_md.simulation.replicas import run_replicas
from allegro_md.simulation.run import Simulation

DRIVER = Path(__file__).resolve().parents[1] / "drivers" / "dying.py"

MpiRun = Callable[..., "subprocess.CompletedProcess[str]"]

STEPS = 40
COUNT = 3
INPUT = f"""
[system]
crystal = {{ symbol = "Ar", lattice = "fcc", a = 5.4, repeat = [4, 4, 4], rattle = 0.1, seed = 3 }}
velocities = {{ seed = 2 }}

[potential]
kind = "lj"
epsilon = 0.0103
sigma = 3.4
cutoff = 6.0

[dynamics]
ensemble = "nvt-langevin"
timestep = 4.0
steps = {STEPS}
seed = 7

[output]
directory = "DIRECTORY"
trajectory = {{ every = 7, fields = ["position", "image", "velocity", "force"], dtype = "float64" }}
thermo = {{ every = 5 }}
checkpoint = {{ every = 10, keep = 3 }}

[replicas]
count = {COUNT}
temperature = [60.0, 120.0]
"""


def write(folder: Path, name: str, *changes: tuple[str, str]) -> Path:
    return runs.write_changed(folder, name, INPUT, *changes)


def record(directory: Path) -> Any:
    return json.loads((directory / "replicas.json").read_text())


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Each replica as a run of its own, from its resolved input."""
    folder = tmp_path_factory.mktemp("alone")
    config = load_input(write(folder, "run"))
    for index in range(COUNT):
        path = folder / f"{index}.toml"
        path.write_text(config.replica(index).to_toml())
        Simulation.from_config(load_input(path), Comm.serial()).run()
    return folder / "run"


def assert_same(directory: Path, alone: Path) -> None:
    assert record(directory)["status"] == "done"
    for index in range(COUNT):
        runs.assert_same(directory / f"replica-{index}", alone / f"replica-{index}", STEPS)


def test_what_differs(tmp_path: Path) -> None:
    config = load_input(write(tmp_path, "run"))
    for index, kelvin in enumerate([60.0, 60.0 * 2**0.5, 120.0]):
        one = config.replica(index)
        assert one.system.crystal is not None and one.system.velocities is not None
        seeds = one.system.crystal.seed, one.system.velocities.seed, one.dynamics.seed  # type: ignore[attr-defined]
        assert seeds == (3 + index, 2 + index, 7 + index)
        temperatures = one.system.velocities.temperature, one.dynamics.temperature  # type: ignore[attr-defined]
        assert temperatures == pytest.approx((kelvin, kelvin), rel=1e-12)
        assert one.output.directory == tmp_path / "run" / f"replica-{index}"


def test_a_resolved_input_is_an_input(tmp_path: Path) -> None:
    config = load_input(write(tmp_path, "run"))
    (tmp_path / "again.toml").write_text(config.to_toml())
    assert load_input(tmp_path / "again.toml") == config


@pytest.mark.parametrize("count", [1, 3, 8])
@pytest.mark.parametrize("size", [1, 2, 3, 5, 8, 17])
def test_ranks_are_divided(count: int, size: int) -> None:
    """Every rank is in one group, every replica is made by one; groups are as equal as can be."""
    groups = divide(count, size)
    assert [rank for group in groups for rank in group.ranks] == list(range(size))
    assert [index for group in groups for index in group.replicas] == list(range(count))
    for shares in ([len(group.ranks) for group in groups], [len(group.replicas) for group in groups]):
        assert max(shares) - min(shares) <= 1 <= min(shares)


def test_one_after_the_other(alone: Path, tmp_path: Path) -> None:
    run_replicas(load_input(write(tmp_path, "run")), Comm.serial())
    assert_same(tmp_path / "run", alone)


@pytest.mark.parallel
@pytest.mark.parametrize("ranks", [4, *(pytest.param(ranks, marks=pytest.mark.long) for ranks in (1, 2, 3))])
def test_same_bits_as_alone(ranks: int, alone: Path, tmp_path: Path, mpirun: MpiRun) -> None:
    """One or several replicas on each rank, and one of them on two ranks."""
    mpirun(ranks, ["-m", "allegro_md", write(tmp_path, "run")])
    assert_same(tmp_path / "run", alone)


@pytest.mark.long
@pytest.mark.parallel
@pytest.mark.parametrize("call", [20, 60, 110])
def test_killed_and_continued(call: int, alone: Path, tmp_path: Path, mpirun: MpiRun) -> None:
    fault = {"fault": "kill", "rank": 1, "call": call, "log": str(tmp_path / "log")}
    killed = mpirun(2, [DRIVER, json.dumps(fault), write(tmp_path, "run")], check=False, fresh=True)
    assert killed.returncode != 0 and (tmp_path / "log").read_text().startswith("struck")
    mpirun(1, ["-m", "allegro_md", tmp_path / "run.toml", "--resume"])
    assert_same(tmp_path / "run", alone)


@pytest.mark.parallel
def test_a_failure_ends_all_with_one_message(alone: Path, tmp_path: Path, mpirun: MpiRun) -> None:
    """The hottest breaks a limit; the others stop with a checkpoint, and go on where it is lifted."""
    path = write(tmp_path, "run", (f"steps = {STEPS}", "steps = 100000"))
    failed = mpirun(2, ["-m", "allegro_md", path, "--set", "guard.max_force=0.15"], check=False)
    assert failed.returncode == 3, failed.stderr
    complaints = [line for line in failed.stderr.splitlines() if line.startswith("allegro-md:")]
    assert len(complaints) == 1 and re.match(r"allegro-md: replica [012]: .*0.15 eV/Å", complaints[0]), failed.stderr
    now = record(tmp_path / "run")
    assert now["status"].startswith("PhysicsError: replica ")
    states = [replica["status"].split(":")[0] for replica in now["replicas"]]
    assert "PhysicsError" in states and "running" not in states, states


@pytest.mark.parallel
def test_a_signal_to_one_rank_ends_all(alone: Path, tmp_path: Path, mpirun: MpiRun, mpi_launch: Any) -> None:
    """Each group stops after its step; what had not begun begins with --resume."""
    path = write(tmp_path, "run")
    endless = ["--set", "dynamics.steps=1000000", "--set", "output.checkpoint.every=10000"]
    job = mpi_launch(2, ["-m", "allegro_md", path, *endless])
    records = [tmp_path / "run" / f"replica-{index}" / "run.json" for index in (0, 1)]
    thermo = [file.with_name("thermo.csv") for file in records]
    deadline = time.monotonic() + 60
    while not all(file.exists() and file.stat().st_size > 600 for file in thermo) and time.monotonic() < deadline:
        time.sleep(0.01)
    rank = json.loads(records[1].read_text())["ranks"][0]["pid"]
    os.kill(rank, signal.SIGTERM)
    _, errors = job.communicate(timeout=60)
    assert job.returncode == 130, errors
    assert errors.count("interrupted; stopped after step") == 1, errors
    states = [replica["status"] for replica in record(tmp_path / "run")["replicas"]]
    assert states[0].startswith("InterruptedRun") and states[1].startswith("InterruptedRun"), states
    assert states[2] == "not begun"


def test_stages_of_replicas(tmp_path: Path) -> None:
    changes = (
        ("temperature = [60.0, 120.0]\n", ""), ("velocities = { seed", "velocities = { temperature = 90, seed"),
        ("seed = 7\n", "seed = 7\ntemperature = 90\n"),
        ("keep = 3 }\n", 'keep = 3 }\nobserve = [{ kind = "rdf", every = 3, rmax = 7.0, bins = 90 }]\n'),
    )  # fmt: skip
    path = write(tmp_path, "run", *changes)
    path.write_text(path.read_text() + '\n[[stage]]\nname = "a"\n[[stage]]\nname = "b"\ndynamics = { steps = 20 }\n')
    (tmp_path / "alone.toml").write_text(load_input(path).replica(2).to_toml().replace("replica-2", "alone"))
    run_replicas(load_input(path), Comm.serial())
    Simulation.from_config(load_input(tmp_path / "alone.toml"), Comm.serial()).run()
    runs.assert_same(tmp_path / "run" / "replica-2", tmp_path / "run" / "alone", STEPS + 20)
    first, second = (runs.rows(tmp_path / "run" / f"replica-{index}")[-1] for index in (0, 1))
    assert first["potential_eV"] != second["potential_eV"]


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (("count = 3", "count = 0"), "replicas.count: must be at least 1"),
        (("temperature = [60.0, 120.0]", "temperatures = [60.0, 120.0]"), "2 temperatures are given for 3 replicas"),
        (("temperature = [60.0, 120.0]", "temperature = [120.0, 60.0]"), "the first must be the lower one"),
        (("temperature = [60.0, 120.0]", "temperature = 60.0"), "expected [lowest, highest]"),
        (("velocities = { seed", "velocities = { temperature = 3, seed"), "velocities.temperature: each replica has"),
        (("seed = 7", "seed = 7\ntemperature = 90"), "dynamics.temperature: each replica has"),
        (("count = 3\ntemperature = [60.0, 120.0]", "count = 3\nexchange = { every = 10 }"), "required key is missing"),
        (("count = 3\n", "count = 3\nexchange = { every = 4 }\n"), "must be a multiple of the 4 steps"),
    ],
)
def test_refusals(change: tuple[str, str], complaint: str, tmp_path: Path) -> None:
    path = write(tmp_path, "run", change)
    with pytest.raises(InputError, match=re.escape(complaint)):
        load_input(path)


def test_refused_directories(tmp_path: Path) -> None:
    """Of a run without replicas, of more replicas, of another user's file."""
    path = write(tmp_path, "run", (f"steps = {STEPS}", "steps = 0"))

    def run(*settings: str, **options: bool) -> None:
        run_replicas(load_input(path, settings), Comm.serial(), **options)

    run()
    with pytest.raises(InputError, match="exists already"):
        run()
    with pytest.raises(InputError, match="holds replica-2, but the input has 2 replicas"):
        run("replicas.count=2", overwrite=True)
    run(overwrite=True)
    run(resume=True)
    (tmp_path / "run" / "run.json").write_text("{}")
    with pytest.raises(InputError, match="directory of a run without replicas"):
        run(resume=True)
    with pytest.raises(InputError, match="is for several replicas"):
        Simulation.from_config(load_input(path), Comm.serial())
