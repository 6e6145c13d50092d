"""Reading, excluding, dividing: the same every time, and no frame on both sides."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.io import read, write

from allegro_md.config.training import DenseModel, TrainingInput
from allegro_md.errors import InputError
from allegro_md.io.labeled import read_frames, write_hdf5
from allegro_md.models.allegro.network import Network
from allegro_md.models.modelfile import save_model
from allegro_md.training.dataset import Dataset, load_dataset, write_split
from allegro_md.training.network import architecture

A = 3.6


def image(seed: int, symbols: str = "Cu4", energy: float | None = None) -> Atoms:
    """An fcc cell with displaced atoms and forces of the right size."""
    rng = np.random.default_rng(seed)
    sites = A * np.array([[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]])
    atoms = Atoms(symbols, positions=sites + 0.05 * rng.normal(size=(4, 3)), cell=[A, A, A], pbc=True)
    atoms.info["energy"] = -14.0 + 0.1 * rng.normal() if energy is None else energy
    forces = 0.3 * rng.normal(size=(4, 3))
    atoms.arrays["forces"] = forces - forces.mean(axis=0)
    return atoms


def training(folder: Path, data: dict[str, Any], **tables: Any) -> TrainingInput:
    document = {
        "data": data, "model": {"cutoff": 4.0}, "training": {"epochs": 1}, "output": {"directory": "run"}, **tables,
    }  # fmt: skip
    return TrainingInput.model_validate(document, context={"base": folder})


def load(folder: Path, data: dict[str, Any], **tables: Any) -> Dataset:
    return load_dataset(training(folder, data, **tables))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path / "train.extxyz", [image(seed) for seed in range(20)])
    write(tmp_path / "more.extxyz", [image(seed) for seed in range(20, 30)])
    write(tmp_path / "test.extxyz", [image(seed) for seed in range(100, 105)])
    return tmp_path


def indices(frames: Sequence[Any]) -> list[int]:
    return [int(frame.source.rsplit(" ", 1)[1]) for frame in frames]


# --- division -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("validation", "held"), [(7, 7), (0.1, 2), (0.01, 1)])
def test_a_number_or_a_fraction_is_held_out(folder: Path, validation: float, held: int) -> None:
    dataset = load(folder, {"train": "train.extxyz", "validation": validation})
    train, other = indices(dataset.train), indices(dataset.validation)
    assert len(other) == held
    assert sorted(train + other) == list(range(20))
    assert train == sorted(train)


def test_the_seed_decides(folder: Path) -> None:
    drawn = [
        indices(load(folder, {"train": "train.extxyz", "validation": 5, "seed": seed}).validation)
        for seed in (1, 1, 2)
    ]  # fmt: skip
    assert drawn[0] == drawn[1] != drawn[2]


def test_the_draw_is_numpys_philox(folder: Path) -> None:
    dataset = load(folder, {"train": "train.extxyz", "validation": 5, "frames": 8, "seed": 3})
    order = np.random.Generator(np.random.Philox(3)).permutation(20)
    assert set(indices(dataset.validation)) == set(order[:5])
    assert set(indices(dataset.train)) == set(order[5:13])


def test_validation_of_its_own(folder: Path) -> None:
    dataset = load(folder, {"train": "train.extxyz", "validation": "more.extxyz", "test": "test.extxyz"})
    assert (len(dataset.train), len(dataset.validation)) == (20, 10)
    assert {name: len(frames) for name, frames in dataset.test.items()} == {"test": 5}


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"validation": 20}, "data.validation: 20 validation frames leave no training frame of 20"),
        ({"validation": 5, "frames": 16}, "data.frames: 16 .* there are 15 besides 5 for validation"),
        ({"validation": "more.extxyz", "frames": 21}, "data.frames: 21 .* there are 20"),
    ],
)
def test_more_than_there_is(folder: Path, data: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        load(folder, {"train": "train.extxyz", **data})


def test_test_files_of_one_name(folder: Path) -> None:
    for name in ("a", "b"):
        (folder / name).mkdir()
        write(folder / name / "test.extxyz", image(200 + ord(name)))
    tests = ["a/test.extxyz", "b/test.extxyz"]
    assert set(load(folder, {"train": "train.extxyz", "test": tests}).test) == {"a-test", "b-test"}


def test_hdf5_is_divided_as_text_is(folder: Path) -> None:
    config = training(folder, {"train": "train.extxyz", "validation": 5})
    write_hdf5(read_frames(folder / "train.extxyz", config.data.labels), folder / "train.h5")
    text, hdf5 = load_dataset(config), load(folder, {"train": "train.h5", "validation": 5})
    assert indices(text.validation) == indices(hdf5.validation)
    np.testing.assert_array_equal(text.train[3].forces, hdf5.train[3].forces)


@pytest.fixture
def database(folder: Path) -> Path:
    """The training frames as ASE writes them into LMDB, and two more that were deleted again."""
    from ase_db_backends.aselmdb import LMDBDatabase

    with LMDBDatabase(folder / "train.aselmdb") as target:
        for k, atoms in enumerate(read(folder / "train.extxyz", ":")):
            if k in (0, 5):
                target.write(image(300 + k))
            target.write(atoms, data={"config_type": "bulk"})
        target.delete([1, 7])
    return folder / "train.aselmdb"


def test_lmdb_is_divided_as_text_is(folder: Path, database: Path) -> None:
    config = training(folder, {"train": "train.extxyz", "validation": 5})
    text, lmdb = load_dataset(config), load(folder, {"train": "train.aselmdb", "validation": 5})
    assert indices(text.validation) == indices(lmdb.validation)
    for one, other in zip(text.train, lmdb.train, strict=True):
        assert one.energy == pytest.approx(other.energy, abs=1e-12) and other.kind == "bulk"
        assert one.forces is not None and other.forces is not None
        np.testing.assert_allclose(one.forces, other.forces, atol=1e-12)
        np.testing.assert_allclose(one.cell, other.cell, atol=1e-12)


def test_what_is_no_lmdb(folder: Path, database: Path) -> None:
    (folder / "torn.aselmdb").write_bytes(database.read_bytes()[:5000])
    (folder / "text.lmdb").write_text("no database")
    for name in ("torn.aselmdb", "text.lmdb"):
        with pytest.raises(InputError, match=f"{name}.*is not a readable LMDB"):
            load(folder, {"train": name})


def test_a_damaged_frame_is_named(folder: Path, database: Path) -> None:
    import lmdb

    with lmdb.open(str(database), subdir=False) as environment, environment.begin(write=True) as transaction:
        transaction.put(b"5", b"no row")
    with pytest.raises(InputError, match="train.aselmdb, frame 3: cannot be read .* — copy the file again"):
        load(folder, {"train": "train.aselmdb", "validation": 5})


@pytest.mark.parametrize("suffix", ["aselmdb", "h5"])
def test_what_a_set_on_disk_holds_is_said(folder: Path, database: Path, suffix: str) -> None:
    config = training(folder, {"train": "train.extxyz", "validation": 5})
    write_hdf5(read_frames(folder / "train.extxyz", config.data.labels), folder / "train.h5")
    with pytest.raises(InputError, match="no training frame has a known stress: the file has the entries .*forces"):
        load_dataset(training(folder, {"train": f"train.{suffix}", "validation": 5}, loss={"stress": 1.0}))


def test_a_named_energy_stays_named_in_messages(folder: Path) -> None:
    """The list of entries does not ask again which of two energies is meant."""
    from ase_db_backends.aselmdb import LMDBDatabase

    with LMDBDatabase(folder / "two.aselmdb") as target:
        for k, atoms in enumerate(read(folder / "train.extxyz", ":")):
            target.write(atoms, data={"dft_energy": -3.0 - k})
    data = {"train": "two.aselmdb", "validation": 5, "labels": {"energy": "energy"}}
    with pytest.raises(InputError, match="no training frame has a known stress: the file has the entries .*dft_energy"):
        load(folder, data, loss={"stress": 1.0})


# --- repetitions --------------------------------------------------------------------------------------------------


def test_excluded_frames_leave_the_training(folder: Path) -> None:
    write(folder / "out.extxyz", [image(3), image(200), image(7)])
    dataset = load(folder, {"train": "train.extxyz", "exclude": "out.extxyz", "test": "out.extxyz", "validation": 1})
    assert sorted(indices(dataset.train) + indices(dataset.validation)) == [k for k in range(20) if k not in (3, 7)]
    assert dataset.remarks == ["training frames excluded: 2 of 20"]


def test_the_same_configuration_written_otherwise(folder: Path) -> None:
    """Fewer digits, atoms in other images, other labels: still the frame that was trained on."""
    atoms = image(3, energy=-13.0)
    atoms.positions = np.round(atoms.positions, 5) + A * np.array([[1, 0, 0], [0, -2, 0], [0, 0, 0], [0, 0, 1]])
    other = image(4)
    other.positions[0, 0] += 1e-3
    write(folder / "out.extxyz", [other, atoms])
    with pytest.raises(InputError, match="test, out: 1 of its frames .*out.extxyz, frame 1 is train.extxyz, frame 3"):
        load(folder, {"train": "train.extxyz", "test": "out.extxyz"})


def test_training_frames_that_repeat_are_taken_once(folder: Path) -> None:
    write(folder / "twice.extxyz", [image(1), image(2), image(1), image(4), image(1, energy=-13.0)])
    dataset = load(folder, {"train": "twice.extxyz", "validation": 1})
    assert sorted(indices(dataset.train) + indices(dataset.validation)) == [0, 1, 3]
    (remark,) = dataset.remarks
    assert "repeated: 2, first twice.extxyz, frame 2, which is twice.extxyz, frame 0; 1 with another energy" in remark


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"validation": "some.extxyz"}, ("data.validation: 2 of its frames are in data.train", "data.exclude")),
        ({"test": "some.extxyz"}, ("data.test, some: 2 of its frames are in data.train", "exclude", "drop_repeats")),
        (
            {"validation": "other.extxyz", "test": "third.extxyz", "drop_repeats": True},
            ("data.test, third: 1 of its frames are in data.validation", "third.extxyz, frame 0 is other.extxyz"),
        ),
    ],
)
def test_frames_of_two_sets(folder: Path, data: dict[str, Any], words: tuple[str, ...]) -> None:
    write(folder / "some.extxyz", [image(200), image(3), image(7)])
    write(folder / "other.extxyz", [image(201), image(202)])
    write(folder / "third.extxyz", [image(202), image(203)])
    with pytest.raises(InputError) as caught:
        load(folder, {"train": "train.extxyz", **data})
    assert all(word in str(caught.value) for word in words), caught.value


def test_nothing_left(folder: Path) -> None:
    with pytest.raises(InputError, match="data.train: nothing is left"):
        load(folder, {"train": "train.extxyz", "exclude": "train.extxyz"})


def test_copper_less_the_frames_of_its_test(shared: Path) -> None:
    folder = shared / "data"
    names = [f"cu_snap/{name}.extxyz.xz" for name in ("AIMD", "Elastic", "Surface", "Vacancy")]
    given = {"train": names, "exclude": "mlearn/Cu/test.extxyz.xz", "test": "mlearn/Cu/test.extxyz.xz"}
    dataset = load(folder, {**given, "validation": 26})
    # 294 frames, 31 of the test among them, and one of the other 263 is there twice.
    assert (len(dataset.train), len(dataset.validation), len(dataset.test["test"])) == (262 - 26, 26, 31)
    assert dataset.remarks[0] == "training frames excluded: 31 of 294"
    assert dataset.remarks[1].startswith("training frames left out as repeated: 1, first Elastic.extxyz.xz, frame 104")


def test_3bpa_at_mixed_temperatures_holds_frames_of_its_training_set(shared: Path) -> None:
    given = {"train": "3bpa/train_300K.xyz.xz", "test": "3bpa/train_mixedT.xyz.xz"}
    with pytest.raises(InputError, match="train_mixedT: 31 of its frames are in data.train"):
        load(shared / "data", given)


# --- elements, and what else is known -----------------------------------------------------------------------------


def test_elements_are_in_the_order_of_their_numbers(folder: Path) -> None:
    write(folder / "alloy.extxyz", [image(seed, "AuCu2Ag") for seed in range(5)])
    assert load(folder, {"train": "alloy.extxyz"}).symbols == ("Cu", "Ag", "Au")
    model = {"cutoff": 4.0, "symbols": ["Au", "Ag", "Cu", "Pt"]}
    dataset = load(folder, {"train": "alloy.extxyz"}, model=model)
    assert dataset.symbols == ("Au", "Ag", "Cu", "Pt")
    assert dataset.remarks == ["no training frame has Pt, an element of the model"]


def test_a_trained_model_knows_its_elements(folder: Path) -> None:
    small = DenseModel.model_validate({"cutoff": 4.0, "layers": 1, "l_max": 1, "channels": 2})
    save_model(Network(architecture(small, ("Au", "Cu"), 12.0)).initialize(1), folder / "before.allegro")
    write(folder / "gold.extxyz", [image(seed, "Au4") for seed in range(3)])
    model = {"start": "before.allegro"}
    assert load(folder, {"train": "train.extxyz", "test": "gold.extxyz"}, model=model).symbols == ("Au", "Cu")


def test_isolated_atoms(folder: Path) -> None:
    write(folder / "atoms.extxyz", [Atoms(symbol, info={"energy": e}) for symbol, e in (("Cu", -0.25), ("H", -13.6))])
    assert load(folder, {"train": "train.extxyz", "isolated": "atoms.extxyz"}).isolated == {"Cu": -0.25, "H": -13.6}
    with pytest.raises(InputError, match="train.extxyz, frame 0: is not a single atom"):
        load(folder, {"train": "train.extxyz", "isolated": "train.extxyz"})


def test_the_split_is_written(folder: Path) -> None:
    given = {"train": ["train.extxyz", "more.extxyz"], "validation": 6, "test": "test.extxyz"}
    dataset = load(folder, given)
    write_split(dataset, folder / "split.json")
    split = json.loads((folder / "split.json").read_text())
    assert split["test test"] == {str(folder / "test.extxyz"): [0, 1, 2, 3, 4]}
    both = [(file, k) for name in ("train", "validation") for file, some in split[name].items() for k in some]
    assert sorted(both) == sorted(
        [(str(folder / "train.extxyz"), k) for k in range(20)] + [(str(folder / "more.extxyz"), k) for k in range(10)]
    )
    again = folder / "again.json"
    write_split(load(folder, given), again)
    assert again.read_text() == (folder / "split.json").read_text()
