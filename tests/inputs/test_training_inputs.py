"""Every input of `inputs/train` is valid where its data are, says what to expect, and trains."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import pytest
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write
from pydantic import BaseModel

from allegro_md.comm import Comm
from allegro_md.config.load import load_training
from allegro_md.config.training import (
    Cosine,
    DataConfig,
    DenseModel,
    LabelsConfig,
    LossConfig,
    Plateau,
    Ramp,
    ResidualModel,
    StartModel,
    TrainingConfig,
)
from allegro_md.config.training.schema import TrainingOutput
from allegro_md.models.modelfile import load_model
from allegro_md.training.session import TrainingRun

ROOT = Path(__file__).resolve().parents[2]
INPUTS = sorted((ROOT / "inputs" / "train").glob("*.toml"))
NAMES = [path.stem for path in INPUTS]
README = (ROOT / "inputs" / "train" / "README.md").read_text()


@pytest.fixture(scope="session")
def data_folder(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shared sets and, instead of the silver that a script makes in a minute, a few frames of another potential."""
    folder = tmp_path_factory.mktemp("data")
    for path in (shared / "data").iterdir():
        (folder / path.name).symlink_to(path)
    (folder / "silver-eam").mkdir()
    for number, name in enumerate(("train", "test")):
        frames = [bulk("Ag", a=4.09, cubic=True) for _ in range(12)]
        for seed, atoms in enumerate(frames):
            atoms.rattle(0.1, seed=100 * number + seed)
            atoms.calc = EMT()
            energy, forces, stress = atoms.get_potential_energy(), atoms.get_forces(), atoms.get_stress()
            atoms.calc = SinglePointCalculator(atoms, energy=energy, forces=forces, stress=stress)
        write(folder / "silver-eam" / f"{name}.extxyz", frames)
    return folder


def test_there_are_inputs() -> None:
    assert NAMES


@pytest.mark.parametrize("path", INPUTS, ids=NAMES)
def test_opens_with_what_to_expect(path: Path) -> None:
    head = path.read_text().split("\n\n[")[0]
    assert all(line.startswith("#") for line in head.splitlines())
    assert "Data:" in head and "Expect:" in head
    assert f"allegro-md train inputs/train/{path.name}" in head


@pytest.mark.parametrize("path", INPUTS, ids=NAMES)
def test_is_valid(path: Path, data_folder: Path) -> None:
    config = load_training(path, [f"data.folder={data_folder}"])
    assert isinstance(config.model, (DenseModel, ResidualModel))
    for name in (*config.data.train, *config.data.test):
        assert f"`{name.relative_to(data_folder).parent}`" in README


@pytest.mark.parametrize(
    "table",
    [LabelsConfig, DataConfig, DenseModel, ResidualModel, StartModel, LossConfig, Ramp,
     TrainingConfig, Plateau, Cosine, TrainingOutput],
    ids=lambda table: table.__name__,
)
def test_every_key_is_in_the_manual(table: type[BaseModel]) -> None:
    manual = (ROOT / "docs" / "training.md").read_text()
    assert not [key for key in table.model_fields if key != "kind" and f"`{key}`" not in manual]


SMALL = ["data.frames=4", "data.validation=2", "training.epochs=1", "training.batch=2"]
FEW = {"qm9-paper": ["model.channels=2", "model.latents=8"], "rmd17-paper": ["model.channels=2", "model.latents=8"]}
"""Smaller networks where the one of the input is for a GPU."""


@pytest.mark.parametrize(
    "path", [path if path.stem == "ethanol" else pytest.param(path, marks=pytest.mark.long) for path in INPUTS],
    ids=NAMES,
)  # fmt: skip
def test_trains_shortened(path: Path, data_folder: Path, tmp_path: Path) -> None:
    settings = [*SMALL, *FEW.get(path.stem, []), f"data.folder={data_folder}", f"output.directory={tmp_path / 'run'}"]
    config = load_training(path, settings)
    few = config.model_copy(update={"data": config.data.model_copy(update={"test": ()})})  # those take minutes
    (model,) = TrainingRun(few, Comm()).run()
    network = load_model(model)
    assert network.architecture.symbols
    with (tmp_path / "run" / "history.csv").open() as file:
        (row,) = csv.DictReader(file)
    assert math.isfinite(float(row["val_energy_rmse"]))
    assert math.isfinite(float(row["val_force_rmse"])) == (path.stem != "qm9-paper")
