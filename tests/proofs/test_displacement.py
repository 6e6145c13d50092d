"""An observer is one file and one registry line; what it streams is what its stored trajectory gives afterwards."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

from allegro_md.comm import Comm
from allegro_md.config import load_input
from allegro_md.config.output import OBSERVERS
from allegro_md.config.registry import Entry
from allegro_md.simulation.run import Simulation

INPUT = """
[system]
crystal = { symbol = "Ar", lattice = "fcc", a = 5.6, repeat = [3, 3, 3], rattle = 0.2 }
velocities = { temperature = 300.0, seed = 1 }
[potential]
kind = "lj"
epsilon = 0.0103
sigma = 3.4
cutoff = 6.0
[dynamics]
ensemble = "nve"
timestep = 4.0
steps = 300
[output]
trajectory = { every = 10, fields = ["position", "image"], dtype = "float64" }
observe = [{ kind = "displacement", every = 10 }]
"""


def test_streaming_equals_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    OBSERVERS.register("displacement", Entry("displacement:DisplacementConfig", "displacement:build"))
    try:
        (tmp_path / "input.toml").write_text(INPUT)
        Simulation.from_config(load_input(tmp_path / "input.toml"), Comm.serial()).run()
        offline = import_module("displacement").offline
        streamed = np.loadtxt(tmp_path / "run" / "observe" / "displacement.csv", delimiter=",")
        stored = np.array(offline(tmp_path / "run" / "trajectory.h5"))
    finally:
        OBSERVERS.unregister("displacement")
        sys.modules.pop("displacement", None)
    assert streamed.shape == stored.shape == (31, 2) and streamed[-1, 1] > 1.0
    np.testing.assert_allclose(streamed, stored, rtol=1e-12, atol=1e-12)
