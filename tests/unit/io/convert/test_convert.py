"""Conversions there and back: what a format holds comes back, to the bit where its numbers allow it."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from trajectories import CELLS, N_ATOMS, converted, write_trajectory

from allegro_md import open_frames, read_trajectory
from allegro_md.cli import main
from allegro_md.errors import InputError
from allegro_md.io.convert import convert
from allegro_md.io.frames import FrameSource, StoredFrame

EVERYTHING = slice(None)
Stored = Callable[..., Path]


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Stored:
    """`write_trajectory`, once for the same arguments."""

    @cache
    def make(cell: str = "restricted", **options: Any) -> Path:
        return write_trajectory(tmp_path_factory.mktemp("run"), cell, **options)

    return make


def assert_same_atoms(first: FrameSource, second: FrameSource) -> None:
    assert first.n_frames == second.n_frames and np.array_equal(first.species, second.species)
    assert first.masses is not None and second.masses is not None and np.array_equal(first.masses, second.masses)


def assert_same_frame(one: StoredFrame, other: StoredFrame, bits: tuple[str, ...], near: tuple[str, ...] = ()) -> None:
    for name in bits:
        a, b = getattr(one, name), getattr(other, name)
        assert a.dtype == b.dtype and a.tobytes() == b.tobytes(), name
    for name in near:
        np.testing.assert_allclose(getattr(one, name), getattr(other, name), rtol=1e-15, atol=0)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("cell", CELLS)
def test_h5md_to_h5md(tmp_path: Path, stored: Stored, cell: str, dtype: str) -> None:
    path = stored(cell, dtype=dtype)
    converted(path, tmp_path / "out.h5", slice(1, None, 2))
    with read_trajectory(path) as old, read_trajectory(tmp_path / "out.h5") as new:
        assert new.steps.tolist() == [5, 15] and new.times.tolist() == [2.5, 7.5] and new.fields == old.fields
        assert new.periodic == old.periodic and np.array_equal(new.species, old.species)
        assert old.masses is not None and new.masses is not None and np.array_equal(old.masses, new.masses)
        for one, other in zip(old[1::2], new, strict=True):
            assert_same_frame(one, other, ("position", "image", "velocity", "force", "unwrapped"))
            assert np.array_equal(one.cell.given_rows, other.cell.given_rows)


@pytest.mark.parametrize("cell", CELLS)
def test_extended_xyz_and_back(tmp_path: Path, stored: Stored, cell: str) -> None:
    """Velocities are momenta on the way, and may be rounded twice."""
    path = stored(cell)
    converted(path, tmp_path / "x.extxyz")
    converted(tmp_path / "x.extxyz", tmp_path / "out.h5")
    with read_trajectory(path) as old, read_trajectory(tmp_path / "out.h5") as new:
        assert_same_atoms(old, new)
        assert np.array_equal(old.steps, new.steps) and np.array_equal(old.times, new.times)
        assert new.periodic == old.periodic
        for one, other in zip(old, new, strict=True):
            assert_same_frame(one, other, ("position", "image", "force", "unwrapped"), ("velocity",))
            assert np.array_equal(one.cell.given_rows, other.cell.given_rows)


def test_float32_through_text(tmp_path: Path, stored: Stored) -> None:
    """The same numbers, in float64."""
    path = stored(dtype="float32")
    converted(path, tmp_path / "x.extxyz")
    with read_trajectory(path) as old, open_frames(tmp_path / "x.extxyz") as new:
        for one, other in zip(old, new, strict=True):
            assert np.array_equal(one.position, other.position) and np.array_equal(one.force, other.force)
            assert np.array_equal(one.velocity, other.velocity.astype(np.float32))


@pytest.mark.parametrize("cell", ["orthogonal", "restricted", "slab", "none"])
def test_a_dump_and_back(tmp_path: Path, stored: Stored, cell: str) -> None:
    """In the orientation of LAMMPS; the box of a tilted cell is rounded, and velocities are in Å/ps on the way."""
    path = stored(cell)
    said = converted(path, tmp_path / "x.dump")
    assert any("holds no times" in line for line in said) and not any("turned" in line for line in said)
    converted(tmp_path / "x.dump", tmp_path / "out.h5", timestep=2.5)
    with read_trajectory(path) as old, read_trajectory(tmp_path / "out.h5") as new:
        assert_same_atoms(old, new)
        assert np.array_equal(old.steps, new.steps) and np.array_equal(old.times, new.times)
        assert new.periodic == old.periodic
        for one, other in zip(old, new, strict=True):
            assert_same_frame(one, other, ("position", "image", "force"), ("velocity",))
            np.testing.assert_allclose(other.cell.given_rows, one.cell.given_rows, rtol=0, atol=1e-14)
            np.testing.assert_allclose(other.unwrapped, one.unwrapped, rtol=0, atol=1e-13)


@pytest.mark.parametrize("suffix", ["dump", "data"])
@pytest.mark.parametrize("cell", ["general", "wire"])
def test_lammps_files_of_a_turned_cell(tmp_path: Path, stored: Stored, suffix: str, cell: str) -> None:
    """One rotation takes cell, positions, velocities and forces along."""
    path = stored(cell)
    said = converted(path, tmp_path / f"x.{suffix}", slice(2, 3))
    assert sum("turned" in line for line in said) == 1
    with read_trajectory(path) as old, open_frames(tmp_path / f"x.{suffix}", stop=1) as new:
        one, other = old[2], new[0]
        names = [name for name in ("velocity", "force") if name in new.fields]
        assert names == (["velocity", "force"] if suffix == "dump" else ["velocity"])
        before = np.concatenate([one.unwrapped - one.unwrapped[0], *(getattr(one, name) for name in names)])
        after = np.concatenate([other.unwrapped - other.unwrapped[0], *(getattr(other, name) for name in names)])
        rotation = np.linalg.lstsq(before, after, rcond=None)[0]
        np.testing.assert_allclose(before @ rotation, after, rtol=0, atol=1e-11)
        np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), rtol=0, atol=1e-12)
        assert np.linalg.det(rotation) == pytest.approx(1.0)
        periodic = [k for k in range(3) if one.cell.periodic[k]]
        np.testing.assert_allclose((one.cell.matrix @ rotation)[periodic], other.cell.matrix[periodic], atol=1e-12)
        assert np.array_equal(np.asarray(one.image)[:, periodic], np.asarray(other.image)[:, periodic])


@pytest.mark.parametrize("cell", ["orthogonal", "restricted"])
def test_a_data_file_and_back(tmp_path: Path, stored: Stored, cell: str) -> None:
    path = stored(cell)
    said = converted(path, tmp_path / "x.data", slice(-1, None))
    assert any("holds no forces, steps and times" in line for line in said)
    converted(tmp_path / "x.data", tmp_path / "out.h5")
    with read_trajectory(path) as old, read_trajectory(tmp_path / "out.h5") as new:
        assert np.array_equal(old.species, new.species)
        assert old.masses is not None and new.masses is not None and np.array_equal(old.masses, new.masses)
        assert_same_frame(old[-1], new[0], ("position", "image"), ("velocity",))
        np.testing.assert_allclose(new[0].cell.matrix, old[-1].cell.matrix, rtol=0, atol=1e-14)


@pytest.mark.parametrize("cell", CELLS)
def test_dcd_and_back(tmp_path: Path, stored: Stored, cell: str) -> None:
    """Positions to the bit of float32 where the cell was not turned."""
    pytest.importorskip("MDAnalysis")
    path = stored(cell, dtype="float32")
    said = converted(path, tmp_path / "x.dcd")
    assert any("holds no velocities, forces, images and masses" in line for line in said)
    converted(path, tmp_path / "x.extxyz", slice(0, 1))
    converted(tmp_path / "x.dcd", tmp_path / "out.h5", topology=tmp_path / "x.extxyz")
    with read_trajectory(path) as old, read_trajectory(tmp_path / "out.h5") as new:
        assert np.array_equal(old.species, new.species) and np.array_equal(old.steps, new.steps)
        np.testing.assert_allclose(new.times, old.times, rtol=1e-6)
        turned = cell == "general"
        for one, other in zip(old, new, strict=True):
            if not turned:
                assert one.position.tobytes() == other.position.tobytes()
            if one.cell.bounded:
                np.testing.assert_allclose(other.cell.matrix @ other.cell.matrix.T, one.cell.matrix @ one.cell.matrix.T,
                                           rtol=0, atol=1e-4)
                before, after = (np.linalg.solve(f.cell.matrix.T, f.position.T) for f in (one, other))
                np.testing.assert_allclose(after, before, rtol=0, atol=1e-5)


def test_a_box_with_its_corner_elsewhere(tmp_path: Path) -> None:
    """H5MD holds no corner: atoms are wrapped again, and unwrapped positions stay."""
    rows = "".join(f"{k} Li {x} 1 1 {k} 0 -1\n" for k, x in ((1, -4.5), (2, 0.25), (3, 5.0)))
    head = "ITEM: TIMESTEP\n7\nITEM: NUMBER OF ATOMS\n3\nITEM: BOX BOUNDS pp pp pp\n-5 5\n0 10\n0 10\n"
    text = f"{head}ITEM: ATOMS id element x y z ix iy iz\n{rows}"
    (tmp_path / "x.dump").write_text(text)
    said = converted(tmp_path / "x.dump", tmp_path / "x.h5")
    assert any("no corner of the box" in line for line in said)
    with read_trajectory(tmp_path / "x.h5") as new, open_frames(tmp_path / "x.dump") as old:
        assert new[0].position[:, 0].tolist() == [5.5, 0.25, 5.0] and new[0].image[:, 0].tolist() == [0, 2, 3]
        assert np.array_equal(new[0].unwrapped, old[0].unwrapped)
    converted(tmp_path / "x.dump", tmp_path / "y.dump")
    with open_frames(tmp_path / "y.dump") as again:
        assert again[0].cell.origin.tolist() == [-5, 0, 0] and again[0].position[0, 0] == -4.5


def test_positions_without_images_stay(tmp_path: Path, stored: Stored) -> None:
    path = stored(fields=("position",))
    for name in ("x.extxyz", "x.dump", "x.data"):
        converted(path, tmp_path / name, slice(0, 1))
        with read_trajectory(path) as old, open_frames(tmp_path / name) as new:
            assert new.fields == ("position",) and np.array_equal(old[0].position, new[0].position)


def test_memory_does_not_grow(tmp_path: Path) -> None:
    """With the number of frames: they are written as they are read."""
    frame = "1000\npbc=F Properties=species:S:1:pos:R:3\n" + "".join(f"Li {k} 0 0\n" for k in range(1000))
    peaks = []
    for count in (2, 20):
        (tmp_path / "x.extxyz").write_text(count * frame)
        with open_frames(tmp_path / "x.extxyz") as frames:
            tracemalloc.start()
            convert(frames, EVERYTHING, tmp_path / "x.dump", lambda _: None, overwrite=True)
            peaks.append(tracemalloc.get_traced_memory()[1])
            tracemalloc.stop()
    assert peaks[1] < 1.1 * peaks[0]


# --- the command --------------------------------------------------------------------------------------------------


def test_the_command(tmp_path: Path, stored: Stored, capsys: pytest.CaptureFixture[str]) -> None:
    path = stored(frames=6)
    out = tmp_path / "x.extxyz"
    for frames, steps in (
        (":", [0, 5, 10, 15, 20, 25]), ("1:5:2", [5, 15]), ("-2:", [20, 25]), ("-1", [25]), ("2", [10]),
    ):  # fmt: skip
        assert main(["convert", str(path), str(out), f"--frames={frames}", "--overwrite"]) == 0
        with open_frames(out) as source:
            assert source.steps.tolist() == steps
    assert f"wrote 1 frame of {N_ATOMS} atoms to {out}" in capsys.readouterr().out


@pytest.fixture(scope="module")
def bad(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files that cannot be converted."""
    folder = tmp_path_factory.mktemp("bad")
    path = write_trajectory(folder / "run")
    converted(path, folder / "there.extxyz")
    text = (folder / "there.extxyz").read_text()
    (folder / "cut.extxyz").write_text(text[:-200])
    (folder / "left.extxyz").write_text('1\nLattice="0 1 0 1 0 0 0 0 1" Properties=species:S:1:pos:R:3\nLi 0 0 0\n')
    (folder / "wire.extxyz").write_text('1\nLattice="1 0 0 0 0 0 0 0 0" pbc="T F F"\nLi 0 0 0\n')
    (folder / "types.dump").write_text(
        "ITEM: TIMESTEP\n0\nITEM: NUMBER OF ATOMS\n1\nITEM: BOX BOUNDS pp pp pp\n0 1\n0 1\n0 1\n"
        "ITEM: ATOMS id type x y z\n1 1 0 0 0\n"
    )
    return folder


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["no.h5", "x.extxyz"], ["no such file"]),
        (["run/trajectory.h5", "there.extxyz"], ["is there already", "--overwrite"]),
        (["run/trajectory.h5", "no/x.extxyz"], ["no such folder"]),
        (["run/trajectory.h5", "run/trajectory.h5", "--overwrite"], ["is the file that is read"]),
        (["there.extxyz", "run/trajectory.h5", "--overwrite"], ["is the trajectory of a run"]),
        (["run/trajectory.h5", "x.what"], ["does not say in which format", ".extxyz"]),
        (["run/trajectory.h5", "x.extxyz.gz"], ["compressed files are not written"]),
        (["run/trajectory.h5", "x.data"], ["holds one frame, and 4 were chosen", "--frames -1"]),
        (["run/trajectory.h5", "x.vasp"], ["holds one frame, and 4 were chosen"]),
        (["run/trajectory.h5", "x.extxyz", "--frames", "9:"], ["has 4 frames, and none was chosen"]),
        (["run/trajectory.h5", "x.extxyz", "--frames", "a"], ["'a' does not name frames", "0:100:10"]),
        (["run/trajectory.h5", "x.extxyz", "--frames", "::-1"], ["forwards only"]),
        (["run/trajectory.h5", "x.extxyz", "--timestep", "1 K"], ["unknown unit 'K' for a time"]),
        (["run/trajectory.h5", "x.extxyz", "--types", "Li"], ["types says nothing about a file in the format H5MD"]),
        (["cut.extxyz", "x.h5"], ["frame 3 is cut short", "--frames :3"]),
        (["left.extxyz", "x.dump"], ["left-handed"]),
        (["left.extxyz", "x.dcd"], ["left-handed"]),
        (["wire.extxyz", "x.vasp"], ["ASE cannot write it as vasp"]),
        (["types.dump", "x.h5"], ["does not say which elements", "types = ["]),
    ],
)
def test_bad_input(
    bad: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str],
    words: list[str],
) -> None:
    """One line, status 2, and nothing written."""
    before = {p: p.read_bytes() for p in bad.rglob("*") if p.is_file()}
    monkeypatch.chdir(bad)
    assert main(["convert", *arguments]) == 2
    said = capsys.readouterr()
    lines = [line for line in said.err.splitlines() if not line.startswith("remark: ")]
    assert len(lines) == 1 and lines[0].startswith("allegro-md: ") and " — " in lines[0] and not said.out
    assert all(word in lines[0] for word in words), lines
    assert {p: p.read_bytes() for p in bad.rglob("*") if p.is_file()} == before


