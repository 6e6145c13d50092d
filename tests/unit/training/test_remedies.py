"""Each remedy that a message about labels prints is applied: the data are right then, or refused for a new reason."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write
from labeled import alloy

from allegro_md.comm import Comm
from allegro_md.config.training import LabelsConfig, TrainingInput
from allegro_md.errors import InputError
from allegro_md.io.labeled import LABELS, Frame, Notes, read_frames
from allegro_md.io.labeled_foreign import vasp_convergence
from allegro_md.training.dataset import Dataset, load_dataset
from allegro_md.training.length_checks import asymmetry
from allegro_md.training.session import TrainingRun
from allegro_md.training.unit_checks import UNEVEN

HARTREE, BOHR = 27.211386245981, 0.529177210544
Images = list[Atoms]


def crystals(count: int = 14) -> Images:
    """Copper in cells of different shapes, its labels in entries of the user's own."""
    images = []
    for seed in range(count):
        atoms = alloy(2 * seed, gold=0.0)
        atoms.info |= {"energy": atoms.get_potential_energy(), "sigma": atoms.get_stress(voigt=False)}
        atoms.arrays["force"] = atoms.get_forces()
        atoms.calc = None
        images.append(atoms)
    return images


def file(path: Path, images: Images, stress: Callable[[Atoms], Any] | None = None, key: str = "stress") -> None:
    """Writes extended XYZ as people do: any entry may be missing, and a stress be six or nine numbers in any unit."""
    lines = []
    for atoms in images:
        info = {name: value for name, value in atoms.info.items() if name != "sigma"}
        if stress is not None:
            info |= {key: stress(atoms)} if key else stress(atoms)
        words = [
            f'{name}="{" ".join(map(repr, np.ravel(value).tolist()))}"' if np.ndim(value) else f"{name}={value}"
            for name, value in info.items()
        ]
        columns = "species:S:1:pos:R:3" + (":forces:R:3" if "force" in atoms.arrays else "")
        if all(atoms.pbc):
            words.insert(0, f'Lattice="{" ".join(map(repr, atoms.cell.array.ravel().tolist()))}"')
        lines += [str(len(atoms)), f"Properties={columns} {' '.join(words)}"]
        force = atoms.arrays.get("force", np.zeros((len(atoms), 0)))
        for symbol, row in zip(atoms.symbols, np.hstack([atoms.positions, force]), strict=True):
            lines.append(" ".join([symbol, *map(repr, row.tolist())]))
    path.write_text("\n".join(lines) + "\n")


def load(
    folder: Path, labels: dict[str, Any] | None = None, data: dict[str, Any] | None = None, **loss: float
) -> Dataset:
    document = {
        "data": {"train": "train.xyz", "validation": 3, "labels": labels or {}, **(data or {})},
        "loss": {"stress": 1.0, **loss}, "model": {"cutoff": 4.0}, "training": {"epochs": 1},
        "output": {"directory": "run"},
    }  # fmt: skip
    return load_dataset(TrainingInput.model_validate(document, context={"base": folder}))


def refused(folder: Path, *words: str, labels: dict[str, Any] | None = None, **loss: float) -> dict[str, str]:
    """The keys of ``data.labels`` that the message tells to write."""
    with pytest.raises(InputError) as caught:
        load(folder, labels, None, **loss)
    assert all(word in str(caught.value) for word in words), caught.value
    return dict(re.findall(r'data\.labels\.(\w+) = "([^"]+)"', caught.value.remedy))


def check(dataset: Dataset, images: Images) -> None:
    """Compares with the labels in the package's units."""
    frames = {frame.source: frame for frame in (*dataset.train, *dataset.validation)}
    assert len(frames) == len(images)
    for k, atoms in enumerate(images):
        frame = frames[f"train.xyz, frame {k}"]
        assert frame.energy == pytest.approx(atoms.info["energy"])
        np.testing.assert_allclose(frame.forces, atoms.arrays["force"], rtol=1e-6, atol=1e-9)
        np.testing.assert_allclose(frame.stress, atoms.info["sigma"], rtol=1e-6, atol=1e-9)


