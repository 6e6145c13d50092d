"""The programs and inputs of docs/examples run and do what the pages say."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
from ase import units
from ase.io import read

import allegro_md
from allegro_md.cli import main
from allegro_md.comm import Comm
from allegro_md.config import load_input
from allegro_md.simulation.run import Simulation

EXAMPLES = Path(__file__).resolve().parents[2] / "docs" / "examples"


def execute(monkeypatch: pytest.MonkeyPatch, name: str, *arguments: str) -> None:
    """Runs a program of docs/examples in this process."""
    monkeypatch.setattr(sys, "argv", [name, *arguments])
    runpy.run_path(str(EXAMPLES / name), run_name="__main__")


@pytest.fixture(scope="module")
def argon(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run directory of 256 argon atoms: 20 steps, a frame every 5, with images."""
    folder = tmp_path_factory.mktemp("argon")
    (folder / "argon.toml").write_text(
        """
        [system]
        crystal = { symbol = "Ar", lattice = "fcc", a = 5.3, repeat = [4, 4, 4] }
        velocities = { temperature = 80.0, seed = 1 }
        [potential]
        kind = "lj"
        epsilon = 0.0103
        sigma = 3.405
        cutoff = 8.5
        [dynamics]
        ensemble = "nve"
        timestep = 2.0
        steps = 20
        [output]
        thermo = { every = 1 }
        trajectory = { every = 5, fields = ["position", "image", "velocity"], dtype = "float64" }
        """
    )
    Simulation.from_config(load_input(folder / "argon.toml"), Comm.world()).run()
    return folder / "run"


# 40 fs from a perfect lattice are nearly free flight: v² t², with ⟨v²⟩ = 3 k_B T/m = 4.995e-6 Å²/fs² at 80 K.
FREE_FLIGHT = 4.995e-6


def test_trajectory_is_read(argon: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    execute(monkeypatch, "read_trajectory.py", str(argon / "trajectory.h5"))
    first, *others = capsys.readouterr().out.splitlines()
    assert first == "5 frames of 256 atoms, 40 fs"
    assert [line.split(":")[0] for line in others] == ["step 5", "step 15"]
    for line, time in zip(others, (10.0, 30.0), strict=True):
        assert float(line.split()[5]) == pytest.approx(FREE_FLIGHT * time**2, rel=0.1)
        assert float(line.split()[-2]) == pytest.approx((4 * 5.3) ** 3, abs=0.1)


def test_frames_are_read(argon: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    execute(monkeypatch, "open_frames.py", str(argon / "trajectory.h5"))
    first, *others = capsys.readouterr().out.splitlines()
    assert first == "5 frames of 256 atoms with position, velocity, image"
    assert [line.split(",")[0] for line in others] == ["step 0: 0 fs", "step 10: 20 fs", "step 20: 40 fs"]


def test_trajectory_in_h5py(argon: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    execute(monkeypatch, "read_h5py.py", str(argon / "trajectory.h5"))
    first, second = capsys.readouterr().out.splitlines()
    assert first == "5 frames of 256 atoms, steps 0 to 20, 40 fs"
    assert float(second.split()[-1]) == pytest.approx(FREE_FLIGHT * 40**2, rel=0.15)


def test_trajectory_in_mdanalysis(
    argon: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("MDAnalysis")
    execute(monkeypatch, "read_mdanalysis.py", str(argon / "trajectory.h5"))
    assert [line.split()[1] for line in capsys.readouterr().out.splitlines()][-1] == "0.04"


@pytest.mark.parametrize("how", ["example", "convert"])
def test_last_frame_is_a_start(argon: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    """A run at constant energy that starts from the exported frame goes on as the first."""
    if how == "convert":
        assert main(["convert", str(argon / "trajectory.h5"), str(tmp_path / "last.extxyz"), "--frames", "-1"]) == 0
    else:
        execute(monkeypatch, "export_xyz.py", str(argon / "trajectory.h5"), str(tmp_path / "last.extxyz"), "-1")
    whole = load_input(argon.parent / "argon.toml", ["dynamics.steps=40", f"output.directory='{tmp_path / 'whole'}'"])
    Simulation.from_config(whole, Comm.world()).run()
    (tmp_path / "production.toml").write_text(
        """
        system = { structure = "last.extxyz" }
        potential = { kind = "lj", epsilon = 0.0103, sigma = 3.405, cutoff = 8.5 }
        dynamics = { ensemble = "nve", timestep = 2.0, steps = 20 }
        output = { directory = "production", thermo = { every = 1 } }
        """
    )
    Simulation.from_config(load_input(tmp_path / "production.toml"), Comm.world()).run()
    expected, found = (
        np.genfromtxt(tmp_path / name / "thermo.csv", delimiter=",", names=True) for name in ("whole", "production")
    )
    for name, tolerance in (("potential_eV", 1e-4), ("temperature_K", 1e-3), ("pressure_GPa", 1e-5)):
        assert found[name] == pytest.approx(expected[name][20:], abs=tolerance), name


def test_all_frames_are_exported(argon: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    execute(monkeypatch, "export_xyz.py", str(argon / "trajectory.h5"), str(tmp_path / "all.extxyz"))
    frames = read(tmp_path / "all.extxyz", ":")
    with allegro_md.read_trajectory(argon / "trajectory.h5") as trajectory:
        assert len(frames) == trajectory.n_frames == 5
        for atoms, frame in zip(frames, trajectory, strict=True):
            assert np.abs(atoms.positions - frame.position).max() < 1e-7
            assert np.abs(atoms.get_velocities() * units.fs - frame.velocity).max() < 1e-7
    assert all(atoms.cell.lengths() == pytest.approx(4 * 5.3) and atoms.pbc.all() for atoms in frames)


def test_conserved_quantity(argon: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    execute(monkeypatch, "conserved.py", str(argon), "256")
    drift, temperature = capsys.readouterr().out.splitlines()
    assert abs(float(drift.split()[1])) < 1.0
    thermo = np.genfromtxt(argon / "thermo.csv", delimiter=",", names=True)
    assert float(temperature.split()[1]) == pytest.approx(thermo["temperature_K"][5:].mean(), abs=0.1)


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.toml")), ids=lambda path: path.name)
def test_inputs_make_steps(path: Path, tmp_path: Path) -> None:
    """Two steps of each with Lennard-Jones in place of the network, whose kernels other tests run."""
    stand_in = "potential={kind='lj', epsilon=0.4, sigma=2.3, cutoff=5.0}"
    config = load_input(path, ["dynamics.steps=2", f"output.directory='{tmp_path / 'run'}'", stand_in])
    allegro_md.Simulation.from_config(config, Comm.world()).run()
    assert len((tmp_path / "run" / "thermo.csv").read_text().splitlines()) >= 2
