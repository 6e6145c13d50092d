"""Observables while a simulation runs and afterwards: the same on any number of ranks, continued, and from its file."""

from __future__ import annotations

import csv
import json
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

COMMANDS = Path(__file__).resolve().parents[1] / "drivers" / "commands.py"

INPUT = """
[system]
structure = "salt.extxyz"
velocities = { temperature = 700.0, seed = 1 }
[[potential]]
kind = "lj"
pairs = { "Na-Na" = [0.0103, 2.6], "Na-Cl" = [0.012, 2.4], "Cl-Cl" = [0.009, 2.8] }
cutoff = 4.0
[dynamics]
ensemble = "nvt-nose-hoover"
temperature = 900.0
timestep = 4.0
steps = 200
[output]
trajectory = { every = 10, fields = ["position", "image", "velocity"], dtype = "float64" }
thermo = { every = 10 }
checkpoint = { every = 1000 }
observe = [
  OBSERVED
]
"""

OBSERVED: dict[str, str] = {
    "rdf": '{ kind = "rdf", every = 10, rmax = 12.0, bins = 150 }',
    "rdf-part": '{ kind = "rdf", name = "part", every = 10, rmax = 5.0, bins = 50, pairs = ["left-Cl", "all-left"], '
    "groups = { left = { region = { x = [0.0, 7.0] } }, Cl = { species = [\"Cl\"] }, all = { ids = [0, 5, 9, 40] } } }",
    "msd": '{ kind = "msd", every = 10 }',
    "adf": '{ kind = "adf", every = 10, cutoff = 4.2, bins = 90 }',
    "adf-part": '{ kind = "adf", name = "part", every = 20, cutoffs = { left-Cl = 3.9, all-all = 5.0 }, '
    'triplets = ["Cl-left-Cl", "all-all-all"], '
    'groups = { left = { region = { x = [0.0, 7.0] } }, Cl = { species = ["Cl"] }, all = { species = ["Na"] } } }',
    "coordination": '{ kind = "coordination", every = 10, cutoff = 3.6, cutoffs = { Na-Na = 4.5 } }',
    "steinhardt": '{ kind = "steinhardt", every = 20, cutoff = 4.0, l = [3, 4, 6] }',
    "steinhardt-nearest": '{ kind = "steinhardt", name = "nearest", every = 20, neighbors = 12, averaged = true }',
    "structure-factor": '{ kind = "structure-factor", every = 20, qmax = 6.0, vectors = 20 }',
    "averages": '{ kind = "averages", every = 10 }',
    "profile": '{ kind = "profile", every = 10, axis = "c", bins = 20, temperature = true }',
    "viscosity": '{ kind = "viscosity", every = 10, window = 300.0 }',
    "conductivity": '{ kind = "conductivity", every = 10, charges = { Na = 1, Cl = -2 }, temperature = 900.0 }',
    "van-hove": '{ kind = "van-hove", every = 10, times = [40, 400], origin_every = 2, bins = 40, rmax = 3.0 }',
    "vacf": '{ kind = "vacf", every = 10, window = 400.0, origin_every = 3 }',
    "thermal-conductivity": '{ kind = "thermal-conductivity", every = 10, window = 300.0 }',
    "heat-flux": '{ kind = "heat-flux", every = 10 }',
    "msd-plane": '{ kind = "msd", name = "plane", every = 10, axes = "xy", points = 4, species = ["Na"] }',
}
"""File name of a result → its line in the input."""

IN_RUN_ONLY = ("thermal-conductivity", "heat-flux")
"""Those that nothing stored will do for."""

EXACT = (
    "rdf", "rdf--sq", "rdf-part", "rdf-part--sq", "adf", "adf-part", "coordination", "steinhardt", "steinhardt-nearest",
    "structure-factor", "profile", "averages", "van-hove", "van-hove--non-gaussian",
)  # fmt: skip
"""Those whose bits are the same from a stored trajectory; the others agree to 1e-12."""


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, mpirun: Any) -> Path:
    """A run on one rank with all observers."""
    folder: Path = tmp_path_factory.mktemp("observed")
    write_salt(folder / "salt.extxyz")
    (folder / "input.toml").write_text(INPUT.replace("OBSERVED", ",\n  ".join(OBSERVED.values())))
    mpirun(1, ["-m", "allegro_md", folder / "input.toml"])
    return folder


def write_salt(path: Path) -> None:
    """Two elements in a triclinic cell that is thinner than the range of the observers."""
    rng = np.random.default_rng(3)
    cell = np.array([[14.0, 0.0, 0.0], [2.0, 11.0, 0.0], [-1.5, 1.0, 17.0]])
    grid = np.stack(np.meshgrid(*(np.arange(n) / n for n in (5, 4, 6)), indexing="ij"), -1).reshape(-1, 3)
    position = grid @ cell + rng.uniform(-0.25, 0.25, (len(grid), 3))
    rows = [f"{'Na' if k % 3 else 'Cl'} {x} {y} {z}" for k, (x, y, z) in enumerate(position.tolist())]
    lattice = " ".join(map(str, cell.ravel()))
    path.write_text(f'{len(rows)}\nLattice="{lattice}" Properties=species:S:1:pos:R:3\n' + "\n".join(rows) + "\n")


