"""``allegro-md eval`` against the engine through ASE, and against numbers worked out with numpy."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator

from allegro_md.ase import AllegroCalculator
from allegro_md.cli import main
from allegro_md.training.calibration import calibrate
from allegro_md.training.evaluation import Evaluation
from allegro_md.training.metrics import ErrorAccumulator
from allegro_md.units import EV_PER_A3_IN_GPA

MODEL = str(Path(__file__).parents[3] / "inputs" / "models" / "silver.allegro")
KINDS = ("bulk", "slab", "bulk", "molecule")
PNG = b"\x89PNG\r\n\x1a\n"


def silver() -> list[Atoms]:
    """Cells smaller than the cutoff, a slab, a few atoms without a cell."""
    slab = bulk("Ag", a=4.1, cubic=True) * (1, 1, 2)
    slab.set_cell(np.diag([4.1, 4.1, 20.0]))
    slab.pbc = (True, True, False)
    frames = [bulk("Ag", a=4.0), slab, bulk("Ag", a=4.2, cubic=True), Atoms("Ag3", np.eye(3) * 2.0)]
    for k, atoms in enumerate(frames):
        atoms.rattle(0.05, seed=k)
        atoms.info["config_type"] = KINDS[k]
    return frames


@pytest.fixture(scope="module")
def labeled(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Atoms], list[Atoms]]:
    """A file of labels, its frames, and the same frames with the engine's results; labels differ by known noise."""
    calculator, rng = AllegroCalculator(MODEL, engine="reference", precision="double"), np.random.default_rng(5)
    exact, noisy = silver(), silver()
    for one, other in zip(exact, noisy, strict=True):
        one.calc = calculator
        results: dict[str, Any] = {"energy": one.get_potential_energy(), "forces": one.get_forces()}
        if one.cell.rank == 3:
            results["stress"] = one.get_stress()
        one.calc = SinglePointCalculator(one, **results)
        other.calc = SinglePointCalculator(
            other, **{name: value + rng.normal(scale=0.02, size=np.shape(value)) for name, value in results.items()}
        )
    path = tmp_path_factory.mktemp("labeled") / "silver.extxyz"
    ase.io.write(path, noisy)
    return path, noisy, exact


def evaluated(arguments: Sequence[str], capsys: pytest.CaptureFixture[str]) -> Any:
    assert main(["eval", *arguments, "--json", "-"]) == 0
    return json.loads(capsys.readouterr().out)


def force_errors(labels: Sequence[Atoms], model: Sequence[Atoms]) -> list[Any]:
    """meV/Å."""
    return [1000 * (b.get_forces() - a.get_forces()) for a, b in zip(labels, model, strict=True)]


def test_errors_are_those_of_the_engine(labeled: Any, capsys: pytest.CaptureFixture[str]) -> None:
    path, noisy, exact = labeled
    found = evaluated([MODEL, str(path)], capsys)["errors"]
    forces = force_errors(noisy, exact)
    energy = [
        1000 * (b.get_potential_energy() - a.get_potential_energy()) for a, b in zip(noisy, exact, strict=True)
    ]
    per_atom = [error / len(atoms) for error, atoms in zip(energy, noisy, strict=True)]
    tight: dict[str, Any] = {"rel": 1e-5}  # the file has eight digits behind the point
    assert found["frames"] == 4 and found["atoms"] == 1 + 8 + 4 + 3
    assert found["energy_meV"]["rmse"] == pytest.approx(np.sqrt(np.mean(np.square(energy))), **tight)
    assert found["energy_meV_per_atom"]["mae"] == pytest.approx(np.mean(np.abs(per_atom)), **tight)
    assert found["forces_meV_per_A"]["rmse"] == pytest.approx(np.sqrt(np.mean(np.vstack(forces) ** 2)), **tight)
    assert found["forces_by_species"]["Ag"] == found["forces_meV_per_A"]
    stress = [
        1000 * EV_PER_A3_IN_GPA * (b.get_stress(voigt=False) - a.get_stress(voigt=False))
        for a, b in zip(noisy[:3], exact[:3], strict=True)
    ]
    assert found["stress_MPa"]["count"] == 27
    assert found["stress_MPa"]["mae"] == pytest.approx(np.mean(np.abs(stress)), **tight)
    slab = found["by_config_type"]["slab"]["forces_meV_per_A"]
    assert slab["mae"] == pytest.approx(np.abs(forces[1]).mean(), **tight) and slab["count"] == 24
    assert found["by_config_type"]["bulk"]["frames"] == 2


