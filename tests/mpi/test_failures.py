"""A fault on one rank only ends all: within seconds, with the right status, one message, and frames that last."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from ase.io import read
from runs import unhurried

DRIVER = Path(__file__).resolve().parents[1] / "drivers" / "dying.py"
PATIENCE = 10.0
"""Seconds from the fault to the end of the launcher."""

INPUT = """
[system]
crystal = {{ symbol = "Cu", lattice = "fcc", a = 3.64, repeat = [4, 4, 4], rattle = 0.05, seed = 1 }}
velocities = {{ temperature = 300.0, seed = 1 }}
[potential]
model = "{model}"
[dynamics]
ensemble = "nve"
timestep = 2.0
steps = 100000
[output]
directory = "run"
trajectory = {{ every = 1 }}
thermo = {{ every = 1 }}
checkpoint = {{ every = 5 }}
"""

STRIKE = 20
"""Evaluation in which the fault comes, after the first frame."""

ENDS: dict[str, tuple[int | None, str]] = {
    "die": (None, ""),  # the launcher's own status and words
    "nan": (3, "are not finite or out of range"),
    "exception": (1, "ZeroDivisionError: deep inside the model"),
    "disk": (4, "cannot write"),
    "observer": (4, "an observer has no room here"),
}
EVERYWHERE = [
    pytest.param(ranks, fault, marks=[] if ranks == 2 else [pytest.mark.long])
    for ranks in (2, 3, 4)
    for fault in ENDS
]


@pytest.mark.parallel
@pytest.mark.parametrize(("ranks", "fault"), EVERYWHERE)
def test_a_fault_on_one_rank_ends_all(
    ranks: int, fault: str, root: Path, tmp_path: Path, mpirun: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    path, run = tmp_path / "copper.toml", tmp_path / "run"
    path.write_text(INPUT.format(model=root / "inputs" / "models" / "cu.allegro"))
    what: dict[str, Any] = {"fault": fault, "rank": ranks - 1, "call": STRIKE}
    what |= {"log": str(tmp_path / "log"), "after": str(run / "trajectory.h5")}
    ended = mpirun(ranks, [DRIVER, json.dumps(what), path], check=False, fresh=fault in ("die", "exception"))
    took = time.time() - float((tmp_path / "log").read_text().split()[1])
    assert unhurried(took, PATIENCE, ranks) < PATIENCE, ended.stderr
    status, message = ENDS[fault]
    if status is None:
        assert ended.returncode not in (0, 2, 3, 4, 130)
    else:
        assert ended.returncode == status and ended.stderr.count(message) == 1, ended.stderr
        assert ("Traceback" in ended.stderr) == (fault == "exception")
    with h5py.File(run / "trajectory.h5") as file:
        steps = file["particles/all/position/step"][()]
        x = file["particles/all/position/value"][()]
    assert steps.tolist() == list(range(len(steps))) and len(steps) >= 1
    assert np.isfinite(x).all() and (np.ptp(x, axis=1) > 0.5 * 4 * 3.64).all()
    if fault in ("nan", "disk"):
        assert json.loads((run / "run.json").read_text())["status"].startswith(
            {"nan": "PhysicsError", "disk": "DiskFullError"}[fault]
        )
    if fault == "nan":
        assert_evidence(run, ended.stderr)


def assert_evidence(run: Path, message: str) -> None:
    """The emergency checkpoint holds all atoms; the atom of the message stands first in a picture of its neighbors."""
    (checkpoint,) = run.glob("emergency-*.h5")
    with h5py.File(checkpoint) as file:
        assert np.unique(file["id"][0]).tolist() == list(range(256)) and np.isfinite(file["position"][0]).all()
    picture: Any = read(checkpoint.with_suffix(".extxyz"))
    atom = int(message.split("forces on atom ")[1].split()[0])
    assert picture.arrays["id"][0] == atom == picture.info["atom"]
    assert len(picture) >= 13 and picture.arrays["distance_A"][1] < 3.0  # fcc: 12 neighbors at 2.57 Å
    d = picture.positions - picture.positions[0]
    np.testing.assert_allclose(np.linalg.norm(d, axis=1), picture.arrays["distance_A"], atol=1e-6)


@pytest.mark.parametrize("ranks", [1, pytest.param(2, marks=pytest.mark.parallel)])
def test_wrong_tables_do_not_start(
    ranks: int, root: Path, tmp_path: Path, mpirun: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    """A fast path that is wrong: found before step 0, with the atom, the error and what to do."""
    path, run = tmp_path / "copper.toml", tmp_path / "run"
    path.write_text(INPUT.format(model=shutil.copy(root / "inputs" / "models" / "cu.allegro", tmp_path)))
    what = json.dumps({"fault": "tables", "rank": None, "call": 0, "log": str(tmp_path / "log")})
    cache = tmp_path / "cache"  # of an interpreter of its own: a fork has its cache already
    ended = mpirun(ranks, [DRIVER, what, path], check=False, fresh=True, env={"XDG_CACHE_HOME": str(cache)})
    assert ended.returncode == 3, ended.stderr
    (line,) = ended.stderr.splitlines()
    assert re.search(r"'reference' failed at atom \d+: off by \S+ eV\S*, .* is allowed", line), line
    assert line.endswith('use engine = "reference"')
    assert json.loads((run / "run.json").read_text())["status"].startswith("PhysicsError")
    assert not list(run.glob("checkpoint-*")) and not (run / "thermo.csv").exists()
    assert not list(tmp_path.rglob("*.tables-*"))
    if ranks == 1:
        job = [DRIVER, what, path, "--overwrite", "--set", "dynamics.steps=2", "--set", 'potential.engine="reference"']
        assert "reference engine" in mpirun(ranks, job).stdout