def sigma(atoms: Atoms) -> Any:
    return atoms.info["sigma"]


def virial(atoms: Atoms) -> Any:
    return -atoms.info["sigma"] * atoms.get_volume()


def voigt(stress: Any) -> Any:
    return stress[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]]


@pytest.mark.parametrize(
    ("key", "stress", "words"),
    [
        ("stress", lambda a: -sigma(a), ("the other sign",)),
        ("stress", lambda a: 160.2176634 * sigma(a), ("in GPa",)),
        ("stress", lambda a: -1602.176634 * voigt(sigma(a)), ("in kbar, and", "the other sign")),
        ("virial", lambda a: -virial(a), ("the other sign",)),
        ("virial", lambda a: -160.2176634 * sigma(a), ("in GPa",)),
        ("virial", lambda a: 160.2176634 * sigma(a), ("in GPa, and", "the other sign")),
        ("", lambda a: {"stress": sigma(a), "virial": -virial(a)}, ("contradict", "sign")),
        ("", lambda a: {"stress": 160.2176634 * sigma(a), "virials": voigt(virial(a))}, ("contradict", "160.2")),
    ],
)  # fmt: skip
def test_stresses(tmp_path: Path, key: str, stress: Callable[[Atoms], Any], words: tuple[str, ...]) -> None:
    """Signs and units are found by comparing with the energies, or a stress with a virial."""
    images = crystals()
    file(tmp_path / "train.xyz", images, stress, key)
    remedy = refused(tmp_path, "train.xyz", *words)
    assert remedy
    check(load(tmp_path, remedy), images)
    load(tmp_path, {"stress_sign": "tension"}, stress=0.0)  # without weight it is a remark


def test_a_stated_sign_does_not_silence_a_contradiction(tmp_path: Path) -> None:
    file(tmp_path / "train.xyz", crystals(), lambda a: -virial(a), "virial")
    assert refused(tmp_path, "the other sign", labels={"stress_sign": "compression"}) == {"stress_sign": "tension"}


@pytest.mark.parametrize(("key", "stress"), [("stress", sigma), ("virial", virial), ("virials", virial)])
def test_six_numbers_are_read_and_said_to_be(tmp_path: Path, key: str, stress: Callable[[Atoms], Any]) -> None:
    images = crystals()
    file(tmp_path / "train.xyz", images, lambda a: voigt(stress(a)), key)
    dataset = load(tmp_path)
    check(dataset, images)
    assert "six numbers" in dataset.remarks[0]
    assert "xx yy zz yz xz xy" in dataset.remarks[0]


def test_the_energy_that_belongs_to_the_forces_is_advised(tmp_path: Path) -> None:
    images = crystals()
    for atoms in images:
        atoms.info["free_energy"] = atoms.info["energy"] - 0.01
    file(tmp_path / "train.xyz", images, sigma)
    remedy = refused(tmp_path, "several entries that may be the energy")
    assert remedy == {"energy": "free_energy"}
    load(tmp_path, remedy)


@pytest.mark.parametrize("value", [np.inf, np.nan])
def test_a_label_without_weight_is_left_out(tmp_path: Path, value: float) -> None:
    images = crystals()
    images[2].info["sigma"] = np.full((3, 3), value)
    file(tmp_path / "train.xyz", images, sigma)
    refused(tmp_path, "frame 2", "no finite stress", "loss.stress = 0")
    dataset = load(tmp_path, stress=0.0)
    assert "the stress of one frame is left out (the first: frame 2)" in dataset.remarks[0]
    assert sum(frame.stress is None for frame in (*dataset.train, *dataset.validation)) == 1


def test_a_single_atom_among_the_training_frames(tmp_path: Path) -> None:
    atom = Atoms("Cu", positions=[[0.0, 0.0, 0.0]], info={"energy": 0.0, "config_type": "IsolatedAtom"})
    file(tmp_path / "train.xyz", [atom, *crystals()], lambda a: sigma(a) if len(a) > 1 else np.zeros((3, 3)))
    refused(tmp_path, "frame 0", "single atom", "data.isolated", "data.exclude")
    file(tmp_path / "atoms.xyz", [atom])
    dataset = load(tmp_path, data={"isolated": "atoms.xyz", "exclude": "atoms.xyz"})
    assert dataset.isolated == {"Cu": 0.0}
    assert len(dataset.train) + len(dataset.validation) == 14


