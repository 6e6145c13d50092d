"""Labeled configurations: every format gives the frames that were written, in eV and Å, or says what is unclear."""

from __future__ import annotations

import gzip
import lzma
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.db import connect
from ase.io import write
from numpy.typing import NDArray

from allegro_md.config.training import LabelsConfig
from allegro_md.errors import InputError
from allegro_md.io.labeled import entries, read_frames, write_hdf5

HARTREE, BOHR, KCAL = 27.211386245981, 0.529177210544, 0.0433641042  # CODATA 2022
FORCES = np.array([[0.1, -0.2, 0.3], [0.0, 0.5, -0.5], [-0.1, -0.3, 0.2]])
VOIGT = np.array([1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
FULL = [[1.0, 6.0, 5.0], [6.0, 2.0, 4.0], [5.0, 4.0, 3.0]]  # ASE's order: xx yy zz yz xz xy


def water(shift: float = 0.0, **results: Any) -> Atoms:
    """A molecule in a periodic cell of 4 × 5 × 6 Å, and what was calculated for it."""
    atoms = Atoms("OHH", positions=[[shift, 0, 0], [0, 0.76, 0.59], [0, -0.76, 0.59]], cell=[4, 5, 6], pbc=True)
    if results:
        atoms.calc = SinglePointCalculator(atoms, **results)
    return atoms


def labels(**given: Any) -> LabelsConfig:
    return LabelsConfig.model_validate(given)


@pytest.mark.parametrize("suffix", [".extxyz", ".xyz", ".extxyz.xz", ".xyz.gz", ".db", ".traj"])
def test_what_ase_wrote(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"frames{suffix}"
    images = [water(shift, energy=-14.25 + shift, forces=FORCES, stress=VOIGT) for shift in (0.0, 0.1)]
    plain = tmp_path / f"frames{suffix.removesuffix('.xz').removesuffix('.gz')}"
    if suffix == ".db":
        for atoms in images:
            connect(path).write(atoms)
    else:
        write(plain, images)
    if plain != path:
        path.write_bytes((lzma if suffix.endswith("xz") else gzip).compress(plain.read_bytes()))
    frames = read_frames(path, LabelsConfig())
    assert len(frames) == 2
    assert [frame.energy for frame in frames] == [-14.25, -14.15]
    frame = frames[1]
    assert frame.numbers.tolist() == [8, 1, 1]
    np.testing.assert_allclose(frame.position, water(0.1).positions, atol=1e-8)
    np.testing.assert_allclose(array(frame.cell), np.diag([4.0, 5.0, 6.0]))
    assert frame.periodic == (True, True, True)
    np.testing.assert_allclose(array(frame.forces), FORCES, atol=1e-8)
    np.testing.assert_allclose(array(frame.stress), np.array(FULL))
    assert frame.source == f"{path.name}, frame 1"


@pytest.mark.parametrize(
    ("energy", "forces"),
    [("REF_energy", "REF_forces"), ("dft_energy", "dft_force"), ("TotEnergy", "force"), ("total_energy", "DFT_forces")],
)
def test_usual_names_are_found(tmp_path: Path, energy: str, forces: str) -> None:
    atoms = water()
    atoms.info |= {energy: -3.5, "config_type": "bulk"}
    atoms.arrays[forces] = FORCES
    write(tmp_path / "named.extxyz", atoms)
    (frame,) = read_frames(tmp_path / "named.extxyz", LabelsConfig())
    assert frame.energy == -3.5
    np.testing.assert_allclose(array(frame.forces), FORCES, atol=1e-8)
    assert frame.stress is None
    assert frame.kind == "bulk"


def test_other_names_are_named(tmp_path: Path) -> None:
    atoms = water(energy=-1.0, forces=np.zeros((3, 3)))
    atoms.info["E0"] = -3.5
    atoms.arrays["gradient"] = FORCES
    write(tmp_path / "named.extxyz", atoms)
    frames = read_frames(tmp_path / "named.extxyz", labels(energy="E0", forces="gradient"))
    (frame,) = frames
    assert frame.energy == -3.5
    np.testing.assert_allclose(array(frame.forces), FORCES, atol=1e-8)
    assert {"energy", "forces", "E0", "gradient"} <= set(entries(tmp_path / "named.extxyz", frames))


def test_two_candidates_are_not_guessed_between(tmp_path: Path) -> None:
    atoms = water(energy=-1.0)
    atoms.info["REF_energy"] = -3.5
    path = tmp_path / "two.extxyz"
    write(path, atoms)
    with pytest.raises(InputError, match="two.extxyz.*'REF_energy' and 'energy'.*data.labels.energy"):
        read_frames(path, LabelsConfig())
    assert read_frames(path, labels(energy="energy"))[0].energy == -1.0
    assert read_frames(path, labels(energy="REF_energy"))[0].energy == -3.5


def test_candidates_that_agree_are_one(tmp_path: Path) -> None:
    images = [water(energy=-1.0, free_energy=-1.0), water(0.1, energy=-2.0)]
    write(tmp_path / "same.traj", images)
    assert [frame.energy for frame in read_frames(tmp_path / "same.traj", LabelsConfig())] == [-1.0, -2.0]


def test_a_misspelled_name(tmp_path: Path) -> None:
    write(tmp_path / "a.extxyz", water(energy=-1.0, forces=FORCES))
    with pytest.raises(InputError, match="has no 'force' — did you mean data.labels.forces = \"forces\""):
        read_frames(tmp_path / "a.extxyz", labels(forces="force"))


def test_units_of_energies_and_lengths(tmp_path: Path) -> None:
    write(tmp_path / "a.extxyz", water(energy=-2.0, forces=FORCES, stress=VOIGT))
    given = labels(energy_unit="hartree", length_unit="bohr", stress_unit="energy/length^3")
    (frame,) = read_frames(tmp_path / "a.extxyz", given)
    assert frame.energy == pytest.approx(-2.0 * HARTREE)
    np.testing.assert_allclose(frame.position, water().positions * BOHR, atol=1e-8)
    np.testing.assert_allclose(array(frame.cell), np.diag([4.0, 5.0, 6.0]) * BOHR)
    np.testing.assert_allclose(array(frame.forces), FORCES * HARTREE / BOHR, atol=1e-7)
    np.testing.assert_allclose(array(frame.stress), np.array(FULL) * HARTREE / BOHR**3, rtol=1e-9)


def test_a_stress_as_vasp_has_it(tmp_path: Path) -> None:
    atoms = water()
    atoms.info["stress_raw"] = VOIGT
    write(tmp_path / "a.extxyz", atoms)
    given = labels(stress="stress_raw", stress_unit="kbar", stress_sign="compression", stress_order="xx yy zz xy yz xz")
    (frame,) = read_frames(tmp_path / "a.extxyz", given)
    # xy = 4, yz = 5, xz = 6; 1 kbar = 0.1 GPa, 1 eV/Å³ = 160.2176634 GPa.
    expected = -0.1 / 160.2176634 * np.array([[1.0, 4.0, 6.0], [4.0, 2.0, 5.0], [6.0, 5.0, 3.0]])
    np.testing.assert_allclose(array(frame.stress), expected, rtol=1e-9)


@pytest.mark.parametrize("given", [{}, {"stress": "virial", "virial": True}])
def test_a_virial_is_minus_stress_times_volume(tmp_path: Path, given: dict[str, Any]) -> None:
    atoms = water()
    atoms.info["virial"] = np.array(FULL)
    write(tmp_path / "a.extxyz", atoms)
    (frame,) = read_frames(tmp_path / "a.extxyz", labels(**given))
    np.testing.assert_allclose(array(frame.stress), -np.array(FULL) / 120.0)


def test_a_molecule_has_no_stress(tmp_path: Path) -> None:
    atoms = Atoms("H2", positions=[[0, 0, 0], [0, 0, 0.74]], info={"virial": np.eye(3), "energy": -1.0})
    write(tmp_path / "a.extxyz", atoms)
    (frame,) = read_frames(tmp_path / "a.extxyz", LabelsConfig())
    assert frame.stress is None
    assert frame.volume == 0.0


def array(values: NDArray[np.float64] | None) -> NDArray[np.float64]:
    """The labels, which must be there."""
    assert values is not None
    return values


def _text(content: str) -> Callable[[Path], object]:
    return lambda path: path.write_text(content)


@pytest.mark.parametrize(
    ("write_file", "given", "words"),
    [
        (_text(""), {}, ("ASE cannot read it",)),
        (_text("2\n\nH 0 0 0\n"), {}, ("ASE cannot read it",)),
        (_text('1\nProperties=species:S:1:pos:R:3 energy="none"\nH 0 0 0\n'), {}, ("'energy' does not hold numbers",)),
        (
            _text("1\nProperties=species:S:1:pos:R:3:force:R:2 energy=1\nH 0 0 0 1 1\n"), {},
            ("frame 0", "'force' has the shape 1 × 2 instead of 1 × 3"),
        ),
        (
            _text('1\nLattice="9 0 0 0 9 0 0 0 9" s="1 2 3"\nH 0 0 0\n'), {"stress": "s"},
            ("frame 0", "'s' has the shape 3 instead of 3 × 3 or 9 or 6"),
        ),
        (
            _text('1\nLattice="9 0 0 0 9 0 0 0 9" s="1 2 3 4 5 6 7 8 9"\nH 0 0 0\n'), {"stress": "s"},
            ("frame 0", "not symmetric"),
        ),
    ],
)  # fmt: skip
def test_unusable_files(
    tmp_path: Path, write_file: Callable[[Path], None], given: dict[str, Any], words: tuple[str, ...]
) -> None:
    path = tmp_path / "bad.extxyz"
    write_file(path)
    with pytest.raises(InputError) as caught:
        read_frames(path, labels(**given))
    assert all(word in str(caught.value) for word in ("bad.extxyz", *words)), caught.value


# --- npz ----------------------------------------------------------------------------------------------------------

METHANE = np.array([6, 1, 1, 1, 1])
METHANE_KCAL = -25398.0  # −40.47 hartree
PLACES = np.random.default_rng(1).normal(size=(3, 5, 3))
PULLS = np.random.default_rng(2).normal(size=(3, 5, 3))


def md17(path: Path, energy: float = METHANE_KCAL) -> None:
    np.savez(path, z=METHANE, R=PLACES, E=np.full((3, 1), energy), F=PULLS, name="methane", theory="PBE")


def rmd17(path: Path, energy: float = METHANE_KCAL) -> None:
    np.savez(path, nuclear_charges=METHANE.astype(np.uint8), coords=PLACES, energies=np.full(3, energy), forces=PULLS,
             old_energies=np.full(3, 1.0), old_indices=np.arange(3))  # fmt: skip


@pytest.mark.parametrize("save", [md17, rmd17])
def test_the_md17_family_is_in_kcal_per_mol(tmp_path: Path, save: Callable[[Path], None]) -> None:
    save(tmp_path / "methane.npz")
    frames = read_frames(tmp_path / "methane.npz", LabelsConfig())
    assert len(frames) == 3
    assert frames[2].energy == pytest.approx(METHANE_KCAL * KCAL)
    np.testing.assert_allclose(array(frames[2].forces), PULLS[2] * KCAL, rtol=1e-7)
    np.testing.assert_array_equal(frames[2].position, PLACES[2])
    assert frames[2].numbers.tolist() == METHANE.tolist()
    assert frames[2].periodic == (False, False, False)


@pytest.mark.parametrize("save", [md17, rmd17])
@pytest.mark.parametrize(("energy", "hint"), [(-1101.3, '"eV"'), (-40.47, '"hartree"'), (-17.0, "for example")])
def test_an_npz_in_another_unit_has_to_say_so(
    tmp_path: Path, save: Callable[[Path, float], None], energy: float, hint: str
) -> None:
    save(tmp_path / "methane.npz", energy)
    with pytest.raises(InputError, match=f"state their unit.*{hint}"):
        read_frames(tmp_path / "methane.npz", LabelsConfig())
    assert read_frames(tmp_path / "methane.npz", labels(energy_unit="eV"))[0].energy == energy


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"R": PLACES}, "nuclear_charges or z"),
        ({"z": METHANE, "R": PLACES[0]}, "positions of shape"),
        ({"z": METHANE, "R": PLACES, "E": np.zeros(3), "F": PULLS[:, :, :2]}, "'forces' has the shape 5 × 2"),
    ],
)
def test_unusable_npz(tmp_path: Path, arrays: dict[str, Any], words: str) -> None:
    np.savez(tmp_path / "bad.npz", **arrays)
    with pytest.raises(InputError, match=f"bad.npz.*{words}"):
        read_frames(tmp_path / "bad.npz", labels(energy_unit="eV"))


