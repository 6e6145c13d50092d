"""A correlator takes the frames of a stored trajectory as they are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from allegro_md.accumulators import Correlator
from allegro_md.comm import Comm
from allegro_md.config import load_input
from allegro_md.io.trajectory import read_trajectory
from allegro_md.simulation.run import Simulation

INPUT = """
[system]
crystal = { symbol = "Ar", lattice = "fcc", a = 5.3, repeat = [3, 3, 3] }
velocities = { temperature = 80.0, seed = 1 }
[potential]
kind = "lj"
epsilon = 0.0103
sigma = 3.4
cutoff = 6.0
[dynamics]
ensemble = "nve"
timestep = 4.0
steps = 120
[output]
trajectory = { every = 4, fields = ["velocity"] }
"""


def test_velocity_correlation_of_a_stored_run(tmp_path: Path) -> None:
    """Against direct sums over pairs of frames; at lag 0 it is 3 kT/m."""
    (tmp_path / "input.toml").write_text(INPUT)
    Simulation.from_config(load_input(tmp_path / "input.toml"), Comm.serial()).run()
    with read_trajectory(tmp_path / "run" / "trajectory.h5") as trajectory:
        correlator = Correlator(np.zeros(trajectory.n_atoms, int), 1, 3, longest=15)
        for frame in trajectory:
            correlator.add(frame.velocity)
        velocity = np.stack([np.asarray(frame.velocity, np.float64) for frame in trajectory])
    table = correlator.correlation.table()
    assert table.lag.tolist() == list(range(16)) and velocity.shape == (31, 108, 3)
    direct = [(velocity[: 31 - lag] * velocity[lag:]).sum(axis=2).mean() for lag in range(16)]
    assert table.value[:, 0] == pytest.approx(direct, rel=1e-12)
    temperature = np.genfromtxt(tmp_path / "run" / "thermo.csv", delimiter=",", names=True)["temperature_K"].mean()
    square = 3.0 * 8.314462618e-7 * temperature / 39.95 * (107.0 / 108.0)  # Å²/fs², without the motion of the whole
    assert table.value[0, 0] == pytest.approx(square, rel=0.03)
