"""Argon at constant pressure here, in LAMMPS and in ASE: volumes, their fluctuations, energies, compressibility.

    python benchmarks/npt_engines.py [--folder FOLDER]

Two states of liquid argon and one of the crystal, whose cell is flexible; three seeds of each program
(`argon_programs.py`). The variance of the volume must be
k_B T κ V with the compressibility κ of a finite difference: pressures at two volumes, at constant volume. Goes on where
it was broken off. Writes ``results/npt-engines-MACHINE.json`` and the figures of docs/ensembles; status 1 where a
program differs from LAMMPS by more than three standard errors. Ten minutes on one core.
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Sequence
from dataclasses import astuple, replace
from pathlib import Path
from typing import Any

import argon_programs as argon
import launch
import numpy as np
import series
from argon_programs import ATOMS, POINTS, Point, Run, Series
from numpy.typing import NDArray

from allegro_md.figures import COLORS, figure, svg
from allegro_md.units import BOLTZMANN, EV_PER_A3_IN_GPA

Array = NDArray[np.float64]

ENSEMBLES = launch.ROOT / "docs" / "ensembles"
SEEDS = (1, 2, 3)
STRAIN = 0.02
"""Of the volume, on either side of the mean."""

LIQUID: dict[str, tuple[Run, int]] = {
    "LAMMPS, fix npt": (argon.lammps(argon.NPT), 25_000),
    "npt-mtk": (argon.own(argon.MTK), 12_500),
    "npt-crescale": (argon.own(argon.CRESCALE), 12_500),
    "ASE, IsotropicMTKNPT": (argon.ase, 5_000),
}
CRYSTAL: dict[str, tuple[Run, int]] = {
    "LAMMPS, fix npt tri": (argon.lammps(argon.TRICLINIC), 25_000),
    "npt-mtk, flexible": (argon.own(argon.FLEXIBLE), 12_500),
}
PROGRAMS = LIQUID | CRYSTAL
"""Each with its steps."""

STATES = {
    "100 K, 40 MPa": list(LIQUID), "120 K, 100 MPa": list(LIQUID)[:3],
    "crystal, 70 K, 100 MPa": list(CRYSTAL),
}  # fmt: skip
"""The programs of each state, LAMMPS first."""

VALUES = ("volume_A3", "volume_variance_A6", "potential_eV_per_atom", "kinetic_eV_per_atom", "pressure_GPa")


def kept(folder: Path, run: Run, point: Point, seed: int, steps: int) -> Series:
    """What a run left in its folder; it is made if it has left nothing."""
    path = folder / "series.npz"
    if not path.exists():
        shutil.rmtree(folder, ignore_errors=True)  # of a run that was broken off
        folder.mkdir(parents=True)
        made = run(folder, point, seed, steps)
        np.savez(folder / "unfinished.npz", *astuple(made))
        (folder / "unfinished.npz").rename(path)
    with np.load(path) as file:
        return Series(*(file[name] for name in file.files))


def measured(runs: Sequence[Series]) -> dict[str, tuple[float, float]]:
    """Means over several runs, each with its standard error from blocks.

    The variance is about the mean of all runs.
    """
    center = float(np.mean([run.volume.mean() for run in runs]))
    columns = [
        (run.volume, (run.volume - center) ** 2, run.potential / ATOMS, run.kinetic / ATOMS, run.pressure)
        for run in runs
    ]
    return {name: pooled([column[k] for column in columns]) for k, name in enumerate(VALUES)}


def pooled(runs: Sequence[Array]) -> tuple[float, float]:
    """Mean of the means of several runs and its standard error: the larger of that from blocks and from the runs."""
    means, errors = np.array([series.mean(run) for run in runs]).T
    blocks = float(np.sqrt((errors**2).sum())) / len(runs)
    spread = float(means.std(ddof=1)) / np.sqrt(len(runs)) if len(runs) > 1 else 0.0
    return float(means.mean()), max(blocks, spread)


def deviation(a: tuple[float, float], b: tuple[float, float]) -> float:
    """Standard errors between two values."""
    return abs(a[0] - b[0]) / float(np.hypot(a[1], b[1]))


def from_fluctuations(found: dict[str, tuple[float, float]], point: Point) -> tuple[float, float]:
    """κ in 1/GPa of the variance of the volume, with its error."""
    variance, error = found["volume_variance_A6"]
    scale = 1.0 / (BOLTZMANN * point.kelvin * found["volume_A3"][0] * EV_PER_A3_IN_GPA)
    return variance * scale, error * scale


def from_pressures(low: tuple[float, float], high: tuple[float, float]) -> tuple[float, float]:
    """κ in 1/GPa of the pressures (GPa) at volumes larger and smaller by `STRAIN`, with its error."""
    modulus = (high[0] - low[0]) / np.log((1.0 + STRAIN) / (1.0 - STRAIN))
    error = float(np.hypot(low[1], high[1])) / np.log((1.0 + STRAIN) / (1.0 - STRAIN))
    return 1.0 / modulus, error / modulus**2


def equation_of_state(folder: Path, point: Point, volume: float, steps: int) -> dict[str, tuple[float, float]]:
    """κ in 1/GPa of pressures at two volumes, by LAMMPS and by this program."""
    out = {}
    for name, make, motion in (("LAMMPS", argon.lammps, argon.NVT), ("own", argon.own, argon.CANONICAL)):
        ends = []
        for strain in (STRAIN, -STRAIN):
            lattice = (4.0 * volume * (1.0 + strain) / ATOMS) ** (1.0 / 3.0)
            there = replace(point, lattice=round(lattice, 5))
            found = kept(folder / f"{name}{strain:+g}", make(motion), there, 1, steps)
            ends.append(series.mean(found.pressure))
        out[name] = from_pressures(ends[0], ends[1])
    return out


def compared(folder: Path, state: str) -> tuple[dict[str, Any], dict[str, Array]]:
    """Figures of one of `STATES`, and all volumes of each program."""
    runs, point = {}, POINTS[state]
    for name in STATES[state]:
        run, steps = PROGRAMS[name]
        runs[name] = [kept(folder / f"{name}-{seed}", run, point, seed, steps) for seed in SEEDS]
    found = {name: measured(several) for name, several in runs.items()}
    reference = STATES[state][0]
    volume = found[reference]["volume_A3"][0]
    figures: dict[str, Any] = {
        "kelvin": point.kelvin, "pressure_GPa": point.pressure, "values": found,
        "deviation_from_LAMMPS_in_standard_errors": {
            name: {key: deviation(values[key], found[reference][key]) for key in VALUES}
            for name, values in found.items() if name != reference
        },
        "compressibility_of_fluctuations_per_GPa": {n: from_fluctuations(v, point) for n, v in found.items()},
        "compressibility_of_pressures_per_GPa": equation_of_state(folder / "volumes", point, volume, 10_000),
    }  # fmt: skip
    return figures, {name: np.concatenate([run.volume for run in several]) for name, several in runs.items()}


def show(name: str, figures: dict[str, Any]) -> None:
    """Prints the table of one state."""
    print(f"\n{name}: mean ± standard error (standard errors from LAMMPS)")
    for program, values in figures["values"].items():
        off = figures["deviation_from_LAMMPS_in_standard_errors"].get(program, {})
        cells = [f"{v:.6g} ± {e:.2g}" + (f" ({off[key]:.1f})" if off else "") for key, (v, e) in values.items()]
        kappa, error = figures["compressibility_of_fluctuations_per_GPa"][program]
        print(f"  {program:22}" + "  ".join(cells) + f"  κ {kappa:.3f} ± {error:.3f}/GPa")
    for program, (kappa, error) in figures["compressibility_of_pressures_per_GPa"].items():
        print(f"  κ from pressures at two volumes, {program}: {kappa:.3f} ± {error:.3f}/GPa")


def picture(volumes: dict[str, dict[str, Array]], ensemble: str) -> bytes:
    """Volumes of one of our ensembles and of LAMMPS, in each state that has it."""
    shown = {name: [p for p in of if p.startswith(ensemble)] for name, of in volumes.items()}
    states = [name for name, programs in shown.items() if programs]
    made, axes = figure(1, len(states), 2.6 * len(states) + 0.4, 2.6)
    for axis, name in zip(axes, states, strict=True):
        reference = volumes[name][STATES[name][0]]
        edges = np.linspace(reference.min(), reference.max(), 40) / ATOMS
        for program, label, color in ((STATES[name][0], "LAMMPS", COLORS[1]), (shown[name][0], ensemble, COLORS[0])):
            density, _ = np.histogram(volumes[name][program] / ATOMS, edges, density=True)
            axis.stairs(density, edges, color=color, label=label)
        axis.set(xlabel="volume per atom (Å³)", title=name)
    axes[0].set_ylabel("probability density (1/Å³)")
    axes[0].legend(frameon=False, fontsize="small")
    return svg(made)


def main() -> None:
    """Measures, prints, draws and keeps the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, default=Path("npt-engines"), help="of the runs")
    options = parser.parse_args()
    states, volumes = {}, {}
    for name in STATES:
        states[name], volumes[name] = compared(options.folder / name, name)
        show(name, states[name])
    for ensemble in ("npt-mtk", "npt-crescale"):
        (ENSEMBLES / f"{ensemble}.svg").write_bytes(picture(volumes, ensemble))
    figures = {
        "atoms": ATOMS, "timestep_fs": argon.TIMESTEP, "seeds": list(SEEDS),
        "steps": {name: steps for name, (_, steps) in PROGRAMS.items()}, "states": states,
    }  # fmt: skip
    versions = launch.versions("allegro-md", "lammps", "ase", "numpy")
    print(launch.save("npt-engines", figures, versions))
    apart = [state["deviation_from_LAMMPS_in_standard_errors"] for state in states.values()]
    largest = max(value for state in apart for values in state.values() for value in values.values())
    raise SystemExit(int(largest > 3.0))


if __name__ == "__main__":
    main()
