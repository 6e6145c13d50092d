"""Frames of every format, against the programs that write it and files written by hand."""

from __future__ import annotations

import gzip
import os
from pathlib import Path
from typing import Any

import ase
import numpy as np
import pytest
from ase import units
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write

from allegro_md import open_frames
from allegro_md.errors import InputError
from allegro_md.io.frames import FrameSource, StoredFrame, require_times
from allegro_md.io.trajectory import Frame, Trajectory

TRICLINIC = np.array([[9.0, 1.0, 0.0], [4.0, 8.0, 0.5], [-3.0, 2.0, 10.0]])


def configuration(k: int, n: int = 6) -> ase.Atoms:
    """A frame with velocities and forces, and a cell that breathes."""
    random = np.random.default_rng(k)
    atoms = ase.Atoms("LiO" * (n // 2), positions=random.normal(size=(n, 3)), cell=TRICLINIC + 0.1 * k, pbc=(1, 1, 0))
    atoms.set_velocities(random.normal(size=(n, 3)))
    atoms.calc = SinglePointCalculator(atoms, forces=random.normal(size=(n, 3)))
    atoms.info["step"] = 10 * k
    return atoms


def as_protocol(trajectory: Trajectory, frame: Frame) -> tuple[FrameSource, StoredFrame]:
    """Trajectories of this program fulfill the interface: mypy reads this."""
    return trajectory, frame


@pytest.fixture
def extxyz(tmp_path: Path) -> Path:
    write(tmp_path / "ase.extxyz", [configuration(k) for k in range(5)])
    return tmp_path / "ase.extxyz"


def test_extended_xyz_of_ase(extxyz: Path) -> None:
    with open_frames(extxyz) as source:
        assert (source.n_frames, source.n_atoms, source.periodic) == (5, 6, (True, True, False))
        assert source.fields == ("position", "velocity", "force")
        assert source.steps.tolist() == [0, 10, 20, 30, 40] and np.isnan(source.times).all()
        assert source.species.tolist() == [3, 8] * 3
        for k in (3, 0, 4, 1):  # in any order
            frame, atoms = source[k], configuration(k)
            np.testing.assert_allclose(frame.position, atoms.positions, rtol=0, atol=1e-8)
            np.testing.assert_allclose(frame.velocity, atoms.get_velocities() * units.fs, rtol=0, atol=1e-8)
            np.testing.assert_allclose(frame.force, atoms.get_forces(), rtol=0, atol=1e-8)
            np.testing.assert_allclose(frame.cell.matrix, TRICLINIC + 0.1 * k, rtol=0, atol=1e-8)
            assert np.array_equal(frame.atoms(2, 5).force, frame.force[2:5])
        assert [frame.step for frame in source[-2::-2]] == [30, 10]
        with pytest.raises(InputError, match="holds no images or unwrapped positions"):
            _ = source[1].unwrapped
        with pytest.raises(InputError, match="--timestep"):
            require_times(source)
    with open_frames(extxyz, timestep=2.5) as source:
        assert require_times(source).tolist() == [0.0, 2.5, 5.0, 7.5, 10.0]


DUMP = """ITEM: TIMESTEP
{step}
ITEM: NUMBER OF ATOMS
3
ITEM: BOX BOUNDS xy xz yz pp pp pp
1 16 3
2 12 0
0 10 0
ITEM: ATOMS {columns}
"""


def dump(path: Path, columns: str, *frames: tuple[str, ...], head: str = "") -> Path:
    """A dump of a cell a = (12, 0, 0), b = (3, 10, 0), c = (0, 0, 10) at (1, 2, 0)."""
    text = "".join(DUMP.format(step=100 * k, columns=columns) + "\n".join(rows) + "\n" for k, rows in enumerate(frames))
    path.write_text(head + text)
    return path


@pytest.mark.parametrize(
    ("columns", "first"),
    [("x y z ix iy iz", "8.5 7 1 -1 2 0"), ("xs ys zs ix iy iz", "0.5 0.5 0.1 -1 2 0"), ("xu yu zu", "2.5 27 1"),
     ("xsu ysu zsu", "-0.5 2.5 0.1"), ("x y z ix iy iz xu yu zu", "8.5 7 1 -1 2 0 2.5 27 1")],
)  # fmt: skip
def test_coordinates_of_a_dump(tmp_path: Path, columns: str, first: str) -> None:
    """One atom at (8.5, 7, 1) in the cell, displaced by (−1, 2, 0) cells."""
    rest = " ".join("0" for _ in columns.split())
    rows = (f"9 2 {rest}", f"4 1 {first}", f"5 2 {rest}")
    path = dump(tmp_path / "x.dump", f"id type {columns}", rows, rows[::-1])
    with open_frames(path, types=["Li", "O"]) as source:
        assert source.species.tolist() == [3, 8, 8] and source.steps.tolist() == [0, 100]
        assert "image" in source.fields
        for frame in source:
            np.testing.assert_allclose(frame.unwrapped[0], [2.5, 27, 1], rtol=0, atol=1e-13)
            np.testing.assert_allclose(frame.position[0], [8.5, 7, 1], rtol=0, atol=1e-13)
            assert frame.image[0].tolist() == [-1, 2, 0]
            assert frame.cell.origin.tolist() == [1, 2, 0] and frame.cell.matrix[1].tolist() == [3, 10, 0]


@pytest.mark.parametrize(("name", "velocity", "force", "time"), [("metal", 1e-3, 1.0, 1e3),
                                                                ("real", 1.0, 0.0433641, 1.0)])
def test_units_of_a_dump(tmp_path: Path, name: str, velocity: float, force: float, time: float) -> None:
    rows = tuple(f"{k} Li 0 0 {k} 1 2 3 4 5 6" for k in (1, 2, 3))
    head = f"ITEM: UNITS\n{name}\nITEM: TIME\n0.5\n"
    with open_frames(dump(tmp_path / "x.dump", "id element x y z vx vy vz fx fy fz", rows, head=head)) as source:
        np.testing.assert_allclose(source[0].velocity[1], np.array([1, 2, 3]) * velocity)
        np.testing.assert_allclose(source[0].force[1], np.array([4, 5, 6]) * force, rtol=1e-6)
        assert source.times.tolist() == [0.5 * time]


def with_mdanalysis(folder: Path, suffix: str) -> tuple[Path, list[np.ndarray]]:
    """A file of four frames that MDAnalysis writes, and the positions."""
    mda = pytest.importorskip("MDAnalysis")
    universe = mda.Universe.empty(12, trajectory=True, velocities=suffix == "trr")
    path, places = folder / f"x.{suffix}", []
    with mda.Writer(str(path), 12, dt=0.5) as writer:
        for k in range(4):
            places.append(np.random.default_rng(k).normal(size=(12, 3)).astype(np.float32))
            universe.atoms.positions, universe.dimensions = places[k], [11, 12, 13, 80, 85, 95]
            if suffix == "trr":
                universe.atoms.velocities = 1000 * places[k]
            universe.trajectory.ts.time, universe.trajectory.ts.frame = 0.5 * k, k
            writer.write(universe.atoms)
    write(folder / "x.cif", configuration(0, 12))
    return path, places


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("suffix", "digits"), [("dcd", 0.0), ("xtc", 5.1e-3), ("trr", 1e-6), ("nc", 0.0)])
def test_formats_of_mdanalysis(tmp_path: Path, suffix: str, digits: float) -> None:
    path, places = with_mdanalysis(tmp_path, suffix)
    with pytest.raises(InputError, match="does not say which elements.*--topology"):
        open_frames(path)
    with open_frames(path, topology=tmp_path / "x.cif") as source:
        assert source.n_frames == 4 and source.species.tolist() == [3, 8] * 6
        np.testing.assert_allclose(source.times, [0, 500, 1000, 1500], rtol=1e-6)
        for k in (2, 0, 3, 1):
            np.testing.assert_allclose(source[k].position, places[k], rtol=0, atol=digits)
        assert np.linalg.norm(source[1].cell.matrix, axis=1) == pytest.approx([11, 12, 13])
        assert source.fields == (("position", "velocity") if suffix == "trr" else ("position",))
        if suffix == "trr":
            np.testing.assert_allclose(source[2].velocity, places[2], rtol=1e-5)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("suffix", ["dcd", "xtc", "trr", "nc"])
def test_a_cut_file_of_mdanalysis(tmp_path: Path, suffix: str, capfd: Any) -> None:
    path, _ = with_mdanalysis(tmp_path, suffix)
    os.truncate(path, path.stat().st_size - 20)
    with pytest.raises(InputError, match="cannot be read|frame 3 is cut short|cannot read it"):
        open_frames(path, topology=tmp_path / "x.cif")
    if suffix != "nc":
        with open_frames(path, topology=tmp_path / "x.cif", stop=3) as source:
            assert source.n_frames == 3
    assert not capfd.readouterr().err


@pytest.mark.parametrize("left", [60, 250, 500])
def test_a_cut_text_file(extxyz: Path, left: int) -> None:
    path = extxyz.with_name("cut.extxyz")
    path.write_bytes(extxyz.read_bytes()[:-left])
    with pytest.raises(InputError, match="frame 4 is cut short.*--frames :4"):
        open_frames(path)
    with open_frames(path, stop=4) as source:
        assert source.n_frames == 4


def test_a_number_that_is_cut(extxyz: Path) -> None:
    """The line has all its columns."""
    path = extxyz.with_name("cut.extxyz")
    path.write_bytes(extxyz.read_bytes()[:-3])
    with pytest.raises(InputError, match="frame 4 is cut short"):
        open_frames(path)


def test_refusals(tmp_path: Path, extxyz: Path) -> None:
    rows = tuple(f"{k} Li {k} 0 0" for k in (1, 2, 3))
    good = "id element x y z"

    def refuses(match: str, path: Path, **options: Any) -> None:
        with pytest.raises(InputError, match=match), open_frames(path, **options) as source:
            for frame in source:
                _ = frame.position
        with pytest.raises(InputError) as caught:
            [frame.position for frame in open_frames(path, **options)]
        assert "\n" not in str(caught.value) and caught.value.remedy and "system." not in str(caught.value)

    refuses("no such file", tmp_path / "no.xyz")
    refuses("is a folder", tmp_path)
    (tmp_path / "empty.xyz").write_text("\n")
    refuses("holds no frames", tmp_path / "empty.xyz")
    refuses("number of atoms, found", dump(tmp_path / "x.xyz", good, rows, head="hello\n"))
    refuses("frame 1 has other atoms", dump(tmp_path / "i", good, rows, ("1 Li 0 0 0", "2 Li 0 0 0", "4 Li 0 0 0")))
    swapped = (rows[0].replace("Li", "O"), *rows[1:])
    refuses("frame 1 has its atoms in another order", dump(tmp_path / "o", good, rows, swapped))
    refuses("no column id", dump(tmp_path / "n", "element x y z", tuple(row[2:] for row in rows)))
    refuses("two atoms with the same id", dump(tmp_path / "t", good, (rows[0], *rows[:2])))
    refuses("atom 2 in frame 1 is not finite", dump(tmp_path / "f", good, rows, (*rows[:2], "3 Li nan 0 0")))
    refuses("numbers the types.*for example types = ", dump(tmp_path / "e", "id type x y z", ("1 1 0 0 0",) * 3))
    refuses("frame 1 is cut short: 2 of 3", dump(tmp_path / "c", good, rows, rows[:2]))
    refuses("topology says nothing about", extxyz, topology=extxyz)
    refuses("timestep must be positive", extxyz, timestep=0.0)
    refuses("Xx, which is no chemical symbol", extxyz, types=["Xx"])
    packed = tmp_path / "x.xyz.gz"
    packed.write_bytes(gzip.compress(extxyz.read_bytes()))
    refuses("is compressed", packed)
    packed = tmp_path / "x.dump.gz"
    packed.write_bytes(gzip.compress(dump(tmp_path / "x.dump", good, rows).read_bytes()))
    refuses("is compressed", packed)
    write(tmp_path / "n.extxyz", [configuration(0), configuration(1, 8)])
    refuses("frame 1 has 8 atoms, the first has 6", tmp_path / "n.extxyz")
    (tmp_path / "x.dcd").write_text("no")
    refuses("MDAnalysis cannot read it", tmp_path / "x.dcd", topology=extxyz)


def test_a_data_file(tmp_path: Path) -> None:
    """Its images and the corner of its box are kept."""
    path = tmp_path / "x.data"
    path.write_text("x, units = real\n\n2 atoms\n1 atom types\n-1 9 xlo xhi\n0 10 ylo yhi\n0 10 zlo zhi\n\n"
                    "Masses\n\n1 6.94\n\n"
                    "Atoms # atomic\n\n2 1 1 2 3 0 0 0\n1 1 4 5 6 -1 0 2\n\nVelocities\n\n1 1 0 0\n2 0 1 0\n")
    with open_frames(path) as source:
        frame = source[0]
        assert source.n_frames == 1 and source.species.tolist() == [3, 3] and frame.cell.origin.tolist() == [-1, 0, 0]
        assert frame.position.tolist() == [[4, 5, 6], [1, 2, 3]] and frame.image.tolist() == [[-1, 0, 2], [0, 0, 0]]
        assert frame.unwrapped[0].tolist() == [-6, 5, 26] and frame.velocity.tolist() == [[1, 0, 0], [0, 1, 0]]


@pytest.mark.parametrize("name", ["x.traj", "XDATCAR", "x.pdb"])
def test_frames_of_ase(tmp_path: Path, name: str) -> None:
    images = [configuration(k) for k in range(3)]
    for atoms in images:
        atoms.wrap()
        atoms.pbc = True
        atoms.calc = SinglePointCalculator(atoms, forces=atoms.positions)
    write(tmp_path / name, images)
    with open_frames(tmp_path / name, timestep=1.0) as source:
        assert source.n_frames == 3 and source.times.tolist() == [0, 1, 2]
        assert source.species.tolist() == images[0].numbers.tolist()
        assert source.fields == (("position", "velocity", "force") if name == "x.traj" else ("position",))
        for frame, atoms in zip(source, images, strict=True):
            distances = np.linalg.norm(frame.position[1:] - frame.position[0], axis=1)
            np.testing.assert_allclose(distances, atoms.get_distances(0, range(1, 6)), atol=2e-3)


def test_forces_of_a_trr(tmp_path: Path) -> None:
    """kJ/(mol Å), in which MDAnalysis has them, are 0.01036427 eV/Å."""
    mda = pytest.importorskip("MDAnalysis")
    universe = mda.Universe.empty(2, trajectory=True, forces=True)
    universe.atoms.positions, universe.atoms.forces = np.zeros((2, 3)), [[100, 0, 0], [0, -50, 0]]
    universe.dimensions = [10, 10, 10, 90, 90, 90]
    universe.atoms.write(str(tmp_path / "x.trr"))
    write(tmp_path / "x.cif", ase.Atoms("Li2", positions=[(0, 0, 0), (1, 1, 1)], cell=[5, 5, 5], pbc=True))
    with open_frames(tmp_path / "x.trr", topology=tmp_path / "x.cif") as source:
        np.testing.assert_allclose(source[0].force, [[1.036427, 0, 0], [0, -0.5182135, 0]], rtol=1e-6)
        assert source[0].force.dtype == np.float32