def test_fractional_coordinates(tmp_path: Path) -> None:
    images, wrong = crystals(), crystals()
    for atoms in wrong:
        atoms.positions = atoms.get_scaled_positions(wrap=False)
    file(tmp_path / "train.xyz", wrong, sigma)
    for unit in ("Å", "nm", "bohr"):
        refused(tmp_path, "fractions of the cell", "multiply them", labels={"length_unit": unit})
    for atoms in wrong:
        atoms.positions = atoms.positions @ atoms.cell.array
    file(tmp_path / "train.xyz", wrong, sigma)
    check(load(tmp_path), images)


def test_energies_per_atom(tmp_path: Path) -> None:
    images = [alloy(2 * seed, gold=0.0) for seed in range(10)]
    for scale in np.linspace(0.98, 1.02, 8):
        atoms = bulk("Cu", a=3.61 * scale)
        atoms.calc = EMT()
        energy, forces, stress = atoms.get_potential_energy(), atoms.get_forces(), atoms.get_stress()
        atoms.calc = SinglePointCalculator(atoms, energy=energy - 3.0, forces=forces, stress=stress)
        images.append(atoms)
    for atoms in images[:10]:
        atoms.calc.results["energy"] -= 12.0
    for atoms in images:
        atoms.calc.results["energy"] /= len(atoms)
    write(tmp_path / "train.xyz", images, format="extxyz")
    refused(tmp_path, "energies per atom", "multiply it")
    for atoms in images:
        atoms.calc.results["energy"] *= len(atoms)
    write(tmp_path / "train.xyz", images, format="extxyz")
    assert load(tmp_path).remarks == []


def test_units_that_a_file_states(tmp_path: Path) -> None:
    """Energies in hartree, positions in Å: the forces need a unit of their own."""
    images = crystals()
    converted = crystals()
    for atoms in converted:
        atoms.info["energy"] /= HARTREE
        atoms.info["energy-unit"] = "hartree"
        atoms.arrays["force"] *= BOHR / HARTREE
    file(tmp_path / "train.xyz", converted, sigma)
    remedy = refused(tmp_path, "hartree/bohr")
    assert remedy == {"force_unit": "hartree/bohr"}
    dataset = load(tmp_path, remedy)
    check(dataset, images)
    assert 'energy-unit=hartree: energy_unit = "hartree" is used' in dataset.remarks[0]
    for atoms in converted:
        atoms.info["energy-unit"] = "zorkmid"
    file(tmp_path / "train.xyz", converted, sigma)
    refused(tmp_path, "frame 0", "states an unknown unit (energy-unit=zorkmid)", "data.labels.energy_unit")


@pytest.mark.parametrize(("factor", "words"), [(-1.0, "the other sign"), (BOHR / HARTREE, "in another unit")])
def test_forces_and_energies(tmp_path: Path, factor: float, words: str) -> None:
    """Harmonic displacements in one cell: the work of the forces is the difference of the energies."""
    rng, images = np.random.default_rng(3), []
    for _ in range(12):
        atoms = bulk("Cu", cubic=True, a=3.61)
        moved = rng.normal(scale=0.05, size=(4, 3))
        moved -= moved.mean(axis=0)
        atoms.positions += moved
        atoms.info["energy"] = 4.0 * float((moved**2).sum())
        atoms.arrays["force"] = -8.0 * moved * factor
        images.append(atoms)
    file(tmp_path / "train.xyz", images)
    remedy = refused(tmp_path, words, stress=0.0)
    assert remedy == ({} if factor < 0.0 else {"force_unit": "hartree/bohr"})
    for atoms in images:
        atoms.arrays["force"] *= -1.0 if factor < 0.0 else 1.0
    file(tmp_path / "train.xyz", images)
    frame = load(tmp_path, remedy, stress=0.0).train[0]
    number = int(frame.source.split()[-1])
    forces: Any = frame.forces
    np.testing.assert_allclose(forces, images[number].arrays["force"] / abs(factor), rtol=1e-6, atol=1e-9)


