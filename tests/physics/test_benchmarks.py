"""The benchmark scripts on systems of a few atoms: that they run, and that what they check is checked."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import copper_properties
import h5py
import numpy as np
import pytest
import read_back
import record_run
import size_sweep
import step_breakdown
import turns
import versus_nequip
import weak_scaling

from allegro_md.ase import AllegroCalculator

pytestmark = [pytest.mark.long, pytest.mark.parallel]

TINY = ["system.repeat=[3, 3, 4]", "dynamics.steps=4", "output.thermo.every=1", "output.trajectory.every=4"]


@pytest.fixture(scope="module")
def small_record(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return record_run.run(tmp_path_factory.mktemp("record") / "runs", "record", TINY)


def test_record_run(small_record: Any) -> None:
    record = record_run.described(small_record)
    assert (record["status"], record["atoms"], record["steps"]) == ("done", 71 * 36, 4)
    assert 0.1 < record["memory"]["peak_resident_GiB"] < 8.0
    assert record_run.compared(record, record)["largest_difference_of_temperature_sigma"] == 0.0
    hotter = record | {"temperature_K": [1.1 * kelvin for kelvin in record["temperature_K"]]}
    tenth = 0.1 * np.sqrt(1.5 * record["atoms"])
    assert record_run.compared(hotter, record)["largest_difference_of_temperature_sigma"] == pytest.approx(tenth)


def test_read_back(small_record: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(read_back, "PIECE", 1000)
    monkeypatch.setattr(read_back, "BLOCK", 1000)
    figures = read_back.read_back(small_record)
    assert figures["ids_once_in_checkpoint"] and figures["ids_once_in_frame"] and figures["positions_finite"]
    assert not figures["checksums_agree"]  # of other blocks
    monkeypatch.undo()
    assert read_back.read_back(small_record)["checksums_agree"]
    assert figures["largest_distance_between_checkpoint_and_frame_A"] < 1e-5
    with h5py.File(small_record / "checkpoint-4.h5", "r+") as file:
        file["id"][0, 7] = 8
    assert not read_back.read_back(small_record)["ids_once_in_checkpoint"]


def test_weak_scaling(tmp_path: Path) -> None:
    figures = weak_scaling.measure(tmp_path, (3, 3, 4), steps=2, rounds=2)
    assert figures["atoms_per_rank"] == 71 * 36
    assert len(figures["efficiency_of_each_turn"]) == 2


def test_size_sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(size_sweep, "MOST", 40)
    figures = size_sweep.measure(tmp_path, [(3, 3, 4), (4, 4, 4)], rounds=1)
    assert [size["atoms"] for size in figures["sizes"]] == [71 * 36, 71 * 64]


def test_step_breakdown(tmp_path: Path) -> None:
    chosen = ["system.repeat=[3, 3, 4]"]
    step = step_breakdown.phases(tmp_path, step_breakdown.SOURCE, chosen)
    figures = step_breakdown.table(step, step_breakdown.kernel(step_breakdown.SOURCE, chosen))
    assert figures["class"] == "bilinear"
    assert sum(part["share"] for part in figures["parts"].values()) == pytest.approx(1.0, abs=1e-3)


@pytest.mark.skipif(importlib.util.find_spec("allegro") is None, reason="nequip-allegro is not installed")
def test_versus_nequip(tmp_path: Path, shared: Path) -> None:
    figures = versus_nequip.measure(tmp_path, "ag-dense", 2, 2, 1, tmp_path / "packages")
    assert figures["atoms"] == 32
    assert figures["agreement"]["rms_difference_of_forces"] < 1e-4
    assert json.dumps(figures)


def test_copper_properties(root: Path) -> None:
    model = root / "inputs" / "models" / "cu.allegro"
    found = copper_properties.properties(AllegroCalculator(model, precision="double"))
    assert found.keys() == copper_properties.DFT.keys()
    assert found["lattice_constant_A"] == pytest.approx(3.638, abs=5e-4)  # inputs/models/README.md, computed otherwise
    assert found["bulk_modulus_GPa"] == pytest.approx(126.0, abs=1.0)


def test_turns_go_around(tmp_path: Path) -> None:
    pipes = turns.ring(tmp_path, 3)
    batons = [turns.Baton(*ends) for ends in pipes]
    batons[2].give()
    order = []
    for _ in range(2):
        for name, baton in enumerate(batons):
            baton.take()  # would wait for ever if it were another's turn
            order.append(name)
            baton.give()
    assert order == [0, 1, 2, 0, 1, 2]
