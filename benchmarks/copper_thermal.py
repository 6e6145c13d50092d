"""Copper at temperature: thermal expansion of a model, and its crystal beside ab initio frames of the same cell.

    python benchmarks/copper_thermal.py inputs/models/cu.allegro [--data FOLDER] [--runs FOLDER]

Expansion: 256 atoms at 300, 600 and 900 K, each at five lattice constants; the lattice constant without pressure is the
root of a parabola through the mean pressures. Beside it is experiment. The crystal: 108 atoms in the cell of the ab
initio frames (``AIMD.extxyz.xz`` of Li et al., Phys. Rev. B 98, 094104 (2018)) at several temperatures. The frames do
not name theirs; the runs whose mean energies enclose that of the frames do. Runs that are done are not repeated. Ten
minutes on one core. Writes ``results/copper-thermal-MODEL-MACHINE.json``.
"""

from __future__ import annotations

import argparse
import json
import lzma
from io import StringIO
from pathlib import Path
from typing import Any

import launch
import numpy as np
import series
from ase import Atoms
from ase.io import read, write
from numpy.typing import NDArray
from tables import Table, analyzed, distance

Array = NDArray[np.float64]

CENTERS = {300.0: 3.657, 600.0: 3.679, 900.0: 3.725}
"""Temperature, K, and about the lattice constant without pressure, Å."""
OFFSETS = (-0.02, -0.01, 0.0, 0.01, 0.02)
CELLS = {"crystal": ("hot", (300.0, 365.0, 900.0, 1145.0, 1222.0)), "melt": ("melt", (2037.0, 2715.0))}
"""Runs in the cell of the ab initio frames: from the first frame of which group, and at which temperatures, K."""
RMAX, BINS, COLUMN = "5.4", "108", "g_Cu-Cu"
"""Distances up to half the cell, and the column that is compared."""
SETTLED_FS = 2000.0
"""Start of a run that is left out."""
COEFFICIENTS = {293.0: 16.5, 400.0: 17.6, 500.0: 18.3, 600.0: 18.9, 800.0: 20.3, 1000.0: 22.4}
"""Linear expansion of copper, 1e-6 per K, commonly quoted and attributed to Touloukian, Kirby, Taylor, Desai,
Thermophysical Properties of Matter 12 (1975), which was not at hand."""
EXPERIMENT_300 = 3.615  # Å

INPUT = """
[system]
{system}

[system.velocities]
temperature = {start}
seed = 1

[potential]
model = "{model}"

[dynamics]
ensemble = "nvt-nose-hoover"
timestep = 2.0
steps = {steps}
temperature = {temperature}

[output]
thermo = {{ every = 5 }}
{trajectory}
"""
CRYSTAL = 'crystal = {{ symbol = "Cu", lattice = "fcc", a = {a}, repeat = [4, 4, 4] }}'


def groups(data: Path) -> dict[str, list[Atoms]]:
    """The ab initio frames by their energy: two crystals and a melt, all in one cell."""
    with lzma.open(data / "cu_snap" / "AIMD.extxyz.xz", "rt") as file:
        frames = read(StringIO(file.read()), ":", format="extxyz")
    assert isinstance(frames, list)
    energy = np.array([atoms.get_potential_energy() / len(atoms) for atoms in frames])
    bounds = {"cold": (-4.1, -4.0), "hot": (-4.0, -3.8), "melt": (-3.8, -3.4)}
    return {
        name: [atoms for atoms, e in zip(frames, energy, strict=True) if low < e < high]
        for name, (low, high) in bounds.items()
    }


def settled(directory: Path) -> NDArray[Any]:
    """The rows of thermo.csv after the start."""
    thermo = np.genfromtxt(directory / "thermo.csv", delimiter=",", names=True)
    return thermo[thermo["time_fs"] >= SETTLED_FS]


def expansion(model: Path, folder: Path) -> dict[str, Any]:
    """Lattice constant without pressure at each temperature, with its error."""
    found: dict[str, Any] = {}
    for temperature, center in CENTERS.items():
        points = []
        for offset in OFFSETS:
            a = round(center + offset, 4)
            text = INPUT.format(
                system=CRYSTAL.format(a=a), model=model, steps=5000, temperature=temperature, start=2 * temperature,
                trajectory="",
            )
            name = f"expansion-{temperature:.0f}-{a}"
            launch.run_input(text, name, folder, 1)
            rows = settled(folder / name)
            points.append((a, *series.mean(rows["pressure_GPa"]), rows["temperature_K"].mean()))
        a, error, modulus = root(np.array(points))
        found[f"{temperature:.0f}"] = {
            "lattice_constant_A": float(a), "error_A": error, "bulk_modulus_GPa": modulus,
            "points": [dict(zip(("a_A", "pressure_GPa", "error_GPa", "mean_K"), p, strict=True)) for p in points],
        }
    return found


