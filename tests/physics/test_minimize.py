"""Copper: the fcc minimum from a rattled, strained start, in no more evaluations than ASE's optimizers need."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.filters import FrechetCellFilter
from ase.optimize import FIRE, LBFGS
from relaxing import atoms, calls_of_ase, minimized, table_of
from systems import lennard_jones

from allegro_md.potentials.eam import Eam
from allegro_md.potentials.eam_file import read_eam

STRAIN = np.array([[1.03, 0.03, 0.0], [0.0, 0.97, 0.03], [0.0, 0.0, 1.03]])

CELL: dict[str, dict[str, Any]] = {"fixed": {}, "flexible": {"cell": "flexible", "max_stress": 1e-3}}


def start(symbol: str, a: float, rattle: float = 0.1) -> Atoms:
    """108 atoms, each moved by up to `rattle` (Å) along each axis, in a cell strained and sheared by 3 %."""
    crystal = bulk(symbol, "fcc", a=a, cubic=True) * (3, 3, 3)
    crystal.positions += np.random.default_rng(7).uniform(-rattle, rattle, crystal.positions.shape)
    crystal.set_cell(crystal.cell.array @ STRAIN, scale_atoms=True)
    return crystal


@pytest.mark.parametrize(("method", "optimizer"), [("l-bfgs", LBFGS), ("fire", FIRE)])
@pytest.mark.parametrize("cell", ["fixed", "flexible"])
def test_copper(method: str, optimizer: Any, cell: str, shared: Path) -> None:
    crystal = start("Cu", 3.615)
    state = atoms(crystal.positions, crystal.cell.array, "Cu", 29)
    potential = Eam(read_eam(shared / "data" / "lammps_eam" / "Cu_u3.eam"), state.species_table)
    table = table_of(method=method, max_force=1e-4, **CELL[cell])
    run = minimized(potential, state, table)
    assert run.converged
    if cell == "flexible":  # the file's own crystal: −3.54 eV and 3.615 Å
        assert run.enthalpy / 108 == pytest.approx(-3.54, abs=2e-6)
        metric = state.cell.matrix @ state.cell.matrix.T
        np.testing.assert_allclose(metric, np.eye(3) * (3 * 3.615) ** 2, atol=5e-3)
        assert np.abs(run.stress()).max() <= 1e-3
    ours = run.integrator.force_calls
    most = 3 * ours  # more than is compared
    theirs = calls_of_ase(optimizer, potential, crystal, table, FrechetCellFilter if cell != "fixed" else None, most)
    assert ours <= theirs


@pytest.mark.parametrize("cell", ["fixed", "flexible"])
def test_argon(cell: str) -> None:
    """The same without a file: a soft crystal, whose stiffness no default of a program fits."""
    crystal, potential = start("Ar", 5.3, 0.2), lennard_jones(0.0103, 3.4, 8.5)
    table = table_of(max_force=1e-4, **CELL[cell])
    run = minimized(potential, atoms(crystal.positions, crystal.cell.array), table)
    most = 3 * run.integrator.force_calls
    cell_filter = FrechetCellFilter if cell != "fixed" else None
    assert run.converged
    assert run.integrator.force_calls <= calls_of_ase(LBFGS, potential, crystal, table, cell_filter, most)
