"""What a run will need, before it starts."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from allegro_md.comm import Comm
from allegro_md.config import Input
from allegro_md.domain.grid import choose_grid
from allegro_md.potentials import build_potential
from allegro_md.simulation.assembly import blueprint
from allegro_md.state import FIELDS

PROGRAM_BYTES = 450e6
"""Python with torch, numba and the rest, before any atom."""

REBUILD_BYTES = 150
"""Per held atom: what migration and the building of the list hold for a moment."""


def plan_run(config: Input, n_ranks: int) -> dict[str, Any]:
    """Atoms, rank grid, memory per rank and disk of an input on so many ranks; runs on one rank alone.

    Raises:
        InputError: the system or its potential cannot be made.
    """
    system = blueprint(config, Comm.serial())
    potential = build_potential(config.potential, system.species_table)
    cell, skin = system.cell, config.parallel.skin
    grid = config.parallel.grid
    shape = choose_grid(n_ranks, cell, np.zeros(3), np.ones(3)) if grid == "auto" else grid
    own = system.n_total / n_ranks
    brick = cell.heights / np.array(shape)
    halo = potential.halo_hops * potential.cutoff + skin
    has_halo = np.array([shape[k] > 1 or cell.periodic[k] for k in range(3)])
    held = own * float(np.prod(np.where(has_halo, 1.0 + 2.0 * halo / brick, 1.0)))
    density = system.n_total / cell.volume if cell.bounded else math.nan
    neighbors = density * 4.0 / 3.0 * math.pi * (potential.cutoff + skin) ** 3
    row = sum(int(np.prod(f.shape, dtype=int)) * f.dtype.itemsize for f in FIELDS.values())
    list_bytes = 0.0 if math.isnan(neighbors) else 4.0 * neighbors
    memory = PROGRAM_BYTES + held * (row + REBUILD_BYTES) + own * (list_bytes + 24.0)
    return {
        "atoms": system.n_total,
        "rank grid": f"{shape[0]} x {shape[1]} x {shape[2]} ({n_ranks} ranks)",
        "atoms per rank": f"{own:.0f}, and about {held - own:.0f} ghosts",
        "neighbors per atom within cutoff + skin": "unknown" if math.isnan(neighbors) else f"{neighbors:.0f}",
        "memory per rank": f"about {memory / 1e6:.0f} MB",
        "disk": f"about {_disk_bytes(config, system.n_total) / 1e6:.1f} MB",
    }


def _disk_bytes(config: Input, n_atoms: int) -> float:
    """Trajectory, checkpoints and thermo.csv, bytes."""
    output, steps = config.output, config.dynamics.steps
    total = 0.0
    if output.trajectory is not None and output.trajectory.every:
        frames = steps // output.trajectory.every + 1
        width = {"float32": 4, "float64": 8}[output.trajectory.dtype]
        total += frames * n_atoms * sum(12 if f == "image" else 3 * width for f in output.trajectory.fields)
    saved = sum(int(np.prod(f.shape, dtype=int)) * f.dtype.itemsize for f in FIELDS.values() if f.checkpoint)
    total += (output.checkpoint.keep + 1) * n_atoms * saved
    if output.thermo.every:
        total += 300.0 * (steps // output.thermo.every + 1)
    return total