# --- HDF5 ---------------------------------------------------------------------------------------------------------


def test_hdf5_gives_back_what_was_written(tmp_path: Path) -> None:
    write(tmp_path / "a.extxyz", [
        water(energy=-1.5, forces=FORCES, stress=VOIGT),
        Atoms("H", positions=[[0.1, 0.2, 0.3]], info={"energy": -13.6, "config_type": "isolated"}),
        water(0.2),
    ])  # fmt: skip
    written = read_frames(tmp_path / "a.extxyz", LabelsConfig())
    write_hdf5(written, tmp_path / "a.h5")
    read = read_frames(tmp_path / "a.h5", LabelsConfig())
    assert len(read) == 3
    for one, other in zip(read, written, strict=True):
        for name in ("numbers", "position", "cell", "energy", "forces", "stress"):
            value, expected = getattr(one, name), getattr(other, name)
            assert (value is None) == (expected is None), name
            assert expected is None or np.array_equal(value, expected), name
        assert (one.periodic, one.kind) == (other.periodic, other.kind)
    assert read[-1].source == "a.h5, frame 2"
    assert [len(frame.numbers) for frame in read[1:]] == [1, 3]
    with pytest.raises(IndexError):
        read[3]


def test_hdf5_in_any_order(tmp_path: Path) -> None:
    """Blocks of a walk in order, single frames otherwise: the same frames."""
    n = 270
    images = [Atoms(f"H{1 + k % 3}", positions=np.full((1 + k % 3, 3), float(k))) for k in range(n)]
    write(tmp_path / "a.extxyz", images)
    write_hdf5(read_frames(tmp_path / "a.extxyz", LabelsConfig()), tmp_path / "a.h5")
    read = read_frames(tmp_path / "a.h5", LabelsConfig())
    for k in (
        *range(n),
        *range(250, n),
        *range(200),
        10,
        n - 1,
        100,
        5,
        6,
        *np.random.default_rng(1).permutation(n)[:50],
    ):
        assert read[int(k)].position.tolist() == [[float(k)] * 3] * (1 + k % 3)
    assert read[-1].source == "a.h5, frame 269"


def test_hdf5_of_something_else(tmp_path: Path) -> None:
    (tmp_path / "a.h5").write_bytes(b"nothing")
    with pytest.raises(InputError, match="not a readable HDF5"):
        read_frames(tmp_path / "a.h5", LabelsConfig())
    write_hdf5([], tmp_path / "b.h5")
    with pytest.raises(InputError, match="holds no frames"):
        read_frames(tmp_path / "b.h5", LabelsConfig())
    with pytest.raises(InputError, match="exists"):
        write_hdf5([], tmp_path / "b.h5")
