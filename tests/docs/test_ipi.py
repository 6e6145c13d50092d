"""The example of path integrals: forces that i-PI, or ASE's server, gets by the socket are those of the calculator."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.socketio import SocketIOCalculator
from ase.io import read

from allegro_md.ase import AllegroCalculator

ROOT = Path(__file__).resolve().parents[2]
MODEL = ROOT / "inputs" / "models" / "cu.allegro"
CLIENT = ROOT / "docs" / "examples" / "ipi_client.py"


def copper(folder: Path) -> Atoms:
    atoms = bulk("Cu", cubic=True, a=3.64) * (2, 2, 1)
    atoms.rattle(0.05, seed=1)
    atoms.write(folder / "copper.extxyz")
    return atoms


@contextmanager
def client(folder: Path, socket: str) -> Iterator[subprocess.Popen[str]]:
    """The example, with a socket of this name; it has to end by itself."""
    command = [sys.executable, str(CLIENT), str(MODEL), "copper.extxyz", socket]
    job = subprocess.Popen(command, cwd=folder, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        yield job
        said, _ = job.communicate(timeout=120)
        assert job.returncode == 0, said
    finally:
        job.kill()


@pytest.mark.long
def test_server_of_ase(tmp_path: Path) -> None:
    """Energy, forces and stress, also after the atoms and the cell have changed."""
    atoms, socket = copper(tmp_path), f"allegro-md-test-{tmp_path.parent.name}"
    direct = AllegroCalculator(MODEL, precision="double")
    with SocketIOCalculator(unixsocket=socket, timeout=300) as server, client(tmp_path, socket):
        atoms.calc = server
        for _ in range(2):
            energy, forces, stress = atoms.get_potential_energy(), atoms.get_forces(), atoms.get_stress()
            other = atoms.copy()
            other.calc = direct
            assert energy == pytest.approx(other.get_potential_energy(), abs=1e-9)
            np.testing.assert_allclose(forces, other.get_forces(), atol=1e-9)
            np.testing.assert_allclose(stress, other.get_stress(), atol=1e-10)
            atoms.set_cell(atoms.cell[:] @ np.diag([1.02, 1.0, 0.99]), scale_atoms=True)
            atoms.rattle(0.02, seed=5)
        server.close()


@pytest.mark.long
def test_path_integral_of_ipi(tmp_path: Path) -> None:
    """Three steps of four beads: the forces that i-PI writes belong to the positions that it writes."""
    pytest.importorskip("ipi")
    program = Path(sys.executable).with_name("i-pi")
    atoms, socket = copper(tmp_path), f"allegro-md-{tmp_path.parent.name}"
    text = (ROOT / "docs" / "examples" / "ipi.xml").read_text()
    (tmp_path / "ipi.xml").write_text(text.replace("<address>allegro-md<", f"<address>{socket}<"))
    command = [str(program if program.exists() else shutil.which("i-pi")), "ipi.xml"]
    with (tmp_path / "log").open("w") as log:
        server = subprocess.Popen(command, cwd=tmp_path, stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + 60
        while not Path(f"/tmp/ipi_{socket}").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        with client(tmp_path, socket):
            assert server.wait(timeout=200) == 0, (tmp_path / "log").read_text()
    finally:
        server.kill()
    atoms.calc = AllegroCalculator(MODEL, precision="double")
    beads = []
    for bead in range(4):
        frames = zip(read(tmp_path / f"copper.pos_{bead}.xyz", ":"), read(tmp_path / f"copper.force_{bead}.xyz", ":"),
                     strict=True)  # fmt: skip
        for position, force in frames:
            atoms.positions[:] = position.positions
            np.testing.assert_allclose(force.positions, atoms.get_forces(), atol=1e-4)  # six digits are written
        beads.append(position.positions)
    assert np.ptp(beads, axis=0).max() > 1e-3  # the ring polymer is no point
