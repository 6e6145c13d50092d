"""Groups on several ranks, through stages and a continuation: the same bits."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from ase.build import fcc100
from ase.constraints import FixAtoms
from runs import frames, rows

INPUT = """
[system]
structure = "slab.extxyz"
repeat = [2, 2, 1]
velocities = { temperature = 60.0, seed = 3 }
[potential]
kind = "lj"
epsilon = 0.0103408
sigma = 3.405
cutoff = 6.5
[[group]]
name = "piston"
expression = "z > 17.5 and element == 'Ar'"
[[group]]
name = "floor"
region = { z = [0.0, 10.0] }
[[group]]
name = "pulled"
ids = [20, 22, 65, 110]
[[group]]
name = "others"
expression = "not (z > 17.5 or z < 13)"
[dynamics]
timestep = 4.0
frozen = ["floor"]
[[stage]]
name = "push"
[stage.dynamics]
ensemble = "nve"
steps = 40
apply = [
    { group = "piston", velocity = [0.0005, 0.0, "-150 m/s"] },
    { group = "pulled", force = [0.003, -0.001, 0.0] },
    { group = "others", acceleration = [0.0, 1e-6, 0.0] },
]
[[stage]]
name = "heat"
[stage.dynamics]
ensemble = "ENSEMBLE"
steps = 40
thermostats = [{ group = "piston", temperature = [60, 90] }, { group = "pulled", temperature = 30 }]
apply = [{ group = "others", force = [0.0, 0.0, 0.001] }]
[parallel]
skin = 0.3
[output]
directory = "DIRECTORY"
thermo = { every = 4 }
checkpoint = { every = 15, keep = 8 }
trajectory = { every = 8, fields = ["position", "velocity", "force", "image"], dtype = "float64" }
"""


@pytest.mark.parallel
@pytest.mark.parametrize(
    ("ensemble", "ranks"),
    [
        ("nvt-langevin", ((3, 2, (30, 40, 45, 60, 75, 80)),)),
        pytest.param("nvt-nose-hoover", ((2, 3, (60, 75, 80)), (3, 1, (45, 60, 75, 80))), marks=pytest.mark.long),
        pytest.param("nvt-bussi", ((2, 3, (45, 60, 75, 80)),), marks=pytest.mark.long),
    ],
)
def test_the_same_bits_on_any_ranks_and_after_a_stop(
    ensemble: str, ranks: tuple[tuple[int, int, tuple[int, ...]], ...], tmp_path: Path,
    mpirun: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    """A frozen floor, fixed atoms of the file, a piston, forces; then thermostats of groups; stopped, and resumed.

    `ranks`: those of the run, those of its continuation, and the checkpoints that are lost in between.
    """
    atoms = fcc100("Ar", (3, 3, 5), a=5.3, vacuum=8.0, periodic=True)
    atoms.positions += np.random.default_rng(1).normal(scale=0.05, size=atoms.positions.shape)
    atoms.set_constraint(FixAtoms([31]))
    del atoms.arrays["tags"]
    atoms.info.clear()
    atoms.write(tmp_path / "slab.extxyz")

    def run(ranks: int, directory: str, *options: str) -> None:
        path = tmp_path / f"{directory}.toml"
        path.write_text(INPUT.replace("DIRECTORY", directory).replace("ENSEMBLE", ensemble))
        mpirun(ranks, ["-m", "allegro_md", path, *options])

    run(1, "one")
    one = frames(tmp_path / "one")
    moved = (np.diff(one["position"], axis=0) != 0.0).any(axis=(0, 2))
    fixed = np.arange(31, 180, 45)
    low = one["position"][0][:, 2] < 10.0
    assert 0 < low.sum() < 100 and not moved[fixed].any() and not moved[low].any()
    free = np.ones(180, bool)
    free[fixed] = free[low] = False
    assert moved[free].all()
    for before, after, lost in ranks:
        name = f"of-{before}"
        run(before, name)
        assert_same_run(tmp_path / name, tmp_path / "one")
        for step in lost:
            (tmp_path / name / f"checkpoint-{step}.h5").unlink()
        run(after, name, "--resume")
        assert_same_run(tmp_path / name, tmp_path / "one")
        assert heat(tmp_path / name) == heat(tmp_path / "one")
    assert set(heat(tmp_path / "one")) == {"piston", "pulled"} and all(heat(tmp_path / "one").values())


def heat(directory: Path) -> dict[str, float]:
    """That the thermostats of the last stage have given."""
    return dict(json.loads((directory / "run.json").read_text())["stages"][-1]["result"]["heat_eV"])


def assert_same_run(first: Path, second: Path) -> None:
    assert rows(first) == rows(second)
    many, others = frames(first), frames(second)
    for name, values in many.items():
        np.testing.assert_array_equal(values, others[name], err_msg=name)
