"""Draws the plots of docs/ensembles from runs of its own: 108 atoms of liquid argon, and harmonic oscillators.

    python benchmarks/ensemble_plots.py [nvt-langevin …]

Writes ``docs/ensembles/NAME.svg``; five minutes on one core.
"""

from __future__ import annotations

import argparse
import csv
import math
import tempfile
from pathlib import Path
from typing import Any

import launch
import numpy as np
import torch
from numpy.typing import NDArray
from scipy import stats

from allegro_md.cell import Cell
from allegro_md.comm import Comm
from allegro_md.config import load_input
from allegro_md.config.dynamics import INTEGRATORS
from allegro_md.evaluation import Evaluation, Needs, PotentialInfo
from allegro_md.exact import FORCE_SCALE
from allegro_md.figures import COLORS, figure, svg
from allegro_md.integrators import build_integrator
from allegro_md.integrators.base import Clock, Setting
from allegro_md.simulation import Simulation
from allegro_md.state import AtomState, SpeciesTable
from allegro_md.units import AMU_A2_PER_FS2, BOLTZMANN

Array = NDArray[np.float64]

KELVIN, N = 94.4, 108
ARGON = """
[system]
crystal = { symbol = "Ar", lattice = "fcc", a = 5.7802, repeat = [3, 3, 3], rattle = 0.05 }
velocities = { temperature = 200.0, seed = 1 }
[potential]
kind = "lj"
epsilon = 0.0103236
sigma = 3.405
cutoff = 8.5
[dynamics]
ensemble = "nve"
timestep = 4.0
steps = 0
[output]
thermo = { every = 5 }
checkpoint = { every = 0 }
"""
SETTLING, STEPS = 2000, 30_000
KEYS = {
    "nvt-nose-hoover": ["thermostat_time=100"], "nvt-bussi": ["thermostat_time=100"],
    "nvt-langevin": ["friction=5/ps"], "nvt-berendsen": ["thermostat_time=100"],
}  # fmt: skip


def thermo(assignments: list[str]) -> dict[str, Array]:
    """Columns of thermo.csv of a run of argon with keys of ``[dynamics]``."""
    with tempfile.TemporaryDirectory() as folder:
        path, run = Path(folder) / "input.toml", Path(folder) / "run"
        path.write_text(ARGON)
        changed = [*(f"dynamics.{each}" for each in assignments), f"output.directory={run}"]
        Simulation.from_config(load_input(path, changed), Comm.serial()).run()
        rows = list(csv.DictReader((run / "thermo.csv").open()))
    return {name: np.array([float(row[name]) for row in rows]) for name in rows[0]}


def draw_kinetic(axes: Any, ensemble: str) -> None:
    """Histogram of the kinetic energy, and its gamma distribution."""
    found = thermo([f"ensemble={ensemble}", f"temperature={KELVIN}", f"steps={SETTLING + STEPS}", *KEYS[ensemble]])
    kinetic = found["kinetic_eV"][found["step"] > SETTLING]
    freedom = 3 * N - (0 if ensemble == "nvt-langevin" else 3)
    exact = stats.gamma(0.5 * freedom, scale=BOLTZMANN * KELVIN)
    grid = np.linspace(*exact.ppf([1e-5, 1.0 - 1e-5]), 200)
    axes.hist(kinetic, bins=40, density=True, color=COLORS[5], label=ensemble)
    axes.plot(grid, exact.pdf(grid), color=COLORS[6], label="canonical")
    axes.set(xlabel="kinetic energy (eV)", ylabel="density (1/eV)")
    axes.legend(frameon=False)


