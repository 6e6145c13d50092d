"""Stored trajectories: unwrapping without images, elements, what is refused; results of the command."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from feeding import Frames

from allegro_md.analysis.comoving import Comoving
from allegro_md.analysis.stored import Unwrapper
from allegro_md.cell import Cell
from allegro_md.cli import main
from allegro_md.cli.analyze import table_of

RNG = np.random.default_rng(4)


def write_frames(path: Path, frames: list[np.ndarray], cell: np.ndarray | None, symbols: list[str]) -> None:
    """An extended XYZ file."""
    lattice = "" if cell is None else 'Lattice="' + " ".join(map(str, cell.ravel())) + '" '
    text = ""
    for k, position in enumerate(frames):
        text += f"{len(symbols)}\n{lattice}Properties=species:S:1:pos:R:3 time={10.0 * k}\n"
        text += "".join(f"{s} {x!r} {y!r} {z!r}\n" for s, (x, y, z) in zip(symbols, position.tolist(), strict=True))
    path.write_text(text)


def csv_of(path: Path) -> np.ndarray:
    return np.loadtxt([line for line in path.read_text().splitlines() if line[0] != "#"][1:], delimiter=",", ndmin=2)


def test_positions_without_images_are_unwrapped(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A wrapped random walk has the displacements of the walk; the assumption is said."""
    cell = np.array([[8.0, 0.0, 0.0], [2.0, 7.0, 0.0], [0.0, -1.0, 9.0]])
    walk = np.cumsum(RNG.normal(scale=0.3, size=(60, 20, 3)), axis=0)
    walk -= walk.mean(axis=1, keepdims=True)
    wrapped = [(x @ np.linalg.inv(cell) % 1.0) @ cell for x in walk]
    write_frames(tmp_path / "walk.extxyz", wrapped, cell, ["Ar"] * 20)
    options = ["--out", str(tmp_path / "out"), "--timestep", "10"]
    assert main(["analyze", "msd", str(tmp_path / "walk.extxyz"), *options]) == 0
    assert "nearest one between two frames" in capsys.readouterr().out
    for time, msd in csv_of(tmp_path / "out" / "msd.csv")[:, :2]:
        lag = round(time / 10.0)
        step = 4 if 16 <= lag < 64 else 1
        expected = np.mean([((walk[k + lag] - walk[k]) ** 2).sum(axis=1).mean() for k in range(0, 60 - lag, step)])
        assert msd == pytest.approx(expected, rel=1e-9, abs=1e-12)
    assert json.loads((tmp_path / "out" / "msd.json").read_text())["samples"] == 60


def test_an_atom_alone_has_the_bits_it_has_among_others() -> None:
    """A rank may hold a single one: whatever is made of its coordinates must not depend on how many there are."""
    cells = [Cell(np.array([[8.1, 0.3, 0.2], [2.0, 7.3, -0.4], [0.1, -1.0, 9.7]]) * (1.0 + 0.01 * k)) for k in (0, 1)]
    frames = Frames(RNG.uniform(0.0, 7.0, (2, 300, 3)), ["Ar"] * 300, cells)
    unwrapped = [Unwrapper(), *(Unwrapper() for _ in range(300))]
    for k in (0, 1):
        sample = frames.sample(k)
        together = unwrapped[0](sample).position
        alone = [unwrapped[1 + i](replace(sample, position=sample.position[i : i + 1])).position[0] for i in range(300)]
        np.testing.assert_array_equal(together, alone)
    rows = [frames.position[0], *frames.position[0][:, None]]
    carried = []
    for position in rows:
        frame = Comoving(cells[0])
        frame.follow(cells[1], position.copy)
        carried.append(frame.rows()["affine"])
    np.testing.assert_array_equal(carried[0], np.concatenate(carried[1:]))


