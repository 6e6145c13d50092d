"""Reductions per step that a plan counts on one rank, beside those that two ranks make."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from ranks import MpiRun

from allegro_md.config import load_input
from allegro_md.scaling import calibration
from allegro_md.scaling.plan import make_plan

DRIVER = Path(__file__).resolve().parents[1] / "drivers" / "reductions.py"

INPUT = """
[system]
crystal = {{ symbol = "Ar", lattice = "fcc", a = 5.4, repeat = [5, 5, 5] }}
velocities = {{ temperature = {temperature}, seed = 1 }}
[potential]
kind = "lj"
epsilon = 0.0103
sigma = 3.405
cutoff = 6.0
[dynamics]
{dynamics}
timestep = 4.0
steps = 10000
[parallel]
skin = {skin}
balance = "off"
[output]
directory = "run"
thermo = {{ every = 0 }}
trajectory = {{ every = 0 }}
checkpoint = {{ every = 0 }}
"""
NVT = 'ensemble = "nvt-nose-hoover"\ntemperature = 20.0'
NPT = 'ensemble = "npt-mtk"\ntemperature = 20.0\npressure = 0.0'
CASES = {
    "nve, long windows": {"dynamics": 'ensemble = "nve"', "temperature": 20.0, "skin": 1.5},
    "nve, short windows": {"dynamics": 'ensemble = "nve"', "temperature": 80.0, "skin": 0.6},
    "nvt": {"dynamics": NVT, "temperature": 20.0, "skin": 1.5},
    "npt": {"dynamics": NPT, "temperature": 20.0, "skin": 1.5},
}


@pytest.mark.parallel
def test_plan_counts_what_two_ranks_make(mpirun: MpiRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exactly in ordinary steps; in windows as far as the steps between rebuilds are known. Rebuilds do not count."""
    monkeypatch.setattr(calibration, "SIZES", (500,))
    monkeypatch.setattr(calibration, "TRIAL_SECONDS", 0.05)
    files = [tmp_path / f"{index}.toml" for index in range(len(CASES))]
    for path, keys in zip(files, CASES.values(), strict=True):
        path.write_text(INPUT.format(**keys))
    found = dict(zip(CASES, json.loads(mpirun(2, [DRIVER, *files]).stdout.splitlines()[-1]), strict=True))
    plans = {name: make_plan(load_input(path), None, None, None) for name, path in zip(CASES, files, strict=True)}
    planned = {name: 1.0 / plan.intervals(500, 2).reduce for name, plan in plans.items()}
    for name in ("nvt", "npt"):
        assert found[name]["rebuilds"] == 0.0
        assert planned[name] == pytest.approx(found[name]["reductions"], abs=0.05), name
    for name in ("nve, long windows", "nve, short windows"):
        assert max(planned[name], found[name]["reductions"]) < 0.5
    assert planned["nve, short windows"] == pytest.approx(found["nve, short windows"]["reductions"], rel=0.4)
