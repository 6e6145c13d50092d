"""``data.drop_repeats``: test frames that were trained on are left out, and nothing else is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write

from allegro_md.config.load import load_training
from allegro_md.errors import InputError
from allegro_md.training.dataset import load_dataset

INPUT = """
data = { train = "train.extxyz", test = "test.extxyz", validation = 2 }
model = { cutoff = 4.0 }
training = { epochs = 1 }
output = { directory = "run" }
"""


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Eight training frames; a test of three, the second of which is one of them."""
    frames = [Atoms("Cu3", positions=[[0, 0, 0], [2.5 + 0.1 * k, 0, 0], [0, 2.5, 0.2]]) for k in range(10)]
    for atoms in frames:
        atoms.calc = SinglePointCalculator(atoms, energy=-10.0, forces=np.full((3, 3), 0.1))
    write(tmp_path / "train.extxyz", frames[:8])
    write(tmp_path / "test.extxyz", [frames[8], frames[5], frames[9]])
    (tmp_path / "train.toml").write_text(INPUT)
    return tmp_path / "train.toml"


def test_they_are_refused_without_it(source: Path) -> None:
    with pytest.raises(InputError, match="drop_repeats"):
        load_dataset(load_training(source))


def test_they_are_left_out_with_it(source: Path) -> None:
    dataset = load_dataset(load_training(source, ["data.drop_repeats=true"]))
    assert [frame.position[1, 0] for frame in dataset.test["test"]] == pytest.approx([3.3, 3.4])
    assert len(dataset.train) + len(dataset.validation) == 8
    assert any("1 of 3" in remark for remark in dataset.remarks)
