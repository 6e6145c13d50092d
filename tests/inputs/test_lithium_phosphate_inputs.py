"""The inputs of `inputs/li3po4`, three of them shortened: each goes on from the last frame of the one before."""

from __future__ import annotations

import csv
import tomllib
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.io import read
from ranks import MpiRun
from runs import assigned

from allegro_md.cli import main
from allegro_md.config import load_input

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "inputs" / "li3po4"
STAGES = ("melt", "quench", "produce")


@pytest.fixture(scope="module")
def thermo(mpirun: MpiRun, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[dict[str, float]]]:
    """The rows of thermo.csv of each stage."""
    folder = tmp_path_factory.mktemp("li3po4")
    found, start = {}, ROOT / "inputs" / "structures" / "li3po4-192.extxyz"
    for stage in STAGES:
        settings = ["dynamics.steps=20", f'output.directory="{folder / stage}"', f'system.structure="{start}"']
        mpirun(1, ["-m", "allegro_md", str(FOLDER / f"{stage}.toml"), *assigned(settings)], timeout=240)
        with (folder / stage / "thermo.csv").open() as file:
            found[stage] = [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)]
        start = folder / f"{stage}.extxyz"
        last_frame = ["convert", str(folder / stage / "trajectory.h5"), str(start), "--frames", "-1"]
        assert main(last_frame) == 0  # as the comments of the inputs tell to
    return found


@pytest.mark.parametrize("stage", [*STAGES, "long"])
def test_opens_with_what_to_expect(stage: str) -> None:
    head = (FOLDER / f"{stage}.toml").read_text().split("\n\n[")[0]
    assert all(line.startswith("#") for line in head.splitlines())
    assert "Expect:" in head
    assert f"allegro-md inputs/li3po4/{stage}.toml" in head


def test_long_run_is_valid_and_like_the_others() -> None:
    """Its dynamics differ in the number of steps; its observers leave out the 10 ps that quench.toml takes."""
    load_input(FOLDER / "long.toml")
    long, quench, produce = (tomllib.loads((FOLDER / f"{name}.toml").read_text()) for name in ("long", *STAGES[1:]))
    assert {**long["dynamics"], "steps": 0} == {**produce["dynamics"], "steps": 0}
    assert {table["after"] for table in long["output"]["observe"]} == {quench["dynamics"]["steps"]}


def test_starts_from_isolated_phosphate() -> None:
    atoms = read(ROOT / "inputs" / "structures" / "li3po4-192.extxyz")
    assert isinstance(atoms, Atoms)
    assert atoms.get_chemical_formula() == "Li72O96P24"
    distances = atoms.get_all_distances(mic=True)[np.ix_(atoms.numbers == 15, atoms.numbers == 8)]
    assert ((distances < 2.0).sum(axis=1) == 4).all()


def test_quench_has_new_velocities(thermo: dict[str, list[dict[str, float]]]) -> None:
    assert thermo["melt"][0]["temperature_K"] == pytest.approx(3000.0, rel=0.2)  # 192 atoms: ±6 %
    assert thermo["quench"][0]["temperature_K"] == pytest.approx(600.0, rel=0.2)
    assert thermo["quench"][0]["potential_eV"] == pytest.approx(thermo["melt"][-1]["potential_eV"], abs=1e-2)


def test_production_keeps_the_velocities(thermo: dict[str, list[dict[str, float]]]) -> None:
    """Positions and velocities are those of the last frame, in float32."""
    for column in ("potential_eV", "kinetic_eV"):
        assert thermo["produce"][0][column] == pytest.approx(thermo["quench"][-1][column], abs=1e-2)
