"""The protocols of `inputs/protocols` run, shortened, through all of their stages."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from ranks import MpiRun
from runs import assigned

from allegro_md.config import load_input

PROTOCOLS = sorted((Path(__file__).resolve().parents[2] / "inputs" / "protocols").glob("*.toml"))
STEPS = 60
"""Of each stage, at most."""


@pytest.mark.parametrize("path", PROTOCOLS, ids=[path.stem for path in PROTOCOLS])
def test_runs_through_all_stages(path: Path, tmp_path: Path, mpirun: MpiRun) -> None:
    stages = load_input(path).stages
    settings = [f'output.directory="{tmp_path / "run"}"', "system.crystal.repeat=[3,3,3]", "output.thermo.every=2"]
    settings += [f"stage.{k}.dynamics.steps={STEPS}" for k in range(len(stages))]
    settings += [f'stage.{k}.end.window="20 fs"' for k, stage in enumerate(stages) if stage.end]
    settings += [f"stage.{k}.end.within=0.5" for k, stage in enumerate(stages) if stage.end]
    mpirun(1, ["-m", "allegro_md", path, *assigned(settings)])
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert record["status"] == "done"
    assert [stage["name"] for stage in record["stages"]] == [stage.name for stage in stages]
    with (tmp_path / "run" / "thermo.csv").open() as file:
        rows = list(csv.DictReader(file))
    for made, asked in zip(record["stages"], stages, strict=True):
        assert made["ended_by"] == {"minimize": "finished"}.get(asked.name, "converged" if asked.end else "steps")
        folder = tmp_path / "run" / "observe" / asked.name
        kinds = [table.model_dump()["kind"] for table in asked.output.observe]
        assert sorted(file.stem for file in folder.glob("*.json")) == sorted(kinds)
        own = [row for row in rows if made["first_step"] < int(row["step"]) <= made["last_step"]]
        conserved = np.array([float(row["conserved_eV"]) for row in own])
        if asked.dynamics.ensemble == "npt-mtk":
            assert np.ptp(conserved) < 1e-3 * 108
    relaxed = [row for row in rows if int(row["step"]) <= record["stages"][0]["last_step"]][-1]
    assert abs(float(relaxed["pressure_GPa"])) < 0.5 and float(relaxed["kinetic_eV"]) == 0.0
