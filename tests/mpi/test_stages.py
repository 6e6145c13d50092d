"""Protocols of stages: the same bits on any number of ranks and after a kill anywhere, with all observers."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import runs

from allegro_md.config import load_input
from allegro_md.errors import InputError
from allegro_md.observables import kinetic_energy, temperature
from allegro_md.simulation import Simulation

DRIVER = Path(__file__).resolve().parents[1] / "drivers" / "dying.py"

MpiRun = Callable[..., "subprocess.CompletedProcess[str]"]

HEAD = """
[system]
crystal = { symbol = "Ar", lattice = "fcc", a = 5.4, repeat = [4, 4, 4], rattle = 0.1, seed = 3 }
velocities = { temperature = 120.0, seed = 2 }

[potential]
kind = "lj"
epsilon = 0.0103
sigma = 3.4
cutoff = 8.0

[dynamics]
ensemble = "nvt-nose-hoover"
timestep = 4.0
temperature = 120.0
steps = 60

[output]
directory = "DIRECTORY"
trajectory = { every = 7, fields = ["position", "image", "velocity", "force"], dtype = "float64" }
thermo = { every = 5 }
checkpoint = { every = 15, keep = 3 }

[[stage]]
name = "melt"
dynamics = { temperature = [120.0, 240.0] }
output = { observe = [{ kind = "rdf", every = 3, rmax = 7.0, bins = 90 }] }

[[stage]]
name = "free"
dynamics = { ensemble = "nve", timestep = 2.0, steps = 50 }
output.trajectory.every = 3
output.observe = [{ kind = "rdf", every = 3, rmax = 7.0, bins = 90 }, { kind = "msd", every = 3 }]

