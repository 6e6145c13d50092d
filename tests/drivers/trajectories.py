"""Trajectories to read and to convert: small, with everything in them, in cells of all kinds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from allegro_md import open_frames
from allegro_md.cell import Cell
from allegro_md.comm import Comm
from allegro_md.io.convert import convert
from allegro_md.io.h5md import TrajectoryWriter
from allegro_md.reporting import Snapshot
from allegro_md.state import AtomState, SpeciesTable

ALL = ("position", "velocity", "force", "image")
N_ATOMS = 30
FULL = (True, True, True)

CELLS: dict[str, tuple[np.ndarray, tuple[bool, bool, bool]]] = {
    "orthogonal": (np.diag([9.0, 8.5, 10.25]), FULL),
    "restricted": (np.array([[9.0, 0.0, 0.0], [4.0, 8.0, 0.0], [-3.0, 2.0, 10.0]]), FULL),
    "general": (np.array([[9.0, 1.0, -0.5], [4.0, 8.0, 0.5], [-3.0, 2.0, 10.0]]), FULL),
    "slab": (np.diag([9.0, 8.5, 20.0]), (True, True, False)),
    "wire": (np.array([[9.0, 1.0, 0.5], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]]), (True, False, False)),
    "none": (np.zeros((3, 3)), (False, False, False)),
}
"""Lattice rows and periodic axes."""


def write_trajectory(
    directory: Path, cell: str = "restricted", fields: Sequence[str] = ALL, dtype: str = "float64", frames: int = 4
) -> Path:
    """A trajectory of lithium 7, lithium 6 and oxygen in a cell that breathes, with frames at the steps 0, 5, 10, …."""
    directory.mkdir(parents=True, exist_ok=True)
    rows, periodic = CELLS[cell]
    writer = TrajectoryWriter(directory, 1, fields, dtype, Comm.serial(), clock=lambda: 0.0)
    table = SpeciesTable(("Li", "Li", "O"), np.array([3, 3, 8]), np.array([6.015, 7.016, 15.999]))
    for k in range(frames):
        random = np.random.default_rng(k)
        state = AtomState(Cell.from_rows(rows * (1 + 0.001 * k), periodic), table, N_ATOMS)
        x = 8.0 * random.random((N_ATOMS, 3)) + (12.0 * random.normal(size=(N_ATOMS, 3))) * np.array(periodic)
        state.set_local({
            "id": torch.arange(N_ATOMS), "species": torch.from_numpy((np.arange(N_ATOMS) % 3).astype(np.int16)),
            "position": torch.from_numpy(x), "velocity": torch.from_numpy(0.01 * random.normal(size=(N_ATOMS, 3))),
        })  # fmt: skip
        state.local("force")[:] = torch.from_numpy(random.integers(-(2**44), 2**44, (N_ATOMS, 3)))
        writer(Snapshot(step=5 * k, time=2.5 * k, state=state, wall=0.0))
    writer.close()
    return directory / "trajectory.h5"


def converted(source: Path, out: Path, chosen: slice = slice(None), **options: Any) -> list[str]:
    """Converts a file; what was said."""
    said: list[str] = []
    with open_frames(source, **options) as frames:
        convert(frames, chosen, out, said.append)
    assert not out.with_name(out.name + ".part").exists()
    return said