def table(path: Path) -> tuple[list[str], np.ndarray]:
    """Names of the columns of a CSV file, and the words in it; and its numbers."""
    lines = [line for line in path.read_text().splitlines() if not line.startswith("#")]
    names, *rows = csv.reader(lines)
    words = [cell for row in rows for cell in row if not is_number(cell)]
    return names + words, np.array([[float(cell) for cell in row if is_number(cell)] for row in rows])


def is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def results(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("*.csv"))


def require_same_bytes(one: Path, other: Path) -> None:
    assert results(one) == results(other)
    for name in results(one):
        lines = [[line for line in (place / name).read_text().splitlines() if line[0] != "#"] for place in (one, other)]
        assert lines[0] == lines[1], name


def place(folder: Path, name: str) -> Sequence[str]:
    return ["--set", f'output.directory="{folder / name}"']


@pytest.mark.parallel
@pytest.mark.parametrize("ranks", [2, 4])
def test_the_same_bytes_on_several_ranks(undisturbed: Path, tmp_path: Path, mpirun: Any, ranks: int) -> None:
    """Bricks are thinner than the distances observed, and far thinner than twice the cutoff."""
    mpirun(ranks, ["-m", "allegro_md", undisturbed / "input.toml", *place(tmp_path, "ranks")])
    require_same_bytes(undisturbed / "run" / "observe", tmp_path / "ranks" / "observe")


@pytest.mark.parallel
def test_a_failure_on_one_rank_ends_all(undisturbed: Path, tmp_path: Path, mpirun: Any) -> None:
    """While the others wait for a message from it: its cause is said, and nobody waits for ever."""
    driver = Path(__file__).resolve().parents[1] / "drivers" / "failing_observer.py"
    failed = mpirun(2, [driver, undisturbed / "input.toml", *place(tmp_path, "failed")], check=False, fresh=True)
    assert failed.returncode == 4, failed.stderr
    assert "allegro-md: observer 'rdf' failed on rank 1: MemoryError" in failed.stderr


@pytest.mark.parallel
def test_a_continuation_on_other_ranks_is_undisturbed(undisturbed: Path, tmp_path: Path, mpirun: Any) -> None:
    where = place(tmp_path, "parts")
    mpirun(3, ["-m", "allegro_md", undisturbed / "input.toml", *where, "--set", "dynamics.steps=70"])
    mpirun(2, ["-m", "allegro_md", undisturbed / "input.toml", *where, "--resume"])
    require_same_bytes(undisturbed / "run" / "observe", tmp_path / "parts" / "observe")


@pytest.mark.parallel
@pytest.mark.parametrize("ranks", [1, 3])
def test_the_stored_trajectory_gives_the_same(undisturbed: Path, tmp_path: Path, mpirun: Any, ranks: int) -> None:
    commands = []
    for line in (line for name, line in OBSERVED.items() if name not in IN_RUN_ONLY):
        kind, settings = keys(line)
        options = [part for key, value in settings for part in (f"--{key}", value)]
        frames = ["--frames", "::2"] if "every = 20" in line else []
        command = ["analyze", kind, undisturbed / "run", "--out", tmp_path / "stored", *options, *frames]
        commands.append([str(part) for part in command])
    (tmp_path / "jobs.json").write_text(json.dumps(commands))
    mpirun(ranks, [COMMANDS, tmp_path / "jobs.json", tmp_path / "statuses.json"])
    assert json.loads((tmp_path / "statuses.json").read_text()) == [0] * len(commands)
    observed = undisturbed / "run" / "observe"
    stored_names = results(tmp_path / "stored")
    assert [name for name in results(observed) if name.removesuffix(".csv") not in IN_RUN_ONLY] == stored_names
    for name in stored_names:
        (names, streamed), (same, stored) = table(observed / name), table(tmp_path / "stored" / name)
        assert names == same
        if name.removesuffix(".csv") in EXACT:
            np.testing.assert_array_equal(streamed, stored)
        else:
            largest = np.max(np.abs(np.nan_to_num(streamed)))
            np.testing.assert_allclose(streamed, stored, rtol=1e-12, atol=1e-12 * largest)


@pytest.mark.parallel
def test_an_empty_group_ends_all_ranks(undisturbed: Path, tmp_path: Path, mpirun: Any) -> None:
    line = '{ kind = "rdf", every = 10, groups = { far = { region = { x = [90.0, 99.0] } } } }'
    (tmp_path / "input.toml").write_text(INPUT.replace("OBSERVED", line))
    (tmp_path / "salt.extxyz").write_bytes((undisturbed / "salt.extxyz").read_bytes())
    done = mpirun(2, ["-m", "allegro_md", tmp_path / "input.toml"], check=False, timeout=100)
    assert done.returncode == 2 and done.stderr.count("group 'far' holds no atom") == 1, done.stderr


def keys(line: str) -> tuple[str, list[tuple[str, str]]]:
    """Kind and keys of a table in the input, with values as text, without those that mean nothing for stored frames."""
    read = tomllib.loads(f"t = {line}")["t"]
    return read["kind"], [(key, as_toml(value)) for key, value in read.items() if key not in ("kind", "every", "after")]


def as_toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {as_toml(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(as_toml, value)) + "]"
    return f'"{value}"' if isinstance(value, str) else str(value).lower()
