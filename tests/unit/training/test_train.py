"""Whole trainings on tiny sets: they learn, and an interrupted one equals one that was not, bit for bit."""

from __future__ import annotations

import csv
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from ase.io import read
from labeled import alloy, frame, write_training

from allegro_md.ase import AllegroCalculator
from allegro_md.comm import Comm
from allegro_md.config.load import load_training
from allegro_md.errors import InputError, InterruptedRun, PhysicsError
from allegro_md.models.modelfile import load_model, read_document
from allegro_md.training import session
from allegro_md.training.session import TrainingRun
from allegro_md.training.train import Trainer

MpiRun = Callable[..., "subprocess.CompletedProcess[str]"]
COMMAND = [sys.executable, "-m", "allegro_md", "train"]


def train(path: Path, *overrides: str, resume: bool = False, overwrite: bool = False) -> list[Path]:
    return TrainingRun(load_training(path, overrides), Comm.serial()).run(resume=resume, overwrite=overwrite)


@pytest.fixture(autouse=True)
def without_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """They take longer than these trainings; those of `test_learns_copper`, a program of its own, are made."""
    monkeypatch.setattr(session, "write_report", lambda *arguments: None)


def history(directory: Path) -> list[dict[str, str]]:
    """Rows without what depends on the clock."""
    with (directory / "history.csv").open() as file:
        return [{k: v for k, v in row.items() if k not in ("seconds", "left_s")} for row in csv.DictReader(file)]


def status(directory: Path) -> str:
    return str(json.loads((directory / "train.json").read_text())["status"])


def assert_same_training(one: Path, other: Path) -> None:
    assert history(one) == history(other)
    digests = [read_document(place / "model.allegro")["digest"] for place in (one, other)]
    assert digests[0] == digests[1]


def test_learns_copper(tmp_path: Path, mpirun: MpiRun) -> None:
    """From the command line to a model whose forces on new configurations are close to those of the data."""
    path = write_training(tmp_path, frames=40, gold=0.0, epochs=25, optimizer="muon", schedule="cosine", layers=1)
    mpirun(0, ["-m", "allegro_md", "train", path, "--set", "training.learning_rate=0.05"])
    rows = history(tmp_path / "run")
    assert len(rows) == 25
    assert (tmp_path / "run" / "report.html").stat().st_size > 10_000
    assert float(rows[-1]["val_force_rmse"]) < 0.7 * float(rows[0]["val_force_rmse"])
    new = [alloy(seed, gold=0.0) for seed in range(100, 106)]
    labels = np.concatenate([atoms.get_forces() for atoms in new])
    network = load_model(tmp_path / "run" / "model.allegro")
    for atoms in new:
        atoms.calc = AllegroCalculator(network, precision="double")
    forces = np.concatenate([atoms.get_forces() for atoms in new])
    assert np.sqrt(np.mean((forces - labels) ** 2)) < 0.5 * np.sqrt(np.mean(labels**2))
    turn = np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))[0]
    turned = new[0].copy()
    turned.set_cell(new[0].cell.array @ turn.T)
    turned.positions = new[0].positions @ turn.T
    turned.calc = AllegroCalculator(network, precision="double")
    assert turned.get_potential_energy() == pytest.approx(new[0].get_potential_energy(), abs=1e-8)
    assert turned.get_forces() == pytest.approx(new[0].get_forces() @ turn.T, abs=1e-6)
    shortest = read_document(tmp_path / "run" / "model.allegro")["shortest_distance"]
    trained_on = json.loads((tmp_path / "run" / "split.json").read_text())
    assert trained_on and set(shortest) == {"Cu-Cu"}


@pytest.mark.parametrize(
    ("optimizer", "schedule", "precision"),
    [("adam", "plateau", "float32"), ("muon", "cosine", "float32"), ("amsgrad", "constant", "float64"),
     ("adamw", "plateau", "float32")],
)  # fmt: skip
def test_continued_is_undisturbed(tmp_path: Path, optimizer: str, schedule: str, precision: str) -> None:
    path = write_training(tmp_path, epochs=5, optimizer=optimizer, schedule=schedule, precision=precision)
    train(path)
    for walls in range(2):  # ends after one epoch, then after one more
        train(path, "output.directory=broken", "training.walltime=1e-9 s", resume=walls > 0)
        assert len(history(tmp_path / "broken")) == walls + 1
    train(path, "output.directory=broken", resume=True)
    assert_same_training(tmp_path / "run", tmp_path / "broken")


def killed_and_resumed(folder: Path, seed: int, times: int) -> None:
    """A program that is killed at random moments and started again until it is through."""
    path = write_training(folder, epochs=12)
    began = time.monotonic()
    subprocess.run([*COMMAND, str(path)], check=True, capture_output=True)
    whole = time.monotonic() - began
    rng, command = random.Random(seed), [*COMMAND, str(path), "--set", "output.directory=killed", "--resume"]
    for _ in range(times):
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as program:
            time.sleep(rng.uniform(0.3, 0.9) * whole)
            os.kill(program.pid, signal.SIGKILL)
    subprocess.run(command, check=True, capture_output=True)
    assert_same_training(folder / "run", folder / "killed")


def test_killed_and_resumed(tmp_path: Path) -> None:
    killed_and_resumed(tmp_path, 0, 1)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(1, 7))
def test_killed_at_other_moments(tmp_path: Path, seed: int) -> None:
    killed_and_resumed(tmp_path, seed, 3)


