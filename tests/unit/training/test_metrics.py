"""Errors against numbers worked out by hand, and against plain numpy over the whole set at once."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from allegro_md.io.labeled import Frame
from allegro_md.training.metrics import ErrorAccumulator, Metrics

WATER = Frame(
    numbers=np.array([8, 1, 1]),
    position=np.array([[0.0, 0.0, 0.0], [0.96, 0.0, 0.0], [-0.24, 0.93, 0.0]]),
    cell=np.eye(3) * 5.0,
    periodic=(True, True, True),
    energy=-10.0,
    forces=np.zeros((3, 3)),
    stress=np.zeros((3, 3)),
    kind="",
    source="by hand, frame 0",
)
HYDROGEN = replace(
    WATER, numbers=np.array([1, 1]), position=WATER.position[:2], energy=-4.0, forces=np.ones((2, 3)), stress=None
)


def test_by_hand() -> None:
    total = ErrorAccumulator()
    forces = np.zeros((5, 3))
    forces[0] = [0.3, 0.0, -0.4]  # oxygen: errors 300, 0, -400 meV/Å
    forces[3:] = 1.0
    forces[4, 2] = 1.6  # hydrogen: one error of 600 among twelve components
    stress = np.zeros((2, 3, 3))
    stress[0] = np.diag([0.01, 0.0, 0.0])
    total.add([WATER, HYDROGEN], np.array([-10.003, -3.996]), forces, stress)
    found = total.metrics()
    assert (found.frames, found.atoms) == (2, 5)
    assert found.energy is not None and found.energy_per_atom is not None
    assert found.energy.mae == pytest.approx(3.5)
    assert found.energy.rmse == pytest.approx(math.sqrt((9 + 16) / 2))
    assert found.energy_per_atom.mae == pytest.approx((1 + 2) / 2)
    assert found.energy_per_atom.rmse == pytest.approx(math.sqrt((1 + 4) / 2))
    assert found.forces is not None and found.forces.count == 15
    assert found.forces.mae == pytest.approx(1300 / 15)
    assert found.forces.rmse == pytest.approx(math.sqrt((300**2 + 400**2 + 600**2) / 15))
    assert list(found.forces_by_species) == ["H", "O"]
    assert found.forces_by_species["O"].rmse == pytest.approx(math.sqrt(500**2 / 3))
    assert found.forces_by_species["H"].mae == pytest.approx(600 / 12)
    assert found.stress is not None and found.stress.count == 9
    assert found.stress.mae == pytest.approx(160.2176634 * 1000 * 0.01 / 9)  # 1 eV/Å³ = 160.2 GPa
    assert found.by_kind == {}
    row = found.row("val_")
    assert row["val_energy_mae"] == found.energy_per_atom.mae and row["val_force_rmse"] == found.forces.rmse
    assert row["val_stress_rmse"] == pytest.approx(160.2176634 * 0.01 / 3)


def test_missing_labels_are_absent() -> None:
    total = ErrorAccumulator()
    bare = replace(WATER, energy=None, stress=None)
    total.add([bare], np.array([math.nan]), np.full((3, 3), 0.1), np.zeros((1, 3, 3)))
    found = total.metrics()
    assert found.energy is None and found.energy_per_atom is None and found.stress is None
    assert found.forces is not None and found.forces.mae == pytest.approx(100.0)
    assert math.isnan(found.row("")["energy_mae"])
    assert found.as_dict()["energy_meV"] is None
    assert ErrorAccumulator().metrics().forces is None


def random_set() -> tuple[list[Frame], NDArray[np.float64], NDArray[np.float64]]:
    rng = np.random.default_rng(3)
    frames = []
    for k in range(20):
        numbers = rng.choice([1, 6, 8], size=rng.integers(1, 6))
        frames.append(
            replace(WATER, numbers=numbers, position=rng.normal(size=(len(numbers), 3)), energy=float(rng.normal()),
                    forces=rng.normal(size=(len(numbers), 3)), kind=["bulk", "slab"][k % 2])
        )  # fmt: skip
    atoms = sum(len(frame.numbers) for frame in frames)
    return frames, rng.normal(size=20), rng.normal(size=(atoms, 3))


def tallied(steps: list[list[int]]) -> Metrics:
    """In batches; every second one summed by another process."""
    frames, energy, forces = random_set()
    ends = np.cumsum([len(frame.numbers) for frame in frames])
    accumulated = [ErrorAccumulator(), ErrorAccumulator()]
    for turn, step in enumerate(steps):
        rows = np.concatenate([np.arange(ends[k] - len(frames[k].numbers), ends[k]) for k in step])
        accumulated[turn % 2].add([frames[k] for k in step], energy[step], forces[rows])
    accumulated[0].merge(accumulated[1])
    return accumulated[0].metrics()


def test_batches_and_processes_do_not_matter() -> None:
    frames, energy, forces = random_set()
    numbers = np.concatenate([frame.numbers for frame in frames])
    error = 1000 * (forces - np.concatenate([frame.forces for frame in frames if frame.forces is not None]))
    slab = np.repeat([frame.kind == "slab" for frame in frames], [len(frame.numbers) for frame in frames])
    for steps in ([list(range(20))], [[k] for k in range(20)], [[5, 0, 7], [*range(8, 20), 6], [1, 2, 3, 4]]):
        found = tallied(steps)
        assert found.forces is not None and found.by_kind["slab"].forces is not None
        assert found.forces.rmse == pytest.approx(np.sqrt(np.mean(error**2)), rel=1e-12)
        assert found.forces_by_species["C"].mae == pytest.approx(np.abs(error[numbers == 6]).mean(), rel=1e-12)
        assert found.by_kind["slab"].forces.mae == pytest.approx(np.abs(error[slab]).mean(), rel=1e-12)
        assert found.by_kind["bulk"].frames == 10
        assert set(found.as_dict()["by_config_type"]) == {"bulk", "slab"}