[[stage]]
name = "hold"
dynamics = { steps = 200, temperature = 240 }
end = { converged = "temperature", within = "20 %", window = "80 fs" }
velocities = { temperature = 200.0, seed = 5 }
"""


def write(folder: Path, name: str) -> Path:
    return runs.write_changed(folder, name, HEAD)


def story(directory: Path) -> Any:
    return json.loads((directory / "run.json").read_text())["stages"]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, mpirun: MpiRun) -> tuple[Path, int]:
    """The run of one rank that nothing disturbs, and the number of its writing system calls."""
    folder = tmp_path_factory.mktemp("stages")
    fault = {"fault": "kill", "rank": 0, "call": 10**9, "log": str(folder / "calls")}
    mpirun(1, [DRIVER, json.dumps(fault), write(folder, "whole")])
    return folder / "whole", int((folder / "calls").read_text().split()[1])


def test_stages_follow_each_other(whole: tuple[Path, int]) -> None:
    directory, _ = whole
    melt, free, hold = story(directory)
    assert [stage["name"] for stage in (melt, free, hold)] == ["melt", "free", "hold"]
    assert (melt["first_step"], melt["last_step"], melt["end_fs"]) == (0, 60, 240.0)
    assert (free["first_step"], free["last_step"], free["end_fs"]) == (60, 110, 340.0)
    assert (melt["ended_by"], free["ended_by"], hold["ended_by"]) == ("steps", "steps", "converged")
    rows = runs.rows(directory)
    assert [int(row["step"]) for row in rows] == list(range(0, hold["last_step"] + 1, 5))
    times = {int(row["step"]): float(row["time_fs"]) for row in rows}
    assert (times[60], times[110], times[120]) == (240.0, 340.0, 380.0)
    assert float(rows[23]["temperature_K"]) > 100.0 > float(rows[22]["temperature_K"])  # drawn anew at 200 K
    energies = [float(row["conserved_eV"]) for row in rows[13:22]]  # constant within the stage at constant energy
    assert max(energies) - min(energies) < 1e-3


def test_means_of_the_last_windows_agree(whole: tuple[Path, int]) -> None:
    """The end of the last stage, found anew from the rows: four rows a window, three windows within 20 %."""
    rows = [float(row["temperature_K"]) for row in runs.rows(whole[0])[23:]]
    means = [sum(rows[k : k + 4]) / 4 for k in range(0, len(rows), 4)]
    agree = [max(m) - min(m) <= 0.2 * m[-1] for m in zip(means, means[1:], means[2:], strict=False)]
    assert agree[-1] and not any(agree[:-1])


@pytest.mark.parallel
@pytest.mark.parametrize("ranks", [2, 3])
def test_same_bits_on_any_number_of_ranks(
    ranks: int, whole: tuple[Path, int], tmp_path: Path, mpirun: MpiRun
) -> None:
    mpirun(ranks, ["-m", "allegro_md", write(tmp_path, "run")])
    runs.assert_same(tmp_path / "run", whole[0], story(whole[0])[-1]["last_step"])
    assert story(tmp_path / "run") == story(whole[0])


@pytest.mark.parallel
@pytest.mark.parametrize("share", [0.35, 0.6, 0.85])
def test_killed_in_any_stage(share: float, whole: tuple[Path, int], tmp_path: Path, mpirun: MpiRun) -> None:
    fault = {"fault": "kill", "rank": 0, "call": int(share * whole[1]), "log": str(tmp_path / "log")}
    killed = mpirun(1, [DRIVER, json.dumps(fault), write(tmp_path, "run")], check=False, fresh=True)
    assert killed.returncode not in (0, 1, 2, 3, 4), killed.stderr
    mpirun(2, ["-m", "allegro_md", tmp_path / "run.toml", "--resume"])
    runs.assert_same(tmp_path / "run", whole[0], story(whole[0])[-1]["last_step"])
    assert story(tmp_path / "run") == story(whole[0])


def test_a_resolved_input_is_an_input(tmp_path: Path) -> None:
    config = load_input(write(tmp_path, "run"))
    (tmp_path / "again.toml").write_text(config.to_toml())
    assert load_input(tmp_path / "again.toml") == config
    assert [stage.dynamics.steps for stage in config.stages] == [60, 50, 200] and config.steps == 310


def test_thermostats_of_groups_take_the_place_of_a_temperature_above(tmp_path: Path) -> None:
    path = write(tmp_path, "run")
    groups = '[[group]]\nname = "low"\nids = [0, 1]\n'
    own = "dynamics = { thermostats = [{ group = 'low', temperature = 90.0 }] }"
    path.write_text(groups + path.read_text().replace("dynamics = { temperature = [120.0, 240.0] }", own))
    melt, _, hold = (stage.dynamics.model_dump() for stage in load_input(path).stages)
    assert melt["temperature"] is None and len(melt["thermostats"]) == 1
    assert hold["temperature"] == 240.0 and not hold["thermostats"]


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (('window = "80 fs"', 'window = "60 fs"'), "stage.2.end: a window of 60 fs holds fewer than 4 rows"),
        (('name = "free"', 'name = "melt"'), "2 stages are named 'melt'"),
        (('name = "free"', 'name = "a/b"'), "cannot be the name of a folder"),
        (("output.trajectory.every = 3", 'output.directory = "x"'), "a run has one directory"),
        (("output.trajectory.every = 3", 'output.trajectory.dtype = "float32"'), "fields and dtype are those of the"),
        (('within = "20 %"', "within = 20"), "expected a fraction"),
        (('converged = "temperature"', 'converged = "temprature"'), 'unknown value "temprature"'),
        (('{ ensemble = "nve", timestep', '{ ensemble = "nve", temperature = 3.0, timestep'), "does not apply"),
        (('end = { conv', 'ends = { conv'), "did you mean 'end'?"),
    ],
)  # fmt: skip
def test_refusals(change: tuple[str, str], complaint: str, tmp_path: Path) -> None:
    path = write(tmp_path, "run")
    path.write_text(path.read_text().replace(*change))
    with pytest.raises(InputError, match=re.escape(complaint)):
        load_input(path)


def test_first_stage_draws_velocities(tmp_path: Path) -> None:
    """Velocities of the first stage replace those of the system."""
    text = HEAD.replace("DIRECTORY", str(tmp_path / "run")).replace(
        'name = "melt"', 'name = "melt"\nvelocities = { temperature = 300.0, seed = 7 }'
    )
    (tmp_path / "a.toml").write_text(text)
    simulation = Simulation.from_toml(tmp_path / "a.toml")
    kinetic = float(simulation.comm.reduce(kinetic_energy(simulation.state))[0])
    assert temperature(kinetic, simulation.loop.integrator.degrees_of_freedom) == pytest.approx(300.0, rel=0.15)


def test_thermostat_after_minimization_needs_velocities(tmp_path: Path) -> None:
    """It would multiply zero; the run is refused before the minimization is made."""
    text = HEAD.replace("DIRECTORY", str(tmp_path / "run")).replace(
        "dynamics = { temperature = [120.0, 240.0] }", 'dynamics = { ensemble = "minimize" }'
    ).replace('dynamics = { ensemble = "nve", timestep = 2.0, steps = 50 }', 'dynamics = { ensemble = "nvt-bussi" }')
    (tmp_path / "a.toml").write_text(text)
    with pytest.raises(InputError, match=r"stage\.1\.velocities: all atoms are at rest after the minimization"):
        Simulation.from_toml(tmp_path / "a.toml")