def test_truncated_files_up_to_the_cut(tmp_path: Path, stored: Stored) -> None:
    path = stored()
    converted(path, tmp_path / "x.extxyz")
    text = (tmp_path / "x.extxyz").read_text()
    (tmp_path / "x.extxyz").write_text(text[:-200])
    assert main(["convert", str(tmp_path / "x.extxyz"), str(tmp_path / "y.h5"), "--frames", ":3"]) == 0
    with read_trajectory(tmp_path / "y.h5") as new:
        assert new.n_frames == 3


def test_a_failure_leaves_the_old_file(tmp_path: Path, stored: Stored) -> None:
    """The third frame cannot be read."""
    path = stored()
    converted(path, tmp_path / "x.extxyz")
    lines = (tmp_path / "x.extxyz").read_text().splitlines(keepends=True)
    bad = 2 * (N_ATOMS + 2) + 5
    lines[bad] = lines[bad].replace(lines[bad].split()[2], "one")
    (tmp_path / "bad.extxyz").write_text("".join(lines))
    (tmp_path / "out.h5").write_text("old")
    with open_frames(tmp_path / "bad.extxyz") as source, pytest.raises(InputError, match=f"line {bad + 1}: 'one'"):
        convert(source, EVERYTHING, tmp_path / "out.h5", lambda _: None, overwrite=True)
    assert (tmp_path / "out.h5").read_text() == "old" and not (tmp_path / "out.h5.part").exists()
