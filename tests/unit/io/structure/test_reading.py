"""What a file says is taken at its word, what it leaves open is refused or said; each printed remedy is applied."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ase
import h5py
import numpy as np
import pytest
from ase.io import write
from structure_files import CIF, GRO, POSCAR, Reader, data, dump, pdb_line, remarks, symbols, xyz

from allegro_md.comm import Comm
from allegro_md.errors import InputError
from allegro_md.io.structure import SystemBuilder, rows


@pytest.mark.parametrize("name", ["x.data", "data.x", "x.lmp", "x.lammps", "x.lammps-data", "x"])
def test_data_files_by_content(read: Reader, name: str) -> None:
    builder = read(name, data("2 83.798\n1 39.948"))
    assert symbols(builder) == ["Ar", "Kr"]  # by id, and with the masses in any order
    assert builder.contents.position[1].tolist() == [5.0, 1.0, 1.0]
    assert "their masses: 1 = Ar, 2 = Kr" in remarks(builder) and "which axes are periodic" in remarks(builder)


def test_types_without_elements(read: Reader) -> None:
    read.refuses(r'types of its atoms \(1, 2\).*system.types = \["Ar", "Kr"\]', "x.data", data())
    assert symbols(read("x.data", data(), types={"1": "Ar", "2": "Kr"})) == ["Ar", "Kr"]
    read.refuses("type 2, for which system.types", "x.data", data(), types={"1": "Ar"})


@pytest.mark.parametrize(
    "masses",
    ["1 5.947\n2 2.524", "1 72\n2 72", "1 1.0\n2 1.0", "1 14.027\n2 12.011", "1 18.015\n2 12.011", "1 3.024\n2 12.011"],
    ids=["repartitioned", "beads", "reduced", "CH2", "water", "heavy hydrogen"],
)
def test_masses_that_determine_no_element(read: Reader, masses: str) -> None:
    read.refuses(r"do not determine it.*system.types", "x.data", data(masses))
    builder = read("x.data", data(masses), types={"1": "C", "2": "H"})
    first, second = (float(line.split()[1]) for line in masses.splitlines())
    assert symbols(builder) == ["C", "H"] and builder.contents.masses.tolist() == [first, second]


def test_masses_that_do(read: Reader) -> None:
    from ase.data import atomic_masses, chemical_symbols

    for z in (*range(1, 43), *range(44, 61), *range(62, 84), 90, 92):
        mass = round(float(atomic_masses[z]), 3)
        assert symbols(read("x.data", data(f"1 {mass}\n2 15.9994"))) == [chemical_symbols[z], "O"]
    isotopes = read("x.data", data("1 2.014\n2 3.016"))
    assert symbols(isotopes) == ["H", "H"] and isotopes.contents.masses.tolist() == [2.014, 3.016]


def test_comments_and_labels_are_the_word_of_the_file(read: Reader) -> None:
    builder = read("x.data", data("1 5.947 # C\n2 2.524 # H"))
    assert symbols(builder) == ["C", "H"] and builder.contents.masses.tolist() == [5.947, 2.524]
    assert "follow" in remarks(read("x.data", data("1 5.947 # C\n2 2.5 # H"), types={"1": "N", "2": "H"}))
    labels = data("1 1.0\n2 2.0").replace("\nMasses", "\nAtom Type Labels\n\n1 Kr\n2 Ar\n\nMasses")
    assert symbols(read("x.data", labels)) == ["Kr", "Ar"]
    labelled = labels.replace("2 2 5.0", "2 Ar 5.0").replace("1 1 1.0", "1 Kr 1.0")
    read.refuses("type labels .*types numeric", "x.data", labelled)


def test_atom_styles(read: Reader) -> None:
    text = data("1 39.948\n2 83.798").replace("2 2 5.0", "2 2 0.5 5.0").replace("1 1 1.0", "1 1 0.5 1.0")
    read.refuses("more than one way.*Atoms # charge", "x.data", text)
    builder = read("x.data", text.replace("Atoms\n", "Atoms # charge\n"))
    assert symbols(builder) == ["Ar", "Kr"] and "charges" in remarks(builder)
    read.refuses("atom_style sphere", "x.data", text.replace("Atoms\n", "Atoms # sphere\n"))
    flags = data("1 39.948\n2 83.798").replace("1 1 1.0 1.0 1.0", "1 1 1.0 1.0 1.0 0 0 0")
    flags = flags.replace("2 2 5.0 1.0 1.0", "2 2 5.0 1.0 1.0 0 -1 2")
    assert read("x.data", flags).contents.position[1].tolist() == [5.0, -9.0, 21.0]
    read.refuses("says 2 atoms, but .* 1 lines", "x.data", data("1 39.948").replace("1 1 1.0 1.0 1.0\n", ""))


def test_units_of_lammps(read: Reader) -> None:
    moving = data("1 39.948\n2 83.798") + "\nVelocities\n\n2 {0} 0 0\n1 0 0 0\n"
    title = "LAMMPS data file via write_data, units = {}"
    for unit, value in (("metal", 3.0), ("real", 0.003)):
        text = moving.format(value).replace("x\n", title.format(unit) + "\n", 1)
        choices: list[dict[str, Any]] = [{}, {"units": unit}]
        for options in choices:
            builder = read("x.data", text, **options)
            assert builder.contents.velocity is not None and "units" not in remarks(builder)
            assert builder.contents.velocity[1] == pytest.approx([0.003, 0, 0], rel=1e-12)
    read.refuses("says units = real, but system.units", "x.data", text, units="metal")
    read.refuses("reduced units", "x.data", text.replace("units = real", "units = lj"))
    read.refuses("only metal, real, electron", "x.data", text.replace("units = real", "units = cgs"))
    unsaid = read("x.data", moving.format(3.0))
    assert unsaid.contents.velocity is not None and unsaid.contents.velocity[1, 0] == pytest.approx(0.003)
    assert "system.units says otherwise" in remarks(unsaid)
    said = read("x.data", moving.format(3.0), units="real").contents.velocity
    assert said is not None and said[1, 0] == 3.0
    read.refuses("says nothing about a file in the format extxyz", "x.xyz", "1\n\nAr 0 0 0\n", units="real")


def test_dumps(read: Reader) -> None:
    text = dump("type xs ys zs vx vy vz", "1 0 0 0 1 0 0", "2 0.4 0.1 0 0 2 0")
    read.refuses('system.types = \\["Ar", "Kr"\\]', "some.name", text)
    builder = read("some.name", text, types={"1": "Ar", "2": "Kr"})
    assert symbols(builder) == ["Ar", "Kr"] and builder.cell.periodic == (True, False, True)
    assert np.allclose(builder.contents.position, [[1, 0, 0], [5, 1, 0]])
    assert builder.contents.velocity is not None and builder.contents.velocity[1, 1] == 0.002
    real = read("some.name", "ITEM: UNITS\nreal\n" + text, types={"1": "Ar", "2": "Kr"}).contents.velocity
    assert real is not None and real[1, 1] == 2.0
    read.refuses("says units = real", "some.name", "ITEM: UNITS\nreal\n" + text, units="metal")
    named = read("d.lammpstrj", dump("element mass x y z fx", "Ar 40.5 0 0 0 1", "Kr 84 3 0 0 1"))
    assert symbols(named) == ["Ar", "Kr"] and named.contents.masses.tolist() == [40.5, 84.0]
    assert "columns fx" in remarks(named)
    massive = read("d.lammpstrj", dump("type mass x y z", "1 39.948 0 0 0", "2 83.798 3 0 0"))
    assert symbols(massive) == ["Ar", "Kr"] and "their masses" in remarks(massive)


def test_tilted_dumps(read: Reader) -> None:
    """Against ASE's reader; the box comes as its bounding box."""
    from ase.io import read as ase_read

    text = dump("element xs ys zs", "Ar 0.1 0.2 0.3", "Kr 0.6 0.7 0.8").replace("pp ff pp", "xy xz yz pp pp pp")
    text = text.replace("1 11\n0 10\n0 10", "-2 15 3\n-1 10 -2\n0 10 -1")
    builder = read("t.lammpstrj", text)
    expected: Any = ase_read(read.folder / "t.lammpstrj", format="lammps-dump-text")
    assert np.allclose(builder.cell.matrix, expected.cell.array)
    between = np.diff(builder.contents.position, axis=0)
    assert np.allclose(between, np.diff(expected.positions, axis=0))


