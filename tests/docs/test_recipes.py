"""The examples of the recipes work once their registry line is there, and do what physics says."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from allegro_md.comm import Comm
from allegro_md.config import load_input
from allegro_md.config.dynamics import INTEGRATORS
from allegro_md.config.output import OBSERVERS
from allegro_md.config.potential import POTENTIALS
from allegro_md.config.registry import Entry
from allegro_md.simulation.run import Simulation

EXAMPLES = Path(__file__).resolve().parents[2] / "docs" / "examples"
ARGON = """
[system]
crystal = { symbol = "Ar", lattice = "fcc", a = 5.3, repeat = [4, 4, 4] }
velocities = { temperature = 80.0, seed = 1 }
[potential]
%s
[dynamics]
timestep = 2.0
steps = 20
%s
[output]
thermo = { every = 1 }
"""
LENNARD_JONES = 'kind = "lj"\nepsilon = 0.0103\nsigma = 3.405\ncutoff = 8.5'


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.syspath_prepend(str(EXAMPLES))
    POTENTIALS.register("soft", Entry("soft:SoftTerm", "soft:build"))
    INTEGRATORS.register("isokinetic", Entry("isokinetic:IsokineticConfig", "isokinetic:build"))
    OBSERVERS.register("averages", Entry("averages:AveragesConfig", "averages:build"))
    yield
    OBSERVERS.unregister("averages")
    POTENTIALS.unregister("soft")
    INTEGRATORS.unregister("isokinetic")
    for name in ("soft", "isokinetic", "averages"):
        sys.modules.pop(name, None)


def thermo(folder: Path, potential: str, dynamics: str) -> np.ndarray:
    (folder / "input.toml").write_text(ARGON % (potential, dynamics))
    Simulation.from_config(load_input(folder / "input.toml"), Comm.world()).run()
    return np.genfromtxt(folder / "run" / "thermo.csv", delimiter=",", names=True)


def test_potential(tmp_path: Path) -> None:
    rows = thermo(tmp_path, 'kind = "soft"\nepsilon = 0.5\ncutoff = 6.0', 'ensemble = "nve"')
    assert np.ptp(rows["conserved_eV"]) < 1e-3 * abs(rows["potential_eV"][0])


def test_integrator(tmp_path: Path) -> None:
    rows = thermo(tmp_path, LENNARD_JONES, 'ensemble = "isokinetic"\ntemperature = 80.0')
    assert rows["temperature_K"][1:] == pytest.approx(80.0, abs=1e-9)


def test_observer(tmp_path: Path) -> None:
    """Means are those of thermo.csv, errors those of numpy's blocks, and a continuation changes nothing."""
    (tmp_path / "input.toml").write_text(ARGON % (LENNARD_JONES, 'ensemble = "nve"'))

    def run(folder: str, steps: int, resume: bool = False) -> bytes:
        settings = [f"output.directory={folder}", f"dynamics.steps={steps}"]
        config = load_input(tmp_path / "input.toml", [*settings, "output.observe=[{kind='averages', every=1}]"])
        Simulation.from_config(config, Comm.world(), resume=resume).run()
        return (tmp_path / folder / "observe" / "averages.csv").read_bytes()

    whole = run("whole", 40)
    run("parts", 13)
    assert run("parts", 40, resume=True) == whole
    rows = np.genfromtxt(tmp_path / "whole" / "thermo.csv", delimiter=",", names=True)
    header, *lines = whole.decode().splitlines()
    assert header == "quantity,mean,standard_error,converged" and len(lines) == 2
    for line in lines:
        name, mean, error, _ = line.split(",")
        assert float(mean) == pytest.approx(rows[name].mean(), rel=1e-13)
        blocks = [rows[name][: 41 // b * b].reshape(-1, b).mean(axis=1) for b in (1, 2, 4, 8, 16)]
        errors = [block.std(ddof=1) / np.sqrt(len(block)) for block in blocks]
        assert min(abs(float(error) / each - 1.0) for each in errors) < 1e-6