def test_what_a_reader_made_up(tmp_path: Path) -> None:
    """ASE gives the frames of a LAMMPS dump an energy of 0, and types without elements those of H, He, …."""
    dump = (
        "ITEM: TIMESTEP\n0\nITEM: NUMBER OF ATOMS\n1\nITEM: BOX BOUNDS pp pp pp\n0 4\n0 4\n0 4\n"
        "ITEM: ATOMS id {} x y z fx fy fz\n1 {} 0 0 0 1 0 0\n"
    )
    (tmp_path / "a.lammpstrj").write_text(dump.format("element", "Cu"))
    (frame,) = read_frames(tmp_path / "a.lammpstrj", LabelsConfig())
    assert frame.energy is None
    assert frame.forces is not None
    (tmp_path / "b.lammpstrj").write_text(dump.format("type", "1"))
    with pytest.raises(InputError, match="no elements"):
        read_frames(tmp_path / "b.lammpstrj", LabelsConfig())


def test_one_energy_and_stress_of_zero(tmp_path: Path) -> None:
    images = crystals()
    for atoms in images:
        atoms.info["energy"] = 0.0
    file(tmp_path / "train.xyz", images, lambda a: np.zeros((3, 3)))
    refused(tmp_path, "all stresses are exactly 0", "loss.stress = 0")
    assert any("all energies are 0 eV" in remark for remark in load(tmp_path, stress=0.0).remarks)


def test_frames_that_did_not_converge(tmp_path: Path) -> None:
    images = crystals()
    images[0].info["converged"] = "F"
    file(tmp_path / "train.xyz", images, sigma)
    dataset = load(tmp_path)
    assert len(dataset.train) + len(dataset.validation) == 13
    assert "one frame is left out (the first: frame 0)" in dataset.remarks[0]


def test_notes_count_frames_once() -> None:
    notes = Notes(frozenset(LABELS))
    for _ in range(2):
        notes.leave_out("stress", "it is bad", "a.xyz, frame 3")
    assert notes.lines() == ["a.xyz: the stress of one frame is left out (the first: frame 3): it is bad"]


def test_no_neighbors_within_the_cutoff(tmp_path: Path) -> None:
    """The message names the nearest distance, and a cutoff with which the training is set up."""
    file(tmp_path / "train.xyz", crystals(), sigma)
    document: dict[str, Any] = {
        "data": {"train": "train.xyz", "validation": 3}, "training": {"epochs": 1}, "output": {"directory": "run"},
    }  # fmt: skip

    def session(cutoff: float) -> TrainingRun:
        model = {"cutoff": cutoff, "layers": 1, "l_max": 1, "channels": 4, "scalars": 8}
        config = TrainingInput.model_validate(document | {"model": model}, context={"base": tmp_path})
        return TrainingRun(config, Comm.serial())

    words = r"model.cutoff: no two atoms .* within 1.8 Å; the nearest are 2\.\d+ Å"
    with pytest.raises(InputError, match=words) as caught:
        session(1.8)
    session(float(caught.value.remedy.split()[-1]))


def test_vasp_convergence() -> None:
    """A step of as many iterations as NELM is not converged."""
    counts = [(1, k) for k in range(1, 4)] + [(2, k) for k in range(1, 5)]
    steps = "".join(f"--- Iteration {step:6d}({k:4d})  ---\n" for step, k in counts)
    assert vasp_convergence(Path("OUTCAR"), f"   NELM   =      4;   NELMIN=  2\n{steps}") == [True, False]
    rounds = "".join(f"<calculation>{'<scstep/>' * last}</calculation>" for last in (3, 4))
    head = '<modeling><parameters><separator><i type="int" name="NELM"> 4</i></separator></parameters>'
    assert vasp_convergence(Path("vasprun.xml"), f"{head}{rounds}</modeling>") == [True, False]
    assert vasp_convergence(Path("vasprun.xml"), head) == []


