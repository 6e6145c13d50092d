"""What the command line says of a structure: rows of ``check`` and lines of a run's log, on one rank and three."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from ranks import MpiRun

from allegro_md.cli import main

INPUT = """
[system]
structure = "start.data"
[potential]
kind = "lj"
pairs = { "Ar-Ar" = [0.0103, 3.4], "Kr-Kr" = [0.014, 3.65], "Ar-Kr" = [0.012, 3.52] }
cutoff = 5.0
[dynamics]
ensemble = "nve"
timestep = 1.0
steps = 0
[output]
directory = "run"
"""

DATA = """LAMMPS data file, units = real

3 atoms
2 atom types
0 10 xlo xhi
0 12 ylo yhi
0 14 zlo zhi

Masses

2 83.798
1 39.948

Atoms # charge

3 2 0.0 1 6 7
1 1 0.5 1 1 1
2 1 -0.5 5 1 1

Velocities

1 0.002 0 0
2 -0.002 0 0
3 0 0.001 0
"""

MASS = 2 * 39.948 + 83.798
DRIFT = 83.798 * 0.001 / MASS
TWICE_KINETIC = 2 * 39.948 * (0.002**2 + DRIFT**2) + 83.798 * (0.001 - DRIFT) ** 2
"""amu Å²/fs², about the center of mass."""

EXPECTED = {
    "elements": "2 Ar (39.948 amu), 1 Kr (83.798 amu)",
    "cell": "a, b, c = 10, 12, 14 Å; alpha, beta, gamma = 90, 90, 90°",
    "periodic axes": "a, b, c",
    "volume": "1680 Å³",
    "density": f"{MASS * 1.66053907 / 1680:.4g} g/cm³",
    "atoms": "3",
}
"""By hand."""

LEFT_OUT = ["1 = Ar, 2 = Kr", "charges", "does not say which axes are periodic"]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    (tmp_path / "start.data").write_text(DATA)
    (tmp_path / "in.toml").write_text(INPUT)
    return tmp_path / "in.toml"


def check_velocities(text: str) -> None:
    """Temperature of 3N − 3 = 6 degrees of freedom, and the motion of the center of mass."""
    temperature, *numbers = re.findall(r"-?[\d.]+(?:e-?\d+)?", text)
    assert float(temperature) == pytest.approx(TWICE_KINETIC * 103.642697 / (6 * 8.617333262e-5), rel=1e-4)
    assert [float(x) for x in numbers[:3]] == pytest.approx([0.0, DRIFT, 0.0], rel=1e-3)
    assert [float(x) for x in numbers[3:6]] == pytest.approx([0.0, MASS * DRIFT, 0.0], rel=1e-3)


def check_rows(out: str) -> None:
    rows = dict(line[2:].split(": ", 1) for line in out.splitlines() if line.startswith("# "))
    assert {name: rows[name] for name in EXPECTED} == EXPECTED
    assert rows["structure"] == "start.data, read as lammps-data"
    check_velocities(rows["velocities of the structure"])
    notes = [rows[f"note {k}"] for k in range(1, 4)]
    assert all(words in note for words, note in zip(LEFT_OUT, notes, strict=True)) and "note 4" not in rows


def check_log(folder: Path, out: str) -> None:
    log = (folder / "log.txt").read_text()
    assert log in out  # the same lines, after "reading …"
    line = next(line for line in log.splitlines() if line.startswith("structure: "))
    for name in ("elements", "periodic axes", "volume", "density"):
        assert EXPECTED[name] in line
    check_velocities(line.split("velocities of the file: ")[1])
    notes = [line for line in log.splitlines() if line.startswith("note: ")]
    assert all(any(words in note for note in notes) for words in [*LEFT_OUT, "net momentum of the start"])


def test_check(source: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(source)]) == 0
    check_rows(capsys.readouterr().out)


def test_run(source: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(source)]) == 0
    check_log(source.parent / "run", capsys.readouterr().out)


@pytest.mark.parallel
def test_on_three_ranks(source: Path, mpirun: MpiRun) -> None:
    check_rows(mpirun(3, ["-m", "allegro_md", "check", source]).stdout)
    check_log(source.parent / "run", mpirun(3, ["-m", "allegro_md", source]).stdout)


def test_what_was_chosen_of_several_frames(source: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Frame 1 of three, of which an entry and a column are not used, and a free axis without a cell vector."""
    frame = (
        '2\nLattice="10 0 0 0 10 0 0 0 0" pbc="T T F" config_type=slab Properties=species:S:1:pos:R:3:magmom:R:1\n'
        "Ar 0 0 {z} 1\nKr 5 0 0 2\n"
    )
    (source.parent / "start.xyz").write_text("".join(frame.format(z=z) for z in (4, 5, 6)))
    words = ["--set", "system.structure=start.xyz", "--set", "system.frame=-2"]
    assert main(["check", str(source), *words]) == 0
    rows = dict(line[2:].split(": ", 1) for line in capsys.readouterr().out.splitlines() if line.startswith("# "))
    assert rows["structure"] == "start.xyz, read as extxyz, frame 1 of 3" and rows["periodic axes"] == "a, b"
    assert rows["cell"] == "a, b, c = 10, 10, none Å" and "volume" not in rows and "density" not in rows
    assert rows["velocities of the structure"] == "none"
    assert "magmom" in rows["note 1"] and "config_type" in rows["note 1"]