def test_a_jump_of_nearly_half_a_cell_is_a_warning(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    frames = [np.zeros((2, 3)), np.array([[3.9, 0.0, 0.0], [0.0, 0.0, 0.0]])]
    write_frames(tmp_path / "jump.extxyz", frames, 8.0 * np.eye(3), ["Ar", "Ar"])
    main(["analyze", "msd", str(tmp_path / "jump.extxyz"), "--out", str(tmp_path), "--timestep", "1"])
    assert "moved 0.49 of a cell" in capsys.readouterr().out


REFUSED = {
    "no such kind": (["analyze", "rfd", "walk"], "unknown kind 'rfd'"),
    "no trajectory": (["analyze", "rdf", "nothing.h5", "--out", "o"], "no such file"),
    "no out": (["analyze", "rdf", "walk.extxyz"], "--out DIR"),
    "no text": (["analyze", "averages", "binary", "--out", "o"], "is no thermo.csv"),
    "no frames": (["analyze", "rdf", "walk.extxyz", "--out", "o", "--frames", "7:"], "no frame is chosen of 3"),
    "an element": (["analyze", "rdf", "walk.extxyz", "--out", "o", "--species", "Li"], "there is no Li in the system"),
    "an option": (["analyze", "rdf", "walk.extxyz", "--out", "o", "--rmx", "3"], "unknown option --rmx"),
    "a value": (["analyze", "rdf", "walk.extxyz", "--out", "o", "--rmax", "-3"], "must be positive"),
    "no value": (["analyze", "rdf", "walk.extxyz", "--out", "o", "--rmax"], "--rmax has no value"),
    "an empty group": (
        ["analyze", "rdf", "walk.extxyz", "--out", "o", "--groups", "{a = {region = {x = [90, 91]}}}"],
        "group 'a' holds no atom",
    ),
    "an index": (
        ["analyze", "rdf", "walk.extxyz", "--out", "o", "--groups", "{a = {ids = [99]}}"], "there are 8 atoms"
    ),
    "no box": (["analyze", "rdf", "free.extxyz", "--out", "o"], "no box"),
    "no times": (["analyze", "msd", "walk.extxyz", "--out", "o", "--frames", "0:1"], "one sample only"),
    "uneven times": (
        ["analyze", "msd", "uneven.extxyz", "--out", "o"], "not equally spaced in time: 10 fs is followed by 30 fs"
    ),
    "times twice": (["analyze", "vacf", "twice.extxyz", "--out", "o"], "not equally spaced in time: 10 fs is followed"),
    "an option of trajectories": (
        ["analyze", "averages", "thermo.csv", "--out", "o", "--timestep", "2"],
        "--timestep says nothing about a thermo.csv",
    ),
    "an atom far away": (["analyze", "msd", "far.extxyz", "--out", "o"], "far.extxyz: "),
    "a long name": (["analyze", "rdf", "walk.extxyz", "--out", "o" * 300], "cannot be used"),
    "a long name to convert to": (["convert", "walk.extxyz", "o" * 300 + ".extxyz"], "cannot be used"),
    "a pipe": (["convert", "pipe", "o.extxyz"], "is a pipe"),
    "a cut file": (["analyze", "rdf", "cut.extxyz", "--out", "o"], "--frames"),
    "a group's name": (["analyze", "rdf", "walk.extxyz", "--out", "o", "--groups", "{a-b = {ids = [0]}}"], "a-b"),
    "a pair": (["analyze", "rdf", "walk.extxyz", "--out", "o", "--pairs", "Ar-Li"], "no group or element 'Li'"),
    "too fine": (["analyze", "rdf", "walk.extxyz", "--out", "o", "--bins", "100000"], "narrower than 0.001"),
    "a name": (["analyze", "rdf", "walk.extxyz", "--out", "o", "--name", "../x"], "cannot be part of a file name"),
    "a file as folder": (["analyze", "rdf", "walk.extxyz", "--out", "file"], "is no folder"),
    "points": (["analyze", "msd", "walk.extxyz", "--out", "o", "--points", "18"], "points: must be a multiple of 4"),
    "a time step of thermo.csv": (
        ["analyze", "averages", "thermo.csv", "--out", "o", "--timestep", "1 fs"], "--timestep says nothing"
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_refused_in_one_line(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With status 2, and nothing is written."""
    monkeypatch.chdir(tmp_path)
    frames = [RNG.uniform(0.0, 6.0, (8, 3)) for _ in range(3)]
    write_frames(tmp_path / "walk.extxyz", frames, 6.0 * np.eye(3), ["Ar"] * 8)
    write_frames(tmp_path / "free.extxyz", frames, None, ["Ar"] * 8)
    (tmp_path / "cut.extxyz").write_text((tmp_path / "walk.extxyz").read_text()[:-90])
    (tmp_path / "file").write_text("")
    (tmp_path / "binary").write_bytes(b"\x89HDF")
    walk = (tmp_path / "walk.extxyz").read_text()
    (tmp_path / "uneven.extxyz").write_text(walk.replace("time=20.0", "time=30.0"))
    (tmp_path / "twice.extxyz").write_text(walk.replace("time=20.0", "time=10.0"))
    write_frames(tmp_path / "far.extxyz", [*frames[:2], frames[2] * 1e300], 6.0 * np.eye(3), ["Ar"] * 8)
    os.mkfifo(tmp_path / "pipe")
    before = sorted(tmp_path.iterdir())
    arguments, message = REFUSED[case]
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert message in error and len(error.splitlines()) == 1 and error.startswith("allegro-md: "), error
    assert sorted(tmp_path.iterdir()) == before


def test_results_are_not_replaced(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_frames(tmp_path / "walk.extxyz", [RNG.uniform(0.0, 6.0, (8, 3))], 6.0 * np.eye(3), ["Ar"] * 8)
    command = ["analyze", "rdf", str(tmp_path / "walk.extxyz"), "--out", str(tmp_path / "o")]
    assert main(command) == 0
    assert main(command) == 2 and "--overwrite" in capsys.readouterr().err
    assert main([*command, "--overwrite"]) == 0


def test_lists_with_commas(tmp_path: Path) -> None:
    """Numbers, words and units are those of the same list in TOML."""
    wanted = {"steinhardt": ("l", "4,6", [4, 6]), "van-hove": ("times", "100,1 ps", [100.0, 1000.0])}
    for kind, (key, text, values) in wanted.items():
        more = ["--cutoff", "3"] if kind == "steinhardt" else []
        assert table_of(kind, [f"--{key}", text, *more]).model_dump(mode="json")[key] == values


def test_options_of_the_kind_may_stand_before_the_trajectory(tmp_path: Path) -> None:
    frames = str(tmp_path / "walk.extxyz")
    write_frames(Path(frames), [RNG.uniform(0.0, 9.0, (20, 3)) for _ in range(3)], 9.0 * np.eye(3), ["Ar"] * 20)
    behind, before = ["--out", str(tmp_path / "behind")], ["--out", str(tmp_path / "before")]
    assert main(["analyze", "rdf", frames, "--rmax", "5", "--bins", "10", *behind]) == 0
    assert main(["analyze", "rdf", "--rmax", "5", *before, "--bins=10", frames]) == 0
    first, second = (csv_of(tmp_path / name / "rdf.csv") for name in ("behind", "before"))
    assert first.shape == (10, 6) and np.array_equal(first, second)


def test_the_keys_of_a_kind_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["analyze", "rdf", "--keys"]) == 0
    text = capsys.readouterr().out
    assert "--rmax: largest distance, Å. [default: 8.0]" in text and "--groups" in text and "--every" not in text


def test_a_word_or_a_number_is_a_list_of_one(tmp_path: Path) -> None:
    """On the command line brackets need quotes; and a name may be a number."""
    write_frames(tmp_path / "walk.extxyz", [RNG.uniform(0.0, 6.0, (8, 3))] * 3, 6.0 * np.eye(3), ["Ar"] * 8)
    command = [str(tmp_path / "walk.extxyz"), "--out", str(tmp_path / "o"), "--name", "300"]
    assert main(["analyze", "van-hove", *command, "--times", "10"]) == 0
    assert main(["analyze", "steinhardt", *command, "--cutoff", "4", "--l", "6"]) == 0
    assert json.loads((tmp_path / "o" / "steinhardt-300.json").read_text())["settings"]["l"] == [6]
