"""Balance on 4 ranks of systems that are not the same everywhere, with and without moving planes.

    python benchmarks/balance.py

A slab with vacuum, a droplet, a crystal with a void and a dense beside a dilute phase, none of them in the middle of
its box. The cost of a rank is the CPU time of the potential per step, its median; 4 ranks may share fewer cores. All
numbers of the runs are compared bit by bit. Writes ``results/balance-MACHINE.json``.
"""

from __future__ import annotations

import csv
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import launch
import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.io import write

RANKS, STEPS = 4, 400

LJ = """
[potential]
kind = "lj"
epsilon = 0.0103
sigma = 3.4
cutoff = 8.5
"""
EAM = f"""
[potential]
kind = "eam"
file = "{launch.ROOT}/inputs/potentials/ag-sutton-chen.eam.alloy"
"""
ALLEGRO = f"""
[potential]
model = "{launch.ROOT}/inputs/models/cu.allegro"
"""
MATTER = {
    "lj": ("Ar", 5.3, 12, 40.0, LJ), "eam": ("Ag", 4.09, 12, 300.0, EAM), "allegro": ("Cu", 3.65, 7, 300.0, ALLEGRO),
}  # fmt: skip
"""Element, lattice constant (Å), cells along an edge, temperature (K) and potential."""


def slab(symbol: str, a: float, n: int) -> Atoms:
    """A slab, n cells thick, across the face of a box four times as high."""
    atoms = bulk(symbol, "fcc", a=a, cubic=True).repeat((n, n, n))
    return _placed(atoms, np.array([n * a, n * a, 4.0 * n * a]), np.array([0.0, 0.0, 3.6 * n * a]))


def droplet(symbol: str, a: float, n: int) -> Atoms:
    """A ball of a radius of 0.45 n cells in a box three times as wide, not in its middle."""
    atoms = bulk(symbol, "fcc", a=a, cubic=True).repeat((n, n, n))
    distance = np.linalg.norm(atoms.positions - atoms.positions.mean(axis=0), axis=1)
    return _placed(atoms[distance < 0.45 * n * a], np.full(3, 3.0 * n * a), n * a * np.array([1.7, 0.1, 0.6]))


def void(symbol: str, a: float, n: int) -> Atoms:
    """A crystal of n cells along each edge with a hole of a radius of 0.32 n cells at a third of its diagonal."""
    atoms = bulk(symbol, "fcc", a=a, cubic=True).repeat((n, n, n))
    distance = np.linalg.norm(atoms.positions - n * a / 3.0, axis=1)
    return atoms[distance > 0.32 * n * a]


def phases(symbol: str, a: float, n: int) -> Atoms:
    """A crystal of n cells along each edge beside three times its volume of atoms 12 times as dilute."""
    dense, m = bulk(symbol, "fcc", a=a, cubic=True).repeat((n, n, n)), max(2, round(0.7 * n))
    dilute = bulk(symbol, "sc", a=n * a / m, cubic=True).repeat((m, m, 3 * m - 1))
    dilute.positions[:, 2] += n * a * (1.0 + 0.5 / m)
    return _placed(dense + dilute, n * a * np.array([1.0, 1.0, 4.0]), n * a * np.array([0.0, 0.0, 1.7]))


def _placed(atoms: Atoms, box: np.ndarray, at: np.ndarray) -> Atoms:
    """The atoms, moved and wrapped into another box; `box` (3,) and `at` (3,) in Å."""
    atoms.set_cell(np.diag(box))
    atoms.positions += at
    atoms.set_pbc(True)
    atoms.wrap()
    return atoms


SYSTEMS: dict[str, Callable[[str, float, int], Atoms]] = {
    "slab": slab, "droplet": droplet, "void": void, "phases": phases,
}  # fmt: skip


def compare(folder: Path, kind: str, system: str, grid: str = '"auto"') -> dict[str, Any]:
    """Both runs of a system.

    Args:
        folder: for the runs.
        kind: of `MATTER`.
        system: of `SYSTEMS`.
        grid: value of ``parallel.grid``.

    Returns:
        Largest over mean cost of a rank in each run, and if all numbers are the same bits.
    """
    symbol, a, cells, temperature, potential = MATTER[kind]
    folder = folder / f"{kind}-{system}-{''.join(c for c in grid if c.isalnum())}"
    folder.mkdir(parents=True)
    atoms = SYSTEMS[system](symbol, a, cells)
    write(folder / "start.extxyz", atoms)
    found: dict[str, Any] = {"atoms": len(atoms), "steps": STEPS, "grid": grid.strip('"')}
    for balance in ("off", "auto"):
        text = (
            '[system]\nstructure = "start.extxyz"\n'
            f"velocities = {{ temperature = {temperature}, seed = 1 }}\n{potential}"
            f'[dynamics]\nensemble = "nve"\ntimestep = 2.0\nsteps = {STEPS}\n'
            f'[parallel]\ngrid = {grid}\nskin = 1.0\nbalance = "{balance}"\n'
            f"[output]\nthermo = {{ every = 10 }}\n"
            f'trajectory = {{ every = {STEPS}, dtype = "float64", fields = ["position", "velocity", "force"] }}'
        )
        record = launch.run_input(text, balance, folder, RANKS)
        costs = np.array([rank["potential_cpu_ms"] for rank in record["ranks"]])
        found[balance] = {
            "slowest_over_mean": round(float(costs.max() / costs.mean()), 3),
            "cpu_ms_per_step": costs.tolist(),
            "atoms_of_ranks": [rank["atoms"] for rank in record["ranks"]],
            "rank_grid": record["rank_grid"],
            "rebuilds": record["rebuilds"],
            "balance": record["balance"],
        }
    found["same_bits"] = _numbers(folder / "off") == _numbers(folder / "auto")
    return found


def _numbers(directory: Path) -> list[Any]:
    """All bits of the trajectory and of ``thermo.csv``, without the time that steps took."""
    with (directory / "thermo.csv").open() as file:
        rows: list[Any] = [row[:-1] for row in csv.reader(file)]
    with h5py.File(directory / "trajectory.h5") as file:
        group = file["particles/all"]
        return rows + [group[name]["value"][:].tobytes() for name in ("position", "velocity", "force")]


def main() -> None:
    """Measures, prints and keeps the figures."""
    cases = [(kind, system, '"auto"') for kind in MATTER for system in SYSTEMS]
    cases += [("lj", system, "[1, 1, 4]") for system in ("slab", "droplet", "phases")]
    figures = {}
    with tempfile.TemporaryDirectory() as folder:
        for kind, system, grid in cases:
            name = f"{kind} {system}, grid {grid}".replace('"', "")
            figures[name] = compare(Path(folder), kind, system, grid)
            print(name, {key: figures[name][key]["slowest_over_mean"] for key in ("off", "auto")}, flush=True)
    print(launch.save("balance", {"ranks": RANKS, "systems": figures}, launch.versions("allegro-md", "numpy", "numba")))


if __name__ == "__main__":
    main()
