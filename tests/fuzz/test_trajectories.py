"""Trajectory files that were not copied to their end: refused in one sentence, no hang, no huge memory.

No other damage: wrong bytes in the tables of virtual datasets can crash or stop the HDF5 library itself.
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from allegro_md.cell import Cell
from allegro_md.comm import Comm
from allegro_md.errors import InputError
from allegro_md.io.h5md import UNITS, TrajectoryWriter
from allegro_md.io.trajectory import read_trajectory
from allegro_md.reporting import Snapshot
from allegro_md.state import AtomState, SpeciesTable

N_ATOMS, N_FRAMES = 12, 20
FILES = ("trajectory.h5", "trajectory/atoms.h5", "trajectory/segment-000000.h5")


@pytest.fixture(scope="module")
def trajectory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run directory with the trajectory of a few atoms."""
    folder = tmp_path_factory.mktemp("trajectory")
    writer = TrajectoryWriter(folder, 1, tuple(UNITS), "float64", Comm.serial())
    rng = np.random.default_rng(3)
    for step in range(N_FRAMES):
        state = AtomState(Cell(np.eye(3) * 9.0), SpeciesTable(("Ar",), np.array([18]), np.array([39.9])), N_ATOMS)
        values = {name: torch.from_numpy(rng.normal(size=(N_ATOMS, 3))) for name in ("position", "velocity")}
        state.set_local({"id": torch.arange(N_ATOMS), "species": torch.zeros(N_ATOMS, dtype=torch.int16)} | values)
        writer(Snapshot(step=step, time=2.0 * step, state=state, wall=0.0))
    writer.close()
    return folder


def read_all(path: Path) -> None:
    with read_trajectory(path) as frames:
        assert frames.species.shape == (frames.n_atoms,) == (N_ATOMS,) and frames.masses is not None
        for frame in frames:
            arrays = (frame.unwrapped, frame.velocity, frame.force)
            assert all(array.shape == (N_ATOMS, 3) for array in arrays) and frame.cell.matrix.shape == (3, 3)


@pytest.mark.parametrize("name", FILES)
def test_40_incomplete_copies(name: str, trajectory: Path, tmp_path: Path, limits: Callable[[], Any]) -> None:
    content = (trajectory / name).read_bytes()
    shutil.copytree(trajectory, tmp_path / "copy")
    path = tmp_path / "copy" / "trajectory.h5"
    read_all(path)
    for seed in range(40):
        rng = random.Random(seed)
        (tmp_path / "copy" / name).write_bytes(content[: rng.randrange(len(content))])
        with limits(), pytest.raises(InputError) as refused:
            read_all(path)
        assert str(path) in str(refused.value) and "\n" not in str(refused.value), seed
