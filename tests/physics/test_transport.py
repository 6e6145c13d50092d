"""Self-diffusion and viscosity of the Lennard-Jones liquid at its triple point against literature."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from allegro_md.comm import Comm
from allegro_md.config import load_input
from allegro_md.io.frames import open_frames
from allegro_md.simulation.run import Simulation
from allegro_md.units import AMU_A2_PER_FS2, BOLTZMANN, EV_PER_A3_IN_GPA

SIGMA, EPSILON, MASS = 3.405, 119.8 * BOLTZMANN, 39.948
TIME = SIGMA * np.sqrt(MASS * AMU_A2_PER_FS2 / EPSILON)
"""Unit of time, fs."""

DIFFUSION = SIGMA**2 / TIME * 0.1
"""Unit of diffusion coefficients, cm²/s."""

VISCOSITY = EPSILON * TIME / SIGMA**3 * EV_PER_A3_IN_GPA * 1e-3
"""Unit of viscosities, mPa·s."""

MELT = f"""
[system]
crystal = {{ symbol = "Ar", lattice = "fcc", a = {SIGMA * (4 / 0.8442) ** (1 / 3)}, repeat = [4, 4, 4], rattle = 0.1 }}
velocities = {{ temperature = 400.0, seed = 1 }}
[potential]
kind = "lj"
epsilon = {EPSILON}
sigma = {SIGMA}
cutoff = {2.5 * SIGMA}
[dynamics]
ensemble = "nvt-bussi"
temperature = 400.0
timestep = 5.0
steps = 4000
[output]
directory = "melt"
trajectory = {{ every = 4000, fields = ["position"], dtype = "float64" }}
"""

LIQUID = f"""
[system]
structure = "liquid.extxyz"
velocities = {{ temperature = {0.722 * 119.8}, seed = 2 }}
[potential]
kind = "lj"
epsilon = {EPSILON}
sigma = {SIGMA}
cutoff = {2.5 * SIGMA}
[dynamics]
ensemble = "nvt-nose-hoover"
temperature = {0.722 * 119.8}
thermostat_time = 500.0
timestep = 8.0
steps = 160000
[output]
directory = "liquid"
thermo = {{ every = 100 }}
checkpoint = {{ every = 0 }}
observe = [
  {{ kind = "msd", every = 5, after = 10000, temperature = {0.722 * 119.8}, viscosity = {3.25 * VISCOSITY} }},
  {{ kind = "vacf", every = 2, after = 10000, window = 4000.0, origin_every = 5 }},
  {{ kind = "viscosity", every = 2, after = 10000, window = 8000.0 }},
]
"""


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_lennard_jones_at_the_triple_point(tmp_path: Path) -> None:
    """256 atoms for 1.2 ns at ρ* = 0.8442, T* = 0.722.

    η* is 3.2 to 3.3, Meier, Laesecke and Kabelac, J. Chem. Phys. 121, 3671 (2004). D* is 0.032 to 0.033 in systems of
    about 1000 to 2000 atoms, Levesque and Verlet, Phys. Rev. A 2, 2514 (1970), and Meier et al., J. Chem. Phys. 121,
    9526 (2004). That is the value of an infinite system less the correction of Yeh and Hummer for so many atoms; in
    256 atoms D* is 0.030.
    """
    run(tmp_path, "melt", MELT)
    with open_frames(tmp_path / "melt" / "trajectory.h5") as frames:
        last = frames[frames.n_frames - 1]
        write(tmp_path / "liquid.extxyz", last.position, last.cell.matrix)
    run(tmp_path, "liquid", LIQUID)
    found = values(tmp_path / "liquid" / "observe")
    print({name: (value / unit, error / unit) for name, (value, error, unit) in found.items()})
    einstein, green_kubo, viscosity = (np.array(found[name][:2]) / found[name][2] for name in ("D", "D-gk", "eta"))
    edge = (1372 / 0.8442) ** (1 / 3)
    of_1372_atoms = found["D-corrected"][0] / DIFFUSION - 2.837297 * 0.722 / (6.0 * np.pi * 3.25 * edge)
    assert einstein[1] < 0.05 * einstein[0] and green_kubo[1] < 0.05 * green_kubo[0]
    assert abs(einstein[0] - green_kubo[0]) < 3.0 * np.hypot(einstein[1], green_kubo[1])
    assert abs(of_1372_atoms - 0.0325) < 0.0005 + 3.0 * einstein[1]
    assert viscosity[1] < 0.15 * viscosity[0]
    assert abs(viscosity[0] - 3.25) < 3.0 * viscosity[1]


def run(folder: Path, name: str, text: str) -> None:
    (folder / f"{name}.toml").write_text(text)
    Simulation.from_config(load_input(folder / f"{name}.toml", ()), Comm.serial()).run()


def write(path: Path, position: Any, matrix: Any) -> None:
    """An extended XYZ file of argon."""
    lattice = " ".join(map(str, np.ravel(matrix)))
    rows = "\n".join(f"Ar {x} {y} {z}" for x, y, z in position.tolist())
    path.write_text(f'{len(position)}\nLattice="{lattice}" Properties=species:S:1:pos:R:3\n{rows}\n')


def values(folder: Path) -> dict[str, tuple[float, float, float]]:
    """Value, error and unit of each result."""
    wanted = [
        ("D", "msd", "D_Ar", DIFFUSION), ("D-corrected", "msd", "D_corrected_Ar", DIFFUSION),
        ("D-gk", "vacf", "D_Ar", DIFFUSION), ("eta", "viscosity", "viscosity", VISCOSITY),
    ]  # fmt: skip
    found = {}
    for name, kind, value, unit in wanted:
        all_values = json.loads((folder / f"{kind}.json").read_text())["values"]
        entry, = (one for one in all_values if one["name"] == value)
        assert entry["value"] is not None, (folder / f"{kind}.json").read_text()
        found[name] = (entry["value"], entry["error"], unit)
    return found