def test_cut_files_name_the_last_whole_frame(read: Reader) -> None:
    whole = dump("element x y z", "Ar 0 0 0", "Ar 3 0 0")
    cut = whole + whole + whole[:-12]
    read.refuses("frame 2 is cut short: 1 of 2 atoms.*frame = 1 is the last whole one", "d", cut)
    assert read("d", cut, frame=1).contents.frame == 1
    xyz = '2\nLattice="9 0 0 0 9 0 0 0 9"\nAr 0 0 0\nAr {} 0 0\n'
    frames = xyz.format(3) + "\n" + xyz.format(4)
    cut = frames + xyz.format(5)[:-9]
    read.refuses("frame 2 is cut short.*frame = 1 is the last whole one", "x.xyz", cut)
    assert read("x.xyz", cut, frame=1).contents.position[1, 0] == 4.0
    read.refuses("the file was cut.*frame = 1 is the last", "x.xyz", frames + xyz.format(5).removesuffix(" 0 0\n"))
    assert [read("x.xyz", frames, frame=k).contents.position[1, 0] for k in (0, 1, -1, -2)] == [3.0, 4.0, 4.0, 3.0]
    read.refuses("no frame 2; it holds 2 frames", "x.xyz", frames, frame=2)


def test_velocity_columns(read: Reader, tmp_path: Path) -> None:
    atoms = ase.Atoms("ArKr", positions=[[0, 0, 0], [4, 0, 0]], cell=[10, 10, 10], pbc=True)
    atoms.set_velocities(np.array([[0.01, 0, 0], [0, 0.02, 0]]) / ase.units.fs)
    write(tmp_path / "momenta.extxyz", atoms)
    found = SystemBuilder.from_structure(tmp_path / "momenta.extxyz", comm=Comm.serial()).contents.velocity
    assert found is not None and np.allclose(found, [[0.01, 0, 0], [0, 0.02, 0]], rtol=1e-6)
    for name, unit, factor in (("vel", None, 1.0), ("velo", "Å/ps", 1e-3), ("Velocities", "nm/ps", 1e-2)):
        text = xyz(f"species:S:1:pos:R:3:{name}:R:3", "Ar 0 0 0 1 0 0", "Ar 4 0 0 0 2 0")
        builder = read("v.extxyz", text, velocity_unit=unit)
        assert builder.contents.velocity is not None and builder.contents.velocity[1, 1] == 2.0 * factor
        if unit is not None:
            silent = read("v.extxyz", text)
            assert not silent.has_velocities and 'system.velocity_unit = "Å/ps"' in remarks(silent)
        else:
            assert "system.velocity_unit says otherwise" in remarks(builder)
    read.refuses("no column of velocities", "v.xyz", xyz("species:S:1:pos:R:3", "Ar 0 0 0"), velocity_unit="Å/ps")


