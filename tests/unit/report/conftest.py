"""Run directories for the report: one short run, and copies of it in which something is different."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from allegro_md.cli import main

INPUT = """
[system]
crystal = { symbol = "Ar", lattice = "fcc", a = 5.26, repeat = [4, 4, 4], rattle = 0.05, seed = 3 }
velocities = { temperature = 60.0, seed = 2 }
[potential]
kind = "lj"
epsilon = 0.0103
sigma = 3.4
cutoff = 8.0
[dynamics]
ensemble = "nvt-nose-hoover"
timestep = 4.0
steps = 200
temperature = 30.0
[output]
trajectory = { every = 50 }
thermo = { every = 2 }
checkpoint = { every = 100 }
"""

CopyRun = Callable[..., Path]


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of 256 atoms that is done; not to be changed."""
    folder = tmp_path_factory.mktemp("report")
    (folder / "argon.toml").write_text(INPUT)
    assert main(["run", str(folder / "argon.toml"), "--set", f"output.directory={folder / 'run'}"]) == 0
    return folder / "run"


@pytest.fixture
def copy_run(finished: Path, tmp_path: Path) -> CopyRun:
    """A copy of the run with other entries in its record: `copy_run(status="running")`."""

    def copied(**entries: Any) -> Path:
        directory = tmp_path / "run"
        shutil.copytree(finished, directory)
        record = json.loads((directory / "run.json").read_text())
        (directory / "run.json").write_text(json.dumps(record | entries))
        return directory

    return copied