def root(points: Array) -> tuple[float, float, float]:
    """Where a parabola through pressures vanishes, its standard error, and the bulk modulus there.

    Args:
        points: (n, 4): lattice constant, pressure, its error, temperature.
    """
    middle = points[:, 0].mean()
    x, y, error = points[:, 0] - middle, points[:, 1], points[:, 2]
    coefficients, covariance = np.polyfit(x, y, 2, w=1.0 / error, cov="unscaled")
    roots = np.roots(coefficients)
    zero = float(np.real(roots[np.argmin(np.abs(roots))]))
    slope = float(np.polyval(np.polyder(coefficients), zero))
    powers = np.array([zero**2, zero, 1.0])
    a = float(middle) + zero
    return a, float(np.sqrt(powers @ covariance @ powers)) / abs(slope), -slope * a / 3.0


def experiment(first: float, last: float) -> float:
    """Relative change of length between two temperatures."""
    grid = np.linspace(first, last, 601)
    alpha = np.interp(grid, list(COEFFICIENTS), list(COEFFICIENTS.values()))
    return float(np.expm1(np.trapezoid(alpha, grid) * 1e-6))


def same_cell(model: Path, folder: Path, frame: Atoms, name: str, temperatures: tuple[float, ...]) -> dict[str, Any]:
    """Mean energies of runs from an ab initio frame, in its cell; their trajectories are for analysis."""
    write(folder / f"{name}.extxyz", frame, columns=["symbols", "positions"])
    found: dict[str, Any] = {}
    for temperature in temperatures:
        text = INPUT.format(
            system=f'structure = "{name}.extxyz"', model=model, steps=11_000, temperature=temperature,
            start=temperature, trajectory='trajectory = { every = 10, fields = ["position", "image"] }',
        )
        launch.run_input(text, f"{name}-{temperature:.0f}", folder, 1)
        rows = settled(folder / f"{name}-{temperature:.0f}")
        energy, error = series.mean(rows["potential_eV"] / len(frame))
        found[f"{temperature:.0f}"] = {
            "energy_eV": energy, "error_eV": error, "temperature_K": float(rows["temperature_K"].mean()),
            "pressure_GPa": float(rows["pressure_GPa"].mean()),
        }
    return found


def structures(folder: Path, frames: dict[str, list[Atoms]]) -> dict[str, Any]:
    """Radial distribution functions of the runs beside those of the ab initio frames."""
    options = ["--rmax", RMAX, "--bins", BINS]
    names = [f"{name}-{temperature:.0f}" for name, (_, temperatures) in CELLS.items() for temperature in temperatures]
    later = ["--frames", f"{int(SETTLED_FS / 20)}::5"]
    runs = {
        name: analyzed("rdf", folder / name / "trajectory.h5", folder / "analysis" / name, *options, *later)
        for name in names
    }
    found: dict[str, Any] = {}
    for name, members in frames.items():
        parts = []
        for part, chosen in (("", members), ("-even", members[::2]), ("-odd", members[1::2])):
            path = folder / f"frames-{name}{part}.extxyz"
            write(path, chosen, columns=["symbols", "positions"])
            parts.append(analyzed("rdf", path, folder / "analysis" / f"frames-{name}{part}", *options))
        energy = np.array([atoms.get_potential_energy() / len(atoms) for atoms in members])
        whole, even, odd = parts
        found[name] = {
            "frames": len(members), "energy_eV": energy.mean(), "error_eV": energy.std(ddof=1) / len(energy) ** 0.5,
            "stress_raw_mean": float(np.mean([atoms.info["stress_raw"][:3] for atoms in members])),
            **peak(whole), "difference_of_even_and_odd_frames": distance(even, odd, COLUMN),
            "runs": {
                run: {**peak(table), "difference": distance(table, whole, COLUMN)} for run, table in runs.items()
            },
        }
    return found


def peak(table: Table) -> dict[str, float]:
    """Position and height of the highest value."""
    return {"peak_A": float(table["r_A"][table[COLUMN].argmax()]), "height": float(table[COLUMN].max())}


def main() -> None:
    """Measures, prints and keeps the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("--data", type=Path, default=launch.SHARED / "data", help="folder of the data sets")
    parser.add_argument("--runs", type=Path, default=launch.ROOT / "benchmarks" / "run-copper-thermal")
    options = parser.parse_args()
    model = options.model.resolve()
    folder = options.runs.resolve() / model.stem
    folder.mkdir(parents=True, exist_ok=True)
    frames = groups(options.data)
    runs = {
        name: same_cell(model, folder, frames[group][0].copy(), name, temperatures)
        for name, (group, temperatures) in CELLS.items()
    }
    found = expansion(model, folder)
    first, last = (found[key]["lattice_constant_A"] for key in ("300", "900"))
    figures = {
        "model": model.name, "expansion": found,
        "elongation_300_to_900_K": last / first - 1.0, "experiment_300_to_900_K": experiment(300.0, 900.0),
        "experiment_lattice_constant_300_K": EXPERIMENT_300,
        "ab_initio_cell": {"runs": runs, "frames": structures(folder, frames)},
        "wall_s": sum(json.loads(path.read_text())["wall_s"] for path in folder.glob("*/run.json")),
    }  # fmt: skip
    print(json.dumps(figures, indent=1))
    print(launch.save(f"copper-thermal-{model.stem}", figures, launch.versions("allegro-md", "ase", "numpy")))


if __name__ == "__main__":
    main()
