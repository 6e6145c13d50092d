"""An observer is one file and one registry line; what it streams is what its stored trajectory gives afterwards."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from allegro_md.comm import Comm
from allegro_md.config import load_input
from allegro_md.config.output import OBSERVERS
from allegro_md.config.registry import Entry
from allegro_md.errors import InputError
from allegro_md.simulation.run import Simulation

INPUT = """
[system]
crystal = { symbol = "Ar", lattice = "fcc", a = 5.6, repeat = [3, 3, 3], rattle = 0.2 }
velocities = { temperature = 300.0, seed = 1 }
[potential]
kind = "lj"
epsilon = 0.0103
sigma = 3.4
cutoff = 6.0
[dynamics]
ensemble = "nve"
timestep = 4.0
steps = 300
[output]
trajectory = { every = 10, fields = ["position", "image"], dtype = "float64" }
observe = [{ kind = "displacement", every = 10 }]
"""


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    OBSERVERS.register("displacement", Entry("displacement:DisplacementConfig", "displacement:build"))
    yield
    OBSERVERS.unregister("displacement")
    sys.modules.pop("displacement", None)


def run(folder: Path, settings: Sequence[str] = (), **options: Any) -> None:
    (folder / "input.toml").write_text(INPUT)
    config = load_input(folder / "input.toml", settings)
    Simulation.from_config(config, Comm.serial(), **options).run()


def test_streaming_equals_offline(tmp_path: Path) -> None:
    run(tmp_path)
    offline = import_module("displacement").offline
    streamed = np.loadtxt(tmp_path / "run" / "observe" / "displacement.csv", delimiter=",")
    stored = np.array(offline(tmp_path / "run" / "trajectory.h5"))
    assert streamed.shape == stored.shape == (31, 2) and streamed[-1, 1] > 1.0
    np.testing.assert_allclose(streamed, stored, rtol=1e-12, atol=1e-12)


def test_a_continuation_keeps_the_origin(tmp_path: Path) -> None:
    """To the last bit; the stored trajectory of both parts gives the same."""
    run(tmp_path)
    parts = f'output.directory="{tmp_path / "parts"}"'
    run(tmp_path, [parts, "dynamics.steps=130"])
    assert len((tmp_path / "parts" / "observe" / "displacement.csv").read_text().splitlines()) == 14
    run(tmp_path, [parts], resume=True)
    streamed = [(tmp_path / part / "observe" / "displacement.csv").read_bytes() for part in ("run", "parts")]
    assert streamed[0] == streamed[1] and streamed[0].count(b"\n") == 31
    stored = import_module("displacement").offline(tmp_path / "parts" / "trajectory.h5")
    np.testing.assert_allclose(np.loadtxt(streamed[1].decode().splitlines(), delimiter=","), stored, rtol=1e-12)


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    """And nothing half-written is left under its name."""
    run(tmp_path, ["dynamics.steps=10"])
    table = tmp_path / "run" / "observe" / "displacement.csv"
    before = table.read_bytes()
    table.with_name(table.name + ".part").mkdir()
    with pytest.raises(InputError, match="displacement.csv: cannot be written .* remove it"):
        run(tmp_path, ["dynamics.steps=30"], resume=True)
    assert table.read_bytes() == before


def test_a_state_that_cannot_be_saved_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = {"rows of this rank": np.zeros((2, 3))}
    monkeypatch.setattr(import_module("displacement").Displacement, "state_dict", lambda self: broken)
    with pytest.raises(TypeError, match="^the state of observer 'displacement' cannot be saved"):
        run(tmp_path, ["dynamics.steps=10"])
    assert not list((tmp_path / "run").glob("checkpoint-*"))


@pytest.mark.parallel
def test_the_same_bytes_on_three_ranks(tmp_path: Path, mpirun: Any) -> None:
    """Which continue what one rank began."""
    run(tmp_path)
    driver, directory = Path(__file__).parent / "displacement.py", tmp_path / "three"
    place = f'output.directory="{directory}"'
    run(tmp_path, [place, "dynamics.steps=130"])
    mpirun(3, [driver, "run", tmp_path / "input.toml", "--resume", "--set", place])
    streamed = [(folder / "observe" / "displacement.csv").read_bytes() for folder in (tmp_path / "run", directory)]
    assert streamed[0] == streamed[1]


def test_its_files_are_listed_and_replaced(tmp_path: Path) -> None:
    """A run without the observer that replaces one with it leaves none of its files."""
    run(tmp_path, ["dynamics.steps=10"])
    record = tmp_path / "run" / "run.json"
    files = ["observe/displacement.csv", "thermo.csv", "trajectory", "trajectory.h5"]
    assert json.loads(record.read_text())["observer_files"] == files
    (tmp_path / "run" / "notes.txt").write_text("keep")
    run(tmp_path, ["dynamics.steps=5", "output.observe=[]"], overwrite=True)
    assert json.loads(record.read_text())["observer_files"] == files[1:]
    left = {path.name for path in (tmp_path / "run").iterdir()}
    assert left == {"notes.txt", "run.json", "log.txt", "checkpoint-5.h5", *files[1:]}


def test_two_observers_of_one_name_are_refused(tmp_path: Path) -> None:
    """A checkpoint would keep the state of only one."""
    twice = "output.observe=[{kind='displacement', every=10}, {kind='displacement', every=20}]"
    with pytest.raises(InputError, match="2 observers are named 'displacement' — give each of them a name"):
        run(tmp_path, [twice])
    assert not (tmp_path / "run").exists()


def test_half_of_the_memory_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would not be counted at all."""
    displacement = import_module("displacement").Displacement
    monkeypatch.setattr(displacement, "bytes_held", lambda self, n_local: 24.0 * n_local, raising=False)
    with pytest.raises(TypeError, match="lacks bytes_while_called: reporting.HoldsMemory is all of bytes_held, bytes_"):
        run(tmp_path)


@pytest.mark.parametrize(
    ("lost", "protocol"), [("bytes_per_sample", "Writes"), ("flush", "Writes"), ("load_state_dict", "Stateful")]
)
def test_part_of_a_protocol_is_refused(
    tmp_path: Path, lost: str, protocol: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would not be called to write its file, or to take up its state."""
    monkeypatch.delattr(import_module("displacement").Displacement, lost)
    with pytest.raises(TypeError, match=f"'displacement' lacks {lost}: reporting.{protocol} is all of .*{lost}"):
        run(tmp_path)
