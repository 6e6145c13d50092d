"""The beginning of a stage: what its atoms need, and where it goes back to."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from allegro_md.comm import Comm
from allegro_md.config import load_input
from allegro_md.errors import InputError
from allegro_md.simulation.run import Simulation

HEAD = """
[system]
crystal = { symbol = "Ar", lattice = "fcc", a = 5.4, repeat = [2, 2, 2], rattle = 0.05, seed = 3 }
velocities = { temperature = 120.0, seed = 2 }
[potential]
kind = "lj"
epsilon = 0.0103
sigma = 3.4
cutoff = 5.0
[dynamics]
timestep = 2.0
steps = 20
"""

RELAXED = """
[[stage]]
name = "relax"
dynamics = { ensemble = "minimize", steps = 300, max_force = 1e-5 }
[[stage]]
name = "heat"
dynamics = { ensemble = "nvt-bussi", temperature = 40.0 }
"""


def run(folder: Path, text: str, *settings: str) -> Path:
    (folder / "input.toml").write_text(HEAD + text)
    Simulation.from_config(load_input(folder / "input.toml", settings), Comm.serial(), overwrite=True).run()
    return folder / "run"


def test_the_remedy_for_atoms_that_a_minimization_left_at_rest(tmp_path: Path) -> None:
    """Velocities of [system] are set to zero by a minimization: those of the stage are needed."""
    with pytest.raises(InputError, match="all atoms are at rest") as error:
        run(tmp_path, RELAXED)
    assert "velocities.temperature of stage heat" in error.value.remedy
    run(tmp_path, RELAXED, "stage.1.velocities={ temperature = 40 }")


def test_a_stage_after_one_without_steps_rolls_back(tmp_path: Path) -> None:
    text = """
    [guard]
    rollback = 9
    max_displacement = 0.05
    [[stage]]
    dynamics = { ensemble = "nve", steps = 0 }
    [[stage]]
    dynamics = { ensemble = "nve", timestep = 16.0 }
    """
    record = json.loads((run(tmp_path, text) / "run.json").read_text())
    assert record["status"] == "done" and record["step"] == 20 and record["rollbacks"]


def test_an_observer_of_time_does_not_fit_a_minimization(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="steps of this ensemble take no time"):
        run(tmp_path, RELAXED, "stage.0.output.observe=[{ kind = 'msd', every = 1 }]")
    assert not (tmp_path / "run").exists()
