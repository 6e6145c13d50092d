"""Faults of a training input: one sentence that names the key and a remedy."""

from __future__ import annotations

from pathlib import Path

import pytest
from labeled import write_training

from allegro_md.config.load import load_training
from allegro_md.errors import InputError


@pytest.mark.parametrize(
    ("assignment", "words"),
    [
        ("training.learning_rate=-1", "training.learning_rate: must be greater than 0, got -1 — correct the value"),
        ("training.ema=1.0", "training.ema: must be less than 1, got 1.0 — correct the value"),
        ("model.envelope=1.5", "model.envelope: must be greater than or equal to 2, got 1.5 — correct the value"),
        ("training.optimizer=adm", "training.optimizer: "),
        ("training.epochs=0", "training.epochs: must be at least 1"),
        ("loss.energy=-1", "loss.energy: expected a weight, got -1"),
        ("data.train=[]", "data.train: an empty list of files — name at least one"),
    ],
)
def test_refused(tmp_path: Path, assignment: str, words: str) -> None:
    path = write_training(tmp_path)
    with pytest.raises(InputError) as caught:
        load_training(path, [assignment])
    assert f"{path} with --set, {words}" in str(caught.value) and " — " in str(caught.value)


def test_no_test_files_is_a_choice(tmp_path: Path) -> None:
    config = load_training(write_training(tmp_path), ["data.test=[]", "data.exclude=[]"])
    assert config.data.test == config.data.exclude == ()