def test_forces_of_zero(tmp_path: Path) -> None:
    """Right of single atoms, of atoms beyond each other's reach and of perfect crystals; missing in a rattled one."""
    images = [bulk("Cu", cubic=True, a=a) for a in np.linspace(3.5, 3.7, 12)]
    far = Atoms("Cu2", positions=[[0, 0, 0], [10, 0, 0]], cell=[20, 20, 20], pbc=True)
    for atoms in images:
        atoms.calc = EMT()
        atoms.info["energy"] = atoms.get_potential_energy()
        atoms.calc = None
    far.info["energy"] = 0.0
    for atoms in (everything := [far, *images]):
        atoms.arrays["force"] = np.zeros((len(atoms), 3))
    file(tmp_path / "train.xyz", everything)
    assert any("right by symmetry, or missing?" in remark for remark in load(tmp_path, stress=0.0).remarks)
    for atoms, energy in zip(images, np.linspace(-14.0, -13.0, 12), strict=True):
        atoms.set_cell([3.6, 3.6, 3.6], scale_atoms=True)
        atoms.rattle(0.05, rng=np.random.default_rng(int(-100 * energy)))
        atoms.info["energy"] = energy
    file(tmp_path / "train.xyz", everything)
    refused(tmp_path, "although the energies differ", "data.labels.forces", stress=0.0)
    text = (tmp_path / "train.xyz").read_text().replace("forces:R:3", "forces:R:3:dft:R:3")
    (tmp_path / "train.xyz").write_text(re.sub(r"( 0\.0){3}\n", " 0 0 0 1 2 3\n", text))
    frames = read_frames(tmp_path / "train.xyz", LabelsConfig(forces="dft"))  # named as the remedy says
    assert frames[1].forces is not None and frames[1].forces[0].tolist() == [1.0, 2.0, 3.0]


@pytest.mark.parametrize(
    ("atoms", "even"),
    [
        (Atoms("Cu"), True), (bulk("Cu", a=3.6), True), (bulk("Ti", a=2.95, c=4.7), True), (bulk("Si", a=5.4), True),
        (bulk("NaCl", "rocksalt", a=5.6, cubic=True), True), (Atoms("Cu2", positions=[[0, 0, 0], [0, 0, 9]]), True),
        (Atoms("CO", positions=[[0, 0, 0], [0, 0, 1.1]]), False),
        (bulk("ZnO", "wurtzite", a=3.2, c=5.2, u=0.39), False),
    ],
)  # fmt: skip
def test_sites_where_no_force_can_be(atoms: Atoms, even: bool) -> None:
    """By their point groups: inversion, D3h and Td allow no vector, C∞v and C3v do."""

    def found() -> float:
        cell, pbc = atoms.cell.array, atoms.pbc.tolist()
        return asymmetry(Frame(atoms.numbers, atoms.positions, cell, (pbc[0], pbc[1], pbc[2]), 0.0, None, None, "", ""))

    assert (found() < 1e-9) == even
    if even and len(atoms) > 1 and all(atoms.pbc):
        atoms.positions[0, 0] += 0.01
        assert found() > UNEVEN


def test_files_as_windows_and_fortran_write_them(tmp_path: Path) -> None:
    """Marks at the beginning, and exponents with D: the remedy is applied."""
    images = crystals()
    path = tmp_path / "train.xyz"
    file(path, images, sigma)
    text = path.read_text()
    path.write_text(text, encoding="utf-8-sig")
    with pytest.raises(InputError, match="byte order mark.*save it as UTF-8 without"):
        read_frames(path, LabelsConfig())
    first = text.splitlines()[2].split()[1]
    path.write_text(text.replace(f" {first} ", f" {float(first) * 10:.15f}D-01 ", 1))
    with pytest.raises(InputError, match="write exponents with E") as caught:
        read_frames(path, LabelsConfig())
    good, bad = re.findall(r"E: (\S+) in place of (\S+)", caught.value.remedy)[0]
    path.write_text(path.read_text().replace(bad, good))
    check(load(tmp_path), images)
