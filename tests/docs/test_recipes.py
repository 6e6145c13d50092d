"""The examples of the recipes work once their registry line is there, and do what physics says."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from ranks import MpiRun

from allegro_md.cli import main
from allegro_md.comm import Comm
from allegro_md.config import load_input
from allegro_md.config.dynamics import INTEGRATORS
from allegro_md.config.output import OBSERVERS
from allegro_md.config.potential import POTENTIALS
from allegro_md.config.registry import Entry
from allegro_md.errors import InputError
from allegro_md.io.trajectory import read_trajectory
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
    INTEGRATORS.register("berendsen", Entry("barostat:BerendsenConfig", "barostat:build"))
    OBSERVERS.register("running-mean", Entry("running_mean:RunningMeanConfig", "running_mean:build"))
    OBSERVERS.register("gyration", Entry("gyration:GyrationTable", "allegro_md.analysis.observer:build"))
    yield
    OBSERVERS.unregister("running-mean")
    OBSERVERS.unregister("gyration")
    POTENTIALS.unregister("soft")
    INTEGRATORS.unregister("isokinetic")
    INTEGRATORS.unregister("berendsen")
    for name in ("soft", "isokinetic", "barostat", "running_mean", "gyration"):
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


BAROSTAT = ARGON % (LENNARD_JONES, '''ensemble = "berendsen"
pressure = "5 kbar"
barostat_time = 200.0
bulk_modulus = 2.0''')


def barostat_run(folder: Path, steps: int, resume: bool = False) -> np.ndarray:
    """Runs `BAROSTAT` for so many steps in this process; the rows of its ``thermo.csv``."""
    folder.mkdir(exist_ok=True)
    (folder / "input.toml").write_text(BAROSTAT)
    config = load_input(folder / "input.toml", [f"dynamics.steps={steps}"])
    Simulation.from_config(config, Comm.world(), resume=resume).run()
    return np.genfromtxt(folder / "run" / "thermo.csv", delimiter=",", names=True)


def test_barostat_reaches_its_pressure(tmp_path: Path) -> None:
    """The mean of the last ps is 0.5 GPa within its error; the crystal began far below and is compressed for it."""
    rows = barostat_run(tmp_path, 1500)
    late = rows["pressure_GPa"][-500:].reshape(10, -1).mean(axis=1)
    error = late.std(ddof=1) / np.sqrt(len(late))
    assert rows["pressure_GPa"][0] < 0.3 and error < 0.01
    assert late.mean() == pytest.approx(0.5, abs=4.0 * error)
    assert rows["volume_A3"][-500:].mean() < 0.97 * rows["volume_A3"][0]


def test_barostat_continues_with_the_same_bits(tmp_path: Path) -> None:
    whole = barostat_run(tmp_path / "whole", 20)
    barostat_run(tmp_path / "parts", 9)
    parts = barostat_run(tmp_path / "parts", 20, resume=True)
    for name in set(whole.dtype.names or ()) - {"wall_s"}:
        assert parts[name].tobytes() == whole[name].tobytes(), name


@pytest.mark.parallel
def test_barostat_on_two_ranks(tmp_path: Path, mpirun: MpiRun) -> None:
    """By the program that the recipe shows."""
    (tmp_path / "input.toml").write_text(BAROSTAT)
    mpirun(2, [EXAMPLES / "run_barostat.py", tmp_path / "input.toml"])
    two = np.genfromtxt(tmp_path / "run" / "thermo.csv", delimiter=",", names=True)
    one = barostat_run(tmp_path / "one", 20)
    for name in set(one.dtype.names or ()) - {"wall_s"}:
        assert two[name].tobytes() == one[name].tobytes(), name


def test_barostat_refuses_a_free_axis(tmp_path: Path) -> None:
    free = BAROSTAT.replace("velocities =", "periodic = [true, true, false]\nvelocities =")
    (tmp_path / "input.toml").write_text(free)
    with pytest.raises(InputError, match="not periodic along all axes"):
        Simulation.from_config(load_input(tmp_path / "input.toml"), Comm.world())


def test_observer(tmp_path: Path) -> None:
    """Means are those of thermo.csv, errors those of numpy's blocks, and a continuation changes nothing."""
    (tmp_path / "input.toml").write_text(ARGON % (LENNARD_JONES, 'ensemble = "nve"'))

    def run(folder: str, steps: int, resume: bool = False) -> bytes:
        settings = [f"output.directory={folder}", f"dynamics.steps={steps}"]
        config = load_input(tmp_path / "input.toml", [*settings, "output.observe=[{kind='running-mean', every=1}]"])
        Simulation.from_config(config, Comm.world(), resume=resume).run()
        return (tmp_path / folder / "observe" / "running-mean.csv").read_bytes()

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


def test_quantity(tmp_path: Path) -> None:
    """The observer and the stored trajectory give the radius that numpy gives."""
    text = ARGON % (LENNARD_JONES, 'ensemble = "nve"')
    text += 'trajectory = { every = 5, fields = ["position", "image"], dtype = "float64" }\n'
    text += 'observe = [{ kind = "gyration", every = 5 }]\n'
    (tmp_path / "input.toml").write_text(text)
    Simulation.from_config(load_input(tmp_path / "input.toml"), Comm.world()).run()
    run = tmp_path / "run"
    with read_trajectory(run / "trajectory.h5") as frames:
        radii = [np.sqrt(((x.unwrapped - x.unwrapped.mean(axis=0)) ** 2).sum(axis=1).mean()) for x in frames]
    assert main(["analyze", "gyration", str(run), "--out", str(tmp_path / "out")]) == 0
    for folder in (run / "observe", tmp_path / "out"):
        row = (folder / "gyration.csv").read_text().splitlines()[-1].split(",")
        assert row[0] == "Ar" and float(row[1]) == pytest.approx(np.mean(radii), rel=1e-10)