def test_keys_in_any_case(read: Reader) -> None:
    text = xyz("species:S:1:pos:R:3:mass:R:1:group:I:1", "C 1 1 1 13.003 0", "c 9 1 1 12.5 1")
    for old, new in (("Lattice", "lattice"), ("Properties", "PROPERTIES"), ("pbc", "PBC"), ("pbc", "periodic")):
        builder = read("x.xyz", text.replace(old, new).replace("T T T", "T T F"))
        assert builder.cell.periodic == (True, True, False) and builder.cell.volume == pytest.approx(1000.0)
        assert builder.contents.masses.tolist() == [13.003, 12.5] and "group" in remarks(builder)
    read.refuses("Lattice and lattice, which mean the same", "x.xyz", text.replace("pbc=", 'lattice="1" pbc='))
    read.refuses("called Lattice", "x.xyz", text.replace("Lattice", "cell"))
    read.refuses("nine numbers", "x.xyz", text.replace("10 0 0 0 10 0 0 0 10", "10 10 10"))
    six = read("x.xyz", text.replace("pbc=", 'stress="1 2 3 4 5 6" pbc='))  # a label is no reason to refuse
    assert "stress" in remarks(six)


@pytest.mark.parametrize(
    ("match", "columns", "lines", "types"),
    [
        ("Ar1, Ar2: no chemical symbol", "species:S:1:pos:R:3", ["Ar1 0 0 0", "Ar2 4 0 0"], {"Ar1": "Ar", "Ar2": "Ar"}),
        ("atomic numbers or types", "species:S:1:pos:R:3", ["18 0 0 0", "18 4 0 0"], {"18": "Ar"}),
        ("are these types", "numbers:I:1:pos:R:3", ["0 0 0 0", "0 4 0 0"], {"0": "Ar"}),
        ("dummy atoms", "species:S:1:pos:R:3", ["X 0 0 0", "Ar 4 0 0"], {"X": "Ar"}),
    ],
)
def test_names_that_are_no_elements(
    read: Reader, match: str, columns: str, lines: list[str], types: dict[str, str]
) -> None:
    text = xyz(columns, *lines)
    read.refuses(match + ".*system.types", "x.extxyz", text)
    assert symbols(read("x.extxyz", text, types=types)) == ["Ar", "Ar"]


