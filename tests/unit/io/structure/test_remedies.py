"""The remedy of each message about a structure file is applied: the file is right then, or refused for a new reason."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
import pytest
from structure_files import CIF, GRO, POSCAR, Reader, data, dump, pdb_line, symbols, xyz

from allegro_md.comm import Comm
from allegro_md.errors import InputError
from allegro_md.io.structure import SystemBuilder

CRYSTAL = "CRYST1   20.000   20.000   20.000  90.00  90.00  90.00 P 1\n"
TYPES = {"1": "Ar", "2": "Kr"}
GRO_LINE = "    1SOL  {name:>5}{i:5d}   0.{i}00   0.000   0.000"

FILES = {
    "x.data": data("1 39.948\n2 83.798"),
    "d.lammpstrj": dump("element x y z", "Ar 0 0 0", "Kr 4.0 0 0"),
    "x.xyz": xyz("species:S:1:pos:R:3", "Ar 0 0 0", "Kr 4.0 0 0"),
    "POSCAR": POSCAR.format(names="Ar Kr\n", rest=""),
    "x.cif": CIF.format(key="occupancy", a="1.0", b="1.0"),
    "x.gro": GRO.format("\n".join(GRO_LINE.format(name=name, i=i) for i, name in enumerate("COH", 1))),
    "x.pdb": CRYSTAL + pdb_line(" AR", "AR") + pdb_line(" KR", "KR", x=4.0) + "END\n",
}
"""One sound file of each format."""


def gro(*names: str) -> str:
    return GRO.format("\n".join(GRO_LINE.format(name=name, i=i) for i, name in enumerate(names, 1)))


def remedy(read: Reader, name: str, text: str, match: str) -> str:
    with pytest.raises(InputError, match=match) as caught:
        read(name, text)
    return caught.value.remedy


@pytest.mark.parametrize("name", FILES)
def test_byte_order_marks(read: Reader, name: str) -> None:
    """A reader would lose the first word: ASE loses the cell of a PDB file without a word."""
    path, text = read.folder / name, FILES[name]
    for encoding, words in (("utf-8-sig", "byte order mark"), ("utf-16", "UTF-16")):
        path.write_bytes(text.encode(encoding))
        with pytest.raises(InputError, match=f"{words}.* — save it as UTF-8 without") as caught:
            SystemBuilder.from_structure(path, comm=Comm.serial())
        assert str(path) in str(caught.value)
    whole = read(name, path.read_bytes().decode("utf-16"))  # saved as the remedy says
    assert whole.n_total == (3 if name == "x.gro" else 2) and whole.cell.bounded and whole.cell.periodic[0]


@pytest.mark.parametrize(
    ("name", "plain", "fortran"),
    [
        ("x.data", "5.0 1.0", "0.5D+01 1.0"), ("x.data", "39.948", "3.9948D1"), ("x.data", "0 10 xlo", "0 1.0D1 xlo"),
        ("d.lammpstrj", "4.0 0 0", "0.4D+01 0 0"), ("d.lammpstrj", "1 11", "1 1.1D+01"), ("x.xyz", "4.0", "4.D0"),
        ("x.xyz", '"10', '"1D+1'), ("POSCAR", "0.4", "4.0D-01"), ("POSCAR", "\n10\n", "\n0.1D+02\n"),
        ("x.cif", "0.5", ".5D0"),
    ],
)  # fmt: skip
def test_exponents_of_fortran(read: Reader, name: str, plain: str, fortran: str) -> None:
    """The remedy names the number and how to write it; the file is what it was then."""
    assert plain in FILES[name]
    spoiled = FILES[name].replace(plain, fortran, 1)
    good, bad = re.findall(r"E: (\S+) in place of (\S+)", remedy(read, name, spoiled, "exponents with E"))[0]
    mended, expected = read(name, spoiled.replace(bad, good)).contents, read(name, FILES[name]).contents
    np.testing.assert_allclose(mended.position, expected.position, atol=1e-12)
    np.testing.assert_allclose(mended.rows, expected.rows, atol=1e-12)
    np.testing.assert_allclose(mended.masses, expected.masses, rtol=1e-12)


def test_occupancy_and_disorder(read: Reader) -> None:
    """An ordered cell is right; one group left in the file, and its column removed, too."""
    partial = CIF.format(key="occupancy", a="1.0", b="0.5")
    assert "ordered structure" in remedy(read, "x.cif", partial, "Au1 is occupied to 0.5")
    ordered = partial.replace("Au1 Au 0.5 0 0 0.5\n", "Au1 Au 0.5 0 0 1\n")
    assert symbols(read("x.cif", ordered)) == ["Cu", "Au"]
    groups = CIF.format(key="disorder_group", a="1", b="2")
    said = remedy(read, "x.cif", groups, "Cu1 belongs to the disorder group 1")
    assert "leave one group" in said and "remove the column _atom_site_disorder_group" in said
    left = groups.replace("Au1 Au 0.5 0 0 2\n", "").replace("_atom_site_disorder_group\n", "").replace("0 0 1", "0 0")
    assert symbols(read("x.cif", left)) == ["Cu"]
    half = CRYSTAL + pdb_line(" C", "C", 0.5) + pdb_line(" N", "N", location="B", x=3.0)
    assert "an occupancy of 1 and no letter" in remedy(read, "x.pdb", half, "occupied to less than 1")
    read.refuses("alternate location", "x.pdb", half.replace("  0.50", "  1.00"))  # the next reason
    assert symbols(read("x.pdb", half.replace("  0.50", "  1.00").replace("BALA", " ALA"))) == ["C", "N"]


def test_gro_files_of_several_frames(read: Reader) -> None:
    two = gro("C", "O", "H") + gro("C", "O", "H").replace("0.300", "0.700")
    assert "one whole frame" in remedy(read, "x.gro", two, "several frames")
    last = "\n".join(two.splitlines()[6:]) + "\n"  # what gmx trjconv -dump writes of it
    assert read("x.gro", last).contents.position[2, 0] == pytest.approx(7.0)


@pytest.mark.parametrize("form", ["data", "dump"])
def test_reduced_units(read: Reader, form: str) -> None:
    """Converted as the remedy says, with sigma, epsilon and mass of argon; the velocity by √(epsilon/m), in Å/ps."""
    sigma, epsilon, mass = 3.4, 0.0103, 39.948
    speed = float(np.sqrt(epsilon / (mass * 103.642697))) * 1e3  # 1 amu Å²/fs² = 103.642697 eV

    def write(x: str, velocity: str, masses: str, units: str, box: str) -> str:
        if form == "dump":
            text = dump("element x y z vx vy vz", f"Ar {x} 0 0 {velocity} 0 0", "Ar 0 0 0 0 0 0")
            return f"ITEM: UNITS\n{units}\n{text}".replace("1 11", f"0 {box}").replace("0 10", f"0 {box}")
        text = data(masses, title=f"made by hand, units = {units}").replace("5.0 1.0 1.0", f"{x} 1.0 1.0")
        return text.replace("0 10 ", f"0 {box} ") + f"\nVelocities\n\n1 {velocity} 0 0\n2 0 0 0\n"

    said = remedy(read, "x", write("3.0", "0.5", "1 1.0\n2 1.0", "lj", "10"), "reduced units")
    assert "convert it to metal units" in said and "state units = metal" in said
    text = write(f"{3.0 * sigma:.6f}", f"{0.5 * speed:.8f}", f"1 {mass}\n2 83.798", "metal", f"{10 * sigma}")
    mended = read("x", text).contents
    assert mended.velocity is not None and np.abs(mended.velocity).max() == pytest.approx(0.5 * speed * 1e-3)
    assert np.abs(mended.position).max() == pytest.approx(3.0 * sigma) and mended.rows[1, 1] == pytest.approx(34.0)


@pytest.mark.parametrize("write", [lambda: data(), lambda: dump("type x y z", "1 0 0 0", "2 4 0 0")])
def test_types(read: Reader, write: Callable[[], str]) -> None:
    """The example in the message, applied as it stands."""
    said = remedy(read, "x", write(), "types of its atoms")
    names = re.findall(r'"(\w+)"', said)
    assert symbols(read("x", write(), types={str(k): name for k, name in enumerate(names, 1)})) == names == ["Ar", "Kr"]