def draw_order(axes: Any) -> None:
    """Fluctuation of the energy at constant energy against the time step."""
    timesteps, spans = np.array([2.0, 4.0, 8.0, 16.0]), []
    for timestep in timesteps:
        found = thermo(["ensemble=nve", f"timestep={timestep}", f"steps={round(24e3 / timestep)}"])
        late = found["time_fs"] > 8e3
        energy, time = found["total_eV"][late], found["time_fs"][late]
        spans.append(float(np.std(energy - np.polyval(np.polyfit(time, energy, 1), time))) / N)
    axes.loglog(timesteps, spans, "o", color=COLORS[0], label="nve")
    line = spans[1] * (timesteps / timesteps[1]) ** 2
    axes.loglog(timesteps, line, color=COLORS[6], label="slope 2")
    axes.set_xticks(timesteps, [f"{t:g}" for t in timesteps], minor=False)
    axes.set_xticks([], minor=True)
    axes.set(xlabel="time step (fs)", ylabel="energy fluctuation (eV/atom)")
    axes.legend(frameon=False)


def oscillators(reach: float, n: int = 4000, steps: int = 500, stiffness: float = 1.0) -> tuple[float, float]:
    """⟨x²⟩ and ⟨v²⟩ of harmonic oscillators over their exact values, at ωΔt = `reach`."""
    mass, kelvin = 40.0, 300.0
    timestep = reach / math.sqrt(stiffness / (mass * AMU_A2_PER_FS2))
    keys = {"timestep": timestep, "steps": steps, "temperature": kelvin, "friction": 0.4 / timestep}
    cell, table = Cell(np.eye(3), (False,) * 3), SpeciesTable(("Ar",), np.array([18]), np.array([mass]))
    setting = Setting(PotentialInfo("oscillators", 1.0), n, cell, Comm.serial())
    table_of_keys: Any = INTEGRATORS.table("nvt-langevin")(ensemble="nvt-langevin", **keys)
    integrator = build_integrator(table_of_keys, setting)
    state = AtomState.from_arrays(cell, table, np.zeros((n, 3)))

    def forces(state: AtomState, needs: Needs) -> Evaluation:
        state.local("force").copy_(torch.round(-stiffness * FORCE_SCALE * state.local("position")).long())
        return Evaluation()

    forces(state, frozenset())
    squares = []
    for step in range(1, steps + 1):
        integrator.step(state, forces, Clock(step, timestep))
        squares.append([float((state.local(name) ** 2).mean()) for name in ("position", "velocity")])
    x2, v2 = np.mean(squares[steps // 4 :], axis=0)
    kT = BOLTZMANN * kelvin
    return x2 * stiffness / kT, v2 * mass * AMU_A2_PER_FS2 / kT


def draw_oscillators(axes: Any) -> None:
    """What the time step does to positions and velocities of Langevin dynamics."""
    reach = np.array([0.2, 0.5, 0.8, 1.1, 1.4, 1.7, 1.9])
    found, grid = np.array([oscillators(r) for r in reach]), np.linspace(0.0, 2.0, 100)
    axes.plot(grid, np.ones(100), color=COLORS[6])
    axes.plot(grid, 1.0 - grid**2 / 4.0, color=COLORS[6], linestyle="--")
    axes.plot(reach, found[:, 0], "o", color=COLORS[0], label="positions, ⟨x²⟩")
    axes.plot(reach, found[:, 1], "s", color=COLORS[1], label="velocities, ⟨v²⟩")
    axes.set(xlabel="ωΔt", ylabel="mean square, over its exact value", ylim=(0.0, 1.2))
    axes.legend(frameon=False, loc="lower left")


def main() -> None:
    """Draws the plots asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("ensembles", nargs="*", default=["nve", *KEYS])
    for ensemble in parser.parse_args().ensembles:
        two = ensemble == "nvt-langevin"
        made, axes = figure(1, 2 if two else 1, 8.0 if two else 4.4, 3.0)
        if ensemble == "nve":
            draw_order(axes[0])
        else:
            draw_kinetic(axes[0], ensemble)
        if two:
            draw_oscillators(axes[1])
        path = launch.ROOT / "docs" / "ensembles" / f"{ensemble}.svg"
        path.write_bytes(svg(made))
        print(path)


if __name__ == "__main__":
    main()