def test_files(labeled: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, noisy, exact = labeled
    out = tmp_path / "errors"
    assert main(["eval", MODEL, str(path), "--out", str(out), "--worst", "2", "--by", "config_type"]) == 0
    shown = capsys.readouterr().out
    assert "meV/atom" in shown and "molecule" in shown and "MPa" in shown
    assert {p.name for p in out.iterdir()} == {"parity.png", "histogram.png", "histogram.csv", "worst.extxyz"}
    assert (out / "parity.png").read_bytes().startswith(PNG)
    with (out / "histogram.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert sum(int(row["count"]) for row in rows if row["quantity"] == "force Ag meV/A") == 3 * 16
    errors = force_errors(noisy, exact)
    order = np.argsort([-np.square(error).mean() for error in errors])
    worst = ase.io.read(out / "worst.extxyz", ":")
    for atoms, k in zip(worst, order[:2], strict=True):
        assert atoms.info["source"] == f"silver.extxyz, frame {k}" and atoms.info["config_type"] == KINDS[k]
        assert atoms.get_forces() == pytest.approx(noisy[k].get_forces(), abs=2e-8)
        assert atoms.arrays["model_forces"] == pytest.approx(exact[k].get_forces(), abs=2e-7)
        assert 1000 * atoms.arrays["force_error"] == pytest.approx(errors[k], abs=2e-4)
        assert atoms.info["model_energy"] == pytest.approx(exact[k].get_potential_energy(), abs=1e-6)


def test_units_and_keys(labeled: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, noisy, _ = labeled
    expected = evaluated([MODEL, str(path)], capsys)["errors"]
    frames = []
    for atoms in noisy:
        other = Atoms(atoms.symbols, atoms.positions, cell=atoms.cell, pbc=atoms.pbc)
        other.info["E"] = atoms.get_potential_energy() * 1000
        other.arrays["F"] = atoms.get_forces() * 1000
        frames.append(other)
    named = tmp_path / "named.extxyz"
    ase.io.write(named, frames)
    arguments = ["--energy-key", "E", "--force-key", "F", "--set", "data.labels.energy_unit=meV"]
    found = evaluated([MODEL, str(named), *arguments], capsys)["errors"]
    for name in ("energy_meV", "forces_meV_per_A"):
        assert found[name]["rmse"] == pytest.approx(expected[name]["rmse"], rel=1e-5)
    assert found["stress_MPa"] is None and "by_config_type" not in found


def test_float32_is_close_and_not_the_same(labeled: Any, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(labeled[0])
    double, single = (
        evaluated([MODEL, path, "--precision", word], capsys)["errors"]["forces_meV_per_A"]["rmse"]
        for word in ("float64", "float32")
    )
    assert single == pytest.approx(double, rel=1e-3) and single != double


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([MODEL], "needs a model and data"),
        ([MODEL, "COPPER"], "the model does not know Cu"),
        (["DATA", "DATA"], "not a model file"),
        ([MODEL, "BARE"], "holds no energies, forces or stresses"),
        ([MODEL, "BARE", "--energy-key", "ener"], "no frame has 'ener'"),
        ([MODEL, "DATA", "--by", "size"], "--by"),
        ([MODEL, "COPPER", "--by", "config_type"], "no frame has a config_type"),
        ([MODEL, "DATA", "--worst", "3"], "add --out DIR"),
        ([MODEL, "DATA", "--precision", "float16"], "use one of float64, float32"),
        ([MODEL, "DATA", "--set", "data.labels.energy_unit=eVs"], 'data.labels.energy_unit: unknown value "eVs"'),
        ([MODEL, "DATA", "--set", "data.train=x"], "unknown key"),
        ([MODEL, "DATA", "--json", "/no/such/folder/x.json"], "no such folder"),
        ([MODEL, "missing.xyz"], "no such file"),
    ],
)
def test_messages(
    arguments: list[str], message: str, labeled: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bare, copper = Atoms("Ag2", [[0, 0, 0], [2.5, 0, 0]]), Atoms("Cu2", [[0, 0, 0], [2.5, 0, 0]])
    copper.calc = SinglePointCalculator(copper, energy=1.0, forces=np.zeros((2, 3)))
    ase.io.write(tmp_path / "bare.extxyz", bare)
    ase.io.write(tmp_path / "copper.extxyz", copper)
    places = {"DATA": labeled[0], "BARE": tmp_path / "bare.extxyz", "COPPER": tmp_path / "copper.extxyz"}
    before = set(tmp_path.iterdir())
    assert main(["eval", *(str(places.get(word, word)) for word in arguments)]) == 2
    shown = capsys.readouterr()
    assert message in shown.err and len(shown.err.splitlines()) == 1 and not shown.out
    assert set(tmp_path.iterdir()) == before


def committee(noise: Any, rng: np.random.Generator) -> Evaluation:
    """Members whose forces scatter about the mean as the labels do, by a known amount per atom."""
    std = np.asarray(noise)
    count, members = len(std), 8
    scatter = rng.normal(size=(members, count, 3)) * std[:, None] / np.sqrt(3.0)
    labels = rng.normal(size=(count, 3)) * std[:, None] / np.sqrt(3.0) + scatter.mean(axis=0)
    metrics = ErrorAccumulator().metrics()
    return Evaluation(
        np.array([count]), np.full(count, 47), np.zeros(1), labels, np.zeros((members, 1)), scatter, metrics, [metrics]
    )


def test_calibration() -> None:
    rng = np.random.default_rng(2)
    good = calibrate(committee(np.exp(rng.normal(size=4000)), rng))
    assert good is not None
    assert good.spearman > 0.7 and good.ratio == pytest.approx(np.sqrt(8 / 7), rel=0.05) and good.area < 0.04
    assert good.error == pytest.approx(good.std * good.ratio, rel=0.15) and good.atoms.tolist() == [400] * 10
    assert good.as_dict()["bins"][9]["upper_meV_per_A"] == good.edges[-1]
    evaluation = committee(np.ones(4000), rng)
    far = evaluation.forces + 10 * rng.normal(size=(4000, 3))
    timid = calibrate(replace(evaluation, labeled_forces=far))
    assert timid is not None and timid.spearman == pytest.approx(0.0, abs=0.05) and timid.area > 0.4
    assert calibrate(replace(evaluation, member_forces=np.zeros((2, 4000, 3)))) is None


def test_standard_deviation_by_hand() -> None:
    forces = np.zeros((2, 1, 3))
    forces[:, 0] = [[1.0, 0.0, 2.0], [3.0, 0.0, 0.0]]  # off their mean by (∓1, 0, ±1)
    metrics = ErrorAccumulator().metrics()
    found = Evaluation(
        np.ones(1, int), np.array([1]), np.zeros(1), np.zeros((1, 3)), np.zeros((2, 1)), forces, metrics, [metrics]
    )
    assert found.force_std == pytest.approx([np.sqrt(2.0)])
    assert found.forces == pytest.approx(np.array([[2.0, 0.0, 1.0]]))


def test_a_committee_of_one_model_twice(labeled: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(labeled[0])
    alone, both = evaluated([MODEL, path], capsys), evaluated([MODEL, MODEL, path], capsys)
    assert both["errors"] == alone["errors"] and both["members"] == [alone["errors"]] * 2
    assert both["calibration"] is None  # nothing to calibrate: they never differ


def test_labels_are_checked_as_before_a_training(
    labeled: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Positions in bohr are refused; the remedy, given on the command line, helps."""
    images = ase.io.read(labeled[0], ":")
    for atoms in images:
        forces = atoms.get_forces()
        atoms.set_cell(atoms.cell.array / 0.529177, scale_atoms=False)
        atoms.positions /= 0.529177
        atoms.calc = SinglePointCalculator(atoms, forces=forces * 0.529177)
    ase.io.write(tmp_path / "bohr.extxyz", images)
    assert main(["eval", str(MODEL), str(tmp_path / "bohr.extxyz")]) == 2
    shown = capsys.readouterr().err
    assert 'data.labels.length_unit = "bohr"' in shown
    given = ["--set", "data.labels.length_unit=bohr"]
    assert main(["eval", str(MODEL), str(tmp_path / "bohr.extxyz"), *given]) == 0