def test_names_that_no_atom_has(read: Reader) -> None:
    text = xyz("species:S:1:pos:R:3", "Ar 0 0 0")
    read.refuses("names Q, which no atom is called.*called Ar", "x.extxyz", text, types={"Q": "Ar"})


def test_deuterium(read: Reader) -> None:
    text = xyz("species:S:1:pos:R:3", "O 0 0 0", "D 0.96 0 0")
    read.refuses("D; deuterium.*masses = { H = 2.014 }", "x.extxyz", text)
    builder = read("x.extxyz", text.replace("D", "H"), masses={"H": 2.014})
    assert builder.species_table.masses.tolist() == [2.014, 15.999]


@pytest.mark.parametrize(
    ("match", "text"),
    [
        ("byte order mark", "\ufeff" + xyz("species:S:1:pos:R:3", "Ar 0 0 0")),
        ("exponents with E: 1.0E\\+00 in place of 1.0D\\+00", xyz("species:S:1:pos:R:3", "Ar 1.0D+00 0 0")),
        (r"line 3: '\*\*\*' in the column pos", xyz("species:S:1:pos:R:3", "Ar *** 0 0")),
        ("which mean the same", xyz("species:S:1:pos:R:3:force:R:3:force:R:3", "Ar 0 0 0 0 0 0 0 0 0")),
        ("without colons within a name", xyz("species:S:1:pos:R:3:a::b:R:1", "Ar 0 0 0 0")),
        ("line 3 has 3 columns, but 4", xyz("species:S:1:pos:R:3", "Ar 0 0", "Ar 0 0 0")),
        ("begin with its number of atoms", "Ar 0 0 0\n"),
        ("no column pos", xyz("species:S:1", "Ar")),
        ("line 3: move_mask should be", xyz("species:S:1:pos:R:3:move_mask:L:1", "Ar 0 0 0 no")),
    ],
)
def test_faults_of_xyz_files(read: Reader, match: str, text: str) -> None:
    read.refuses(match, "x.extxyz", text)


def test_poscars(read: Reader) -> None:
    nameless = POSCAR.format(names="", rest="")
    read.refuses(r"VASP 4.*system.types = \[\"Ar\", \"Kr\"\]", "POSCAR", nameless)
    assert symbols(read("POSCAR", nameless, types={"1": "Ar", "2": "Kr"})) == ["Ar", "Kr"]
    assert "first line" in remarks(read("POSCAR", nameless.replace("made by hand", "Kr Ar")))
    direct = POSCAR.format(names="Ar Kr\n", rest="Direct\n0.1 0 0\n0 0 0\n")
    read.refuses("POTIM.*remove the block", "POSCAR", direct)
    assert not read("POSCAR", POSCAR.format(names="Ar Kr\n", rest="")).has_velocities
    for mode in ("", "Cartesian"):
        velocity = read("POSCAR", direct.replace("0\nDirect", f"0\n{mode}")).contents.velocity
        assert velocity is not None and velocity[0] == pytest.approx([0.1, 0, 0])
    read.refuses("not whole", "POSCAR", POSCAR.format(names="Ar Kr\n", rest="\n0.1 0 0\n"))


def test_names_of_atoms_in_gro_files(read: Reader) -> None:
    line = "    1SOL  {name:>5}{i:5d}   0.{i}00   0.000   0.000  0.1000  0.0000  0.0000"

    def gro(*names: str) -> str:
        return GRO.format("\n".join(line.format(name=name, i=i) for i, name in enumerate(names, 1)))

    read.refuses(r"more than one way: OW, HW.*OW = \"Ar\"", "x.gro", gro("OW", "HW1", "HW2").replace("HW1", " HW"))
    water = read("x.gro", gro("OW", "HW1", "HW2"), types={"OW": "O", "HW1": "H", "HW2": "H"})
    assert symbols(water) == ["O", "H", "H"] and water.contents.masses[0] == pytest.approx(15.999)
    assert water.contents.velocity is not None and water.contents.velocity[0, 0] == pytest.approx(1e-3)
    read.refuses("CA", "x.gro", gro("CA", "C", "H"))
    numbered = read("x.gro", gro("C12", "Na", "H1"))
    assert symbols(numbered) == ["C", "Na", "H"] and "C12 = C, H1 = H" in remarks(numbered)
    read.refuses("several frames", "x.gro", gro("C", "O", "H") * 2)