def test_ends_where_a_signal_asks_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At once, with the epochs done so far in the checkpoint."""
    path, epoch = write_training(tmp_path), Trainer.epoch

    def asked(trainer: Trainer) -> dict[str, float]:
        if trainer.course.epoch == 2:
            signal.raise_signal(signal.SIGUSR1)
        return epoch(trainer)

    monkeypatch.setattr(Trainer, "epoch", asked)
    with pytest.raises(InterruptedRun, match="in epoch 3"):
        train(path, "output.directory=broken")
    assert "interrupted" in status(tmp_path / "broken") and len(history(tmp_path / "broken")) == 2
    monkeypatch.undo()
    monkeypatch.setattr(session, "write_report", lambda *arguments: None)
    train(path)
    train(path, "output.directory=broken", resume=True)
    assert_same_training(tmp_path / "run", tmp_path / "broken")
    assert status(tmp_path / "broken") == "done"


@pytest.mark.parallel
def test_two_processes_are_one(tmp_path: Path, mpirun: MpiRun) -> None:
    """Up to rounding, in double precision; batches of three frames are divided two to one."""
    path = write_training(tmp_path, precision="float64", epochs=4)
    train(path)
    mpirun(2, ["-m", "allegro_md", "train", path, "--set", "output.directory=two"])
    one, two = history(tmp_path / "run"), history(tmp_path / "two")
    for row, other in zip(one, two, strict=True):
        for key, value in row.items():
            assert float(other[key]) == pytest.approx(float(value), rel=1e-9, nan_ok=True), key
    states = [load_model(tmp_path / name / "model.allegro").state_dict() for name in ("run", "two")]
    for name, tensor in states[0].items():
        torch.testing.assert_close(states[1][name], tensor, rtol=1e-8, atol=1e-10)


def test_a_committee_has_members_that_differ(tmp_path: Path) -> None:
    path = write_training(tmp_path, epochs=1)
    models = train(path, "training.seeds=[1, 2]")
    assert [model.name for model in models] == ["model-1.allegro", "model-2.allegro"]
    assert len({read_document(model)["digest"] for model in models}) == 2


def test_from_a_trained_model(tmp_path: Path) -> None:
    path = write_training(tmp_path, epochs=2)
    (first,) = train(path)
    (before, rest), after = path.read_text().split("[model]"), path.read_text().split("[loss]")[1]
    assert "cutoff" in rest
    again = tmp_path / "again.toml"
    again.write_text(f'{before}[model]\nstart = "{first}"\n\n[loss]{after}')
    (second,) = train(again, "output.directory=second", "training.epochs=1", "training.learning_rate=1e-9")
    old, new = (load_model(model).state_dict() for model in (first, second))
    for name, tensor in old.items():
        torch.testing.assert_close(new[name], tensor, rtol=1e-6, atol=1e-6)


def test_a_continuation_of_something_else(tmp_path: Path) -> None:
    path = write_training(tmp_path, epochs=2)
    train(path)
    for change in ("training.learning_rate=0.02", "model.channels=5", "loss.energy=2.0", "data.seed=2"):
        with pytest.raises(InputError, match="differ from those of the checkpoint"):
            train(path, change, resume=True)
    train(path, "training.epochs=3", resume=True)
    assert len(history(tmp_path / "run")) == 3
    with pytest.raises(InputError, match="exists already"):
        train(path)
    with pytest.raises(InputError, match="the model exists already"):
        train(path, "output.directory=other", f"output.model={tmp_path / 'run' / 'model.allegro'}")
    assert not (tmp_path / "other").exists()
    train(path, overwrite=True)
    assert len(history(tmp_path / "run")) == 2


def test_the_best_epoch_is_that_of_the_last_weights(tmp_path: Path) -> None:
    """Losses of early epochs, in which energies hardly count yet, are no measure."""
    path = write_training(tmp_path, epochs=8, stress=0.0)
    (model,) = train(path, "loss.energy={ first = 1e-3, last = 1e3, begin = 0, end = 6 }")
    errors = [(float(row["val_energy_rmse"]), float(row["val_force_rmse"])) for row in history(tmp_path / "run")]
    losses = [1e3 * (1e-3 * energy) ** 2 + (1e-3 * force) ** 2 for energy, force in errors]
    assert read_document(model)["training"]["epochs"] == f"8, the best was {1 + int(np.argmin(losses))}"


def test_a_loss_that_is_no_number(tmp_path: Path) -> None:
    path = write_training(tmp_path)
    with pytest.raises(PhysicsError, match="learning_rate too high"):
        train(path, "training.learning_rate=1e30", "training.epochs=50")
    assert status(tmp_path / "run").startswith("PhysicsError: the loss is")


def test_validation_is_the_error_of_the_saved_model(tmp_path: Path) -> None:
    """With the running mean of the weights, on the frames that the split names."""
    path = write_training(tmp_path, precision="float64")
    (model,) = train(path)
    best = read_document(model)["training"]["errors"]["validation"]
    data = TrainingRun(load_training(path), Comm.serial()).dataset
    network, errors = load_model(model), []
    everything = read(tmp_path / "train.extxyz", ":")
    for wanted in data.validation:
        (atoms,) = (a for a in everything if np.array_equal(a.positions.shape, wanted.position.shape)
                    and np.allclose(a.positions, wanted.position))  # fmt: skip
        labels = frame(atoms).forces
        atoms.calc = AllegroCalculator(network, engine="reference", precision="double")
        errors.append((atoms.get_forces() - labels).ravel())
    rmse = 1e3 * np.sqrt(np.mean(np.concatenate(errors) ** 2))
    assert rmse == pytest.approx(best["force_meV_A_RMSE"], rel=1e-3)
