"""A shock driven by a piston obeys the jump conditions of mass, momentum and energy (Rankine, Hugoniot)."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from ranks import MpiRun
from runs import assigned

from allegro_md import read_trajectory
from allegro_md.units import AMU_A2_PER_FS2

INPUT = Path(__file__).resolve().parents[2] / "inputs" / "shock.toml"
MASS, A, CELLS, PISTON = 39.948, 5.27, 5, 8e-3  # amu, Å, cells along x and y, Å/fs
DENSITY, AREA = 4.0 / A**3, (CELLS * A) ** 2
TOP, BIN = 10.0, 3.0  # of the piston at the start, and width of the bins of the front, Å


@pytest.mark.long
def test_jump_conditions(tmp_path: Path, mpirun: MpiRun) -> None:
    settings = [f'output.directory="{tmp_path / "run"}"', "output.trajectory.every=50"]
    mpirun(1, ["-m", "allegro_md", INPUT, *assigned(settings)], timeout=900)
    with read_trajectory(tmp_path / "run" / "trajectory.h5") as trajectory:
        times = trajectory.times
        z = np.array([frame.unwrapped[:, 2] for frame in trajectory])
        v = np.array([frame.velocity[:, 2] for frame in trajectory])
    free = z[0] >= TOP
    fronts = np.array([front(z[k, free], v[k, free]) for k in range(len(times))])
    inside = (fronts > 70.0) & (fronts < 180.0)
    speed = float(np.polyfit(times[inside], fronts[inside], 1)[0])
    assert 2.9e-2 < speed < 3.3e-2

    # Mass: the crystal is compressed from us to us − up.
    found = []
    for k in np.flatnonzero(inside)[-10:]:
        low, high = z[k, ~free].max() + 20.0, fronts[k] - 25.0
        found.append(np.count_nonzero((z[k] > low) & (z[k] < high)) / (AREA * (high - low)))
    assert np.mean(found) / DENSITY == pytest.approx(speed / (speed - PISTON), rel=0.04)

    # Momentum: the piston pushes with ρ0 us up; energy: its work per time is that force times up.
    push = DENSITY * MASS * speed * PISTON * AREA
    momentum = MASS * v[:, free].sum(axis=1)
    assert np.polyfit(times[inside], momentum[inside], 1)[0] == pytest.approx(push, rel=0.04)
    with (tmp_path / "run" / "thermo.csv").open() as file:
        rows = list(csv.DictReader(file))
    time, total, conserved = (np.array([float(r[k]) for r in rows]) for k in ("time_fs", "total_eV", "conserved_eV"))
    while_inside = (time >= times[inside][0]) & (time <= times[inside][-1])
    power = np.polyfit(time[while_inside], total[while_inside], 1)[0]
    assert power == pytest.approx(push * PISTON * AMU_A2_PER_FS2, rel=0.04)
    assert np.ptp(conserved) < 2e-3 * np.ptp(total)


def front(z: np.ndarray, v: np.ndarray) -> float:
    """Where the mean velocity of slabs falls through half of the piston's, Å; NaN where it does not."""
    edges = np.arange(0.0, 230.0, BIN)
    count = np.histogram(z, edges)[0]
    mean = np.histogram(z, edges, weights=v)[0] / np.maximum(count, 1)
    above = np.flatnonzero((count > 0) & (mean > 0.5 * PISTON))
    if len(above) == 0 or above[-1] + 1 >= len(mean):
        return float("nan")
    i = int(above[-1])
    return float(edges[i] + 0.5 * BIN + (mean[i] - 0.5 * PISTON) / (mean[i] - mean[i + 1]) * BIN)