def test_pdb_files(read: Reader) -> None:
    cell = "CRYST1   20.000   20.000   20.000  90.00  90.00  90.00 P 1\n"
    read.refuses("more than one way: CA", "x.pdb", cell + pdb_line(" CA") + "END\n")
    assert symbols(read("x.pdb", cell + pdb_line(" CA", "CA") + "END\n")) == ["Ca"]
    assert symbols(read("x.pdb", cell + pdb_line(" CA") + "END\n", types={"CA": "C"})) == ["C"]
    read.refuses("occupied to less than 1", "x.pdb", cell + pdb_line(" C", "C", 0.5))
    read.refuses("alternate location", "x.pdb", cell + pdb_line(" C", "C", location="B"))
    models = cell + "".join(f"MODEL {k}\n{pdb_line(' C', 'C', x=k)}ENDMDL\n" for k in (1, 2, 3)) + "END\n"
    second = read("x.pdb", models, frame=1)
    assert second.contents.position[0, 0] == 2.0 and second.cell.volume == pytest.approx(8000.0)
    none = read("x.pdb", cell.replace("20.000", " 1.000") + pdb_line(" C", "C"))
    assert not any(none.cell.periodic) and "stands for none" in remarks(none)


def test_disorder_in_cif_files(read: Reader) -> None:
    read.refuses("Au1 is occupied to 0.5", "x.cif", CIF.format(key="occupancy", a="1.0", b="0.50(2)"))
    read.refuses("Cu1 belongs to the disorder group 1", "x.cif", CIF.format(key="disorder_group", a="1", b="."))
    for key, full in (("occupancy", "1.0"), ("disorder_group", ".")):
        assert symbols(read("x.cif", CIF.format(key=key, a=full, b=full))) == ["Cu", "Au"]


def test_formats_can_be_named(read: Reader) -> None:
    text = xyz("species:S:1:pos:R:3", "Ar 0 0 0")
    read.refuses("neither its name nor its content.*system.format", "start.123", text.replace("1\n", "# 1\n", 1))
    assert read("start.123", text, format="extxyz").n_total == read("start.123", text, format="xyz").n_total == 1
    read.refuses('did you mean "lammps-data"', "start.123", text, format="lammps-dat")
    read.refuses("is empty", "start.123", "")
    said = "HDF5 file.*allegro-md convert"
    with h5py.File(read.folder / "trajectory.h5", "w"), pytest.raises(InputError, match=said):
        SystemBuilder.from_structure(read.folder / "trajectory.h5", comm=Comm.serial())
    read.refuses("cannot be read as cube.*system.format", "x.cube", "nothing\n")


def test_what_was_understood(read: Reader) -> None:
    text = xyz("species:S:1:pos:R:3:vel:R:3", "Ar 0 0 0 0.003 0 0", "Ar 5 0 0 -0.001 0 0")
    found = rows(read("x.extxyz", text))
    assert found["elements"] == "2 Ar (39.948 amu)" and found["volume"] == "1000 Å³"
    assert found["periodic axes"] == "a, b, c" and "90, 90, 90°" in found["cell"]
    # By hand: 2 · 39.948 amu · 1.6605e-24 g / 1e-21 cm³; 2 · 39.948 · 0.002² amu Å²/fs² · 103.642697 eV / (3 k).
    assert found["density"] == "0.13267 g/cm³"
    velocity = found["velocities of the structure"]
    assert velocity.startswith(f"{2 * 39.948 * 0.002**2 * 103.642697 / (3 * 8.617333e-5):.4g}"[:4])
    assert "0.001, 0, 0 Å/fs" in velocity and "0.0799, 0, 0 amu Å/fs" in velocity
    assert "GPUMD" in found["note 1"]


@pytest.mark.skipif(not Path("/proc/self/mem").is_file(), reason="Linux only")
def test_a_file_that_no_one_can_read() -> None:
    with pytest.raises(InputError, match="cannot be read: Input/output error"):
        SystemBuilder.from_structure(Path("/proc/self/mem"), comm=Comm.serial())
