"""A minimization has the same bits on any number of ranks, and when it is stopped and resumed on others."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from runs import assert_same

INPUT = """
[system]
crystal = {{ symbol = "Ar", lattice = "fcc", a = 5.2, repeat = [4, 4, 3], rattle = 0.3, seed = 3 }}

[potential]
kind = "lj"
epsilon = 0.0103
sigma = 3.4
cutoff = 7.0

[dynamics]
ensemble = "minimize"
method = "{method}"
cell = "flexible"
max_force = 1e-4
steps = 300

[parallel]
skin = 0.2

[output]
directory = "{directory}"
trajectory = {{ every = 3, fields = ["position", "image", "velocity", "force"], dtype = "float64" }}
thermo = {{ every = 1 }}
checkpoint = {{ every = 10, keep = 40 }}
"""


def record(directory: Path) -> dict[str, Any]:
    return dict(json.loads((directory / "run.json").read_text()))


@pytest.mark.parallel
@pytest.mark.parametrize("method", ["l-bfgs", "fire"])
def test_same_bits_on_other_ranks_and_resumed(method: str, tmp_path: Path, mpirun: Any) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    for directory in (whole, broken):
        Path(f"{directory}.toml").write_text(INPUT.format(method=method, directory=directory.name))
    mpirun(1, ["-m", "allegro_md", f"{whole}.toml"])
    mpirun(3, ["-m", "allegro_md", f"{broken}.toml"])
    found = record(whole)
    assert found["result"]["converged"] and found["result"]["force_calls"] == found["step"] + 1
    assert found["rebuilds"] > 3 and record(broken)["migrations"] > 10
    assert_same(broken, whole, found["step"])
    for file in broken.glob("checkpoint-*.h5"):  # as if killed after the second one
        if int(file.stem.removeprefix("checkpoint-")) > 20:
            file.unlink()
    mpirun(2, ["-m", "allegro_md", f"{broken}.toml", "--resume"])
    assert record(broken)["result"] == found["result"]
    assert_same(broken, whole, found["step"])
