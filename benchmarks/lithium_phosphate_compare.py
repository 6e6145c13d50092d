"""The runs of ``lithium_phosphate_study.py`` beside ab initio dynamics: numbers and pictures of docs/li3po4.md.

    python benchmarks/lithium_phosphate_compare.py [--data FOLDER] [--runs FOLDER]

``allegro-md analyze`` computes what can be compared, of each run and of the ab initio frames: the first 10 ps of
the quench are left out of both. The frames are in the order of time (their center of mass stays where it is when
displacements between successive ones are added up); 0.5 ps between them is the 50 ps of the paper divided by their
number. Needs the runs; minutes. Writes ``results/lithium-phosphate-study-MACHINE.json`` and
``docs/assets/li3po4-*.svg``.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import launch
import numpy as np
from ase import Atoms
from ase.io import write
from ase.neighborlist import neighbor_list
from lithium_phosphate_study import frames
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from tables import Table, analyzed, distance

from allegro_md import read_trajectory
from allegro_md.figures import COLORS, figure, svg

ASSETS = launch.ROOT / "docs" / "assets"
AB_INITIO_FS = 500.0
DROPPED = 20
"""Ab initio frames of the first 10 ps of the quench."""
PAIRS = ("Li-Li", "Li-O", "Li-P", "O-O", "O-P", "P-P", "total")
BOND = 2.0
"""Å; a phosphorus and an oxygen within it are bonded."""
FIT_PS = (2.0, 20.0)
QUANTITIES = {
    "rdf": ["--rmax", "10", "--bins", "200", "--frames", "::10"],
    "msd": [],
    "adf": ["--rmax", "2.5", "--frames", "::10"],
}


def write_ab_initio(members: Sequence[Atoms], path: Path) -> None:
    """Writes frames with times and images, displacements between successive ones being the shortest possible."""
    image = np.zeros((len(members[0]), 3), dtype=int)
    before = members[0].get_scaled_positions(wrap=False)
    if not path.exists():
        for number, atoms in enumerate(members):
            scaled = atoms.get_scaled_positions(wrap=False)
            image -= np.rint(scaled - before).astype(int)
            before = scaled
            made = Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=True)
            made.set_array("image", image.copy())
            made.info["time_fs"] = number * AB_INITIO_FS
            write(path, made, format="extxyz", columns=["symbols", "positions", "image"], append=number > 0)


def network(members: Sequence[Atoms]) -> dict[str, float]:
    """What phosphorus and oxygen are bonded to, per frame: 24 PO4 would be 24 `isolated`."""
    found = []
    for atoms in members:
        i, j = neighbor_list("ij", atoms, {("P", "O"): BOND})
        n = len(atoms)
        oxygens = np.bincount(i, minlength=n)
        _, part = connected_components(coo_array((np.ones(len(i)), (i, j)), shape=(n, n)))
        size = np.bincount(part[atoms.numbers == 15])
        found.append({
            "isolated": (size == 1).sum(), "joined": size[size > 1].sum(),
            "four_oxygens": (oxygens[atoms.numbers == 15] == 4).sum(),
            "bridging_oxygens": (oxygens[atoms.numbers == 8] == 2).sum(),
            "free_oxygens": (oxygens[atoms.numbers == 8] == 0).sum(),
        })  # fmt: skip
    return {key: float(np.mean([one[key] for one in found])) for key in found[0]}


def stored(trajectory: Path, every: int) -> list[Atoms]:
    """Frames of a run."""
    with read_trajectory(trajectory) as t:
        return [Atoms(t.species, frame.position, cell=frame.cell.matrix, pbc=True) for frame in t[::every]]


def diffusion(msd: Table) -> float:
    """Slope of the mean square displacement of lithium in `FIT_PS`, as D in cm²/s."""
    time = msd["time_fs"] / 1000.0
    chosen = (time >= FIT_PS[0]) & (time <= FIT_PS[1])
    return float(np.polyfit(time[chosen], msd["msd_Li_A2"][chosen], 1)[0]) / 6.0 * 1e-4  # Å²/ps


def compared(runs: Sequence[Table], whole: Table, halves: Sequence[Table], columns: Sequence[str]) -> dict[str, Any]:
    """Differences between runs and ab initio frames, beside those between the two halves of the frames."""
    mean = {key: np.mean([run[key] for run in runs], axis=0) for key in runs[0]}
    axis = next(iter(mean.values()))
    found: dict[str, Any] = {}
    for column in columns:
        peaks = [float(run[column].max()) for run in runs]
        found[column] = {
            "difference": distance(mean, whole, column),
            "difference_of_single_runs": [distance(run, whole, column) for run in runs],
            "difference_of_ab_initio_halves": distance(halves[0], halves[1], column),
            "peak": float(axis[mean[column].argmax()]), "height": float(np.mean(peaks)),
            "height_std": float(np.std(peaks, ddof=1)) if len(peaks) > 1 else None,
            "ab_initio_peak": float(axis[whole[column].argmax()]), "ab_initio_height": float(whole[column].max()),
        }  # fmt: skip
    return found


class Study:
    """All tables: of runs by kind and seed, and of the ab initio frames."""

    def __init__(self, runs: Path, data: Path) -> None:
        """Analyzes what is not yet analyzed."""
        self.runs, self.out = runs, runs / "analysis"
        self.out.mkdir(exist_ok=True)
        self.ab_initio = {"glass": frames(data, "test")[DROPPED + 1 :], "melt": frames(data, "train")[1:]}
        for name, members in self.ab_initio.items():
            middle = len(members) // 2
            for part, chosen in (("", members), ("-1", members[:middle]), ("-2", members[middle:])):
                write_ab_initio(chosen, self.out / f"{name}{part}.extxyz")

    def done(self, kind: str) -> list[Path]:
        """The last trajectory of each run of a kind that reached its end, or of a melt also that stopped itself."""
        stage = "melt" if kind == "liquid" else "produce"
        found = []
        for record in sorted(self.runs.glob(f"{kind}-*/{stage}/run.json")):
            if kind == "liquid" or json.loads(record.read_text())["status"] == "done":
                found.append(record.with_name("trajectory.h5"))
        return found

    def tables(self, quantity: str, kind: str) -> list[Table]:
        """Of each run of a kind."""
        options = QUANTITIES[quantity]
        return [analyzed(quantity, path, self.out / path.parents[1].name, *options) for path in self.done(kind)]

    def reference(self, quantity: str, name: str) -> list[Table]:
        """Of the ab initio frames: all, and each half."""
        options = [word for word in QUANTITIES[quantity] if word not in ("--frames", "::10")]
        return [
            analyzed(quantity, self.out / f"{name}{part}.extxyz", self.out / f"{name}{part}", *options)
            for part in ("", "-1", "-2")
        ]


def glass(study: Study, kind: str) -> dict[str, Any]:
    """A kind of quench beside the ab initio glass."""
    rdf, adf = study.tables("rdf", kind), study.tables("adf", kind)
    coefficients = [diffusion(table) for table in study.tables("msd", kind)]
    networks = [network(stored(path, 100)) for path in study.done(kind)]
    return {
        "runs": len(rdf),
        "rdf": compared(rdf, *split(study.reference("rdf", "glass")), [f"g_{pair}" for pair in PAIRS]),
        "adf": compared(adf, *split(study.reference("adf", "glass")), ["O-P-O", "P-O-O"]),
        "D_Li_cm2_s": float(np.mean(coefficients)), "D_Li_std": spread(coefficients),
        "D_Li_error": spread(coefficients) / len(coefficients) ** 0.5, "D_Li_of_runs": coefficients,
        "network": {key: [one[key] for one in networks] for key in networks[0]},
    }


def liquid(study: Study) -> dict[str, Any]:
    """The melt in the cell of the ab initio melt beside it, and how melts change with time."""
    rdf, adf = study.tables("rdf", "liquid"), study.tables("adf", "liquid")
    lengths = {}
    for path in [*study.done("liquid"), *sorted(study.runs.glob("melt-*/melt/trajectory.h5"))]:
        record = json.loads((path.parent / "run.json").read_text())
        with read_trajectory(path) as t:
            lengths[path.parents[1].name] = {"status": record["status"], "picoseconds": float(t.times[-1]) / 1000.0}
    return {
        "runs": len(rdf), "ended": lengths,
        "rdf": compared(rdf, *split(study.reference("rdf", "melt")), [f"g_{pair}" for pair in PAIRS]),
        "adf": compared(adf, *split(study.reference("adf", "melt")), ["O-P-O", "P-O-O"]),
        "ab_initio_network": network(study.ab_initio["melt"]),
    }


def split(tables: Sequence[Table]) -> tuple[Table, Sequence[Table]]:
    """The table of all frames, and those of the halves."""
    return tables[0], tables[1:]


def spread(values: Sequence[float]) -> float:
    """Standard deviation between runs."""
    return float(np.std(values, ddof=1))


def draw(study: Study) -> dict[str, Any]:
    """The pictures by name: structure, angles, displacement of lithium, and the network of the melt."""
    pictures = {}
    pictures["rdf"], axes = figure(2, 2, 9.0, 6.0)
    for axis, pair in zip(axes, ("total", "O-P", "Li-O", "O-O"), strict=True):
        band(axis, study.tables("rdf", "frame"), f"g_{pair}", "10 runs, ±1 std")
        reference = study.reference("rdf", "glass")[0]
        axis.plot(reference["r_A"], reference[f"g_{pair}"], color=COLORS[1], lw=1, label="ab initio")
        axis.set(title="all atoms" if pair == "total" else pair, xlabel="r (Å)", ylabel="g(r)")
    axes[0].legend()
    pictures["msd"], axes = figure(1, 1, 5.5, 4.0)
    runs = study.tables("msd", "frame")
    for run in runs:
        run["time_ps"] = run["time_fs"] / 1000.0
    band(axes[0], runs, "msd_Li_A2", "10 runs, ±1 std", "time_ps")
    reference = study.reference("msd", "glass")[0]
    axes[0].plot(reference["time_fs"] / 1000.0, reference["msd_Li_A2"], color=COLORS[1], label="ab initio")
    axes[0].set(xlabel="time (ps)", ylabel="MSD of Li (Å²)", xlim=(0, 20), ylim=(0, 5))
    axes[0].legend()
    pictures["melt"], axes = figure(1, 1, 5.5, 4.0)
    for kind, color, label in (("melt", COLORS[0], "cell of the glass"), ("liquid", COLORS[2], "cell of the melt")):
        for number, path in enumerate(sorted(study.runs.glob(f"{kind}-*/melt/trajectory.h5"))):
            members = stored(path, 5)
            counts = [network(members[k : k + 10])["bridging_oxygens"] for k in range(0, len(members) - 9, 10)]
            axes[0].plot(np.arange(len(counts)) + 0.5, counts, color=color, lw=1, label=None if number else label)
    mean = network(study.ab_initio["melt"])["bridging_oxygens"]
    axes[0].axhline(mean, color=COLORS[1], label="ab initio")
    axes[0].set(xlabel="time (ps)", ylabel="oxygens between two phosphorus atoms")
    axes[0].legend()
    return pictures


def band(axis: Any, tables: Sequence[Table], column: str, label: str, abscissa: str = "r_A") -> None:
    """Mean of runs with a band of one standard deviation."""
    values = np.array([table[column] for table in tables])
    mean, std = values.mean(axis=0), values.std(axis=0, ddof=1)
    axis.plot(tables[0][abscissa], mean, color=COLORS[0], label=label)
    axis.fill_between(tables[0][abscissa], mean - std, mean + std, color=COLORS[0], alpha=0.3, lw=0)


def main() -> None:
    """Analyzes, prints, and keeps numbers and pictures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=launch.SHARED / "data", help="folder of the data sets")
    parser.add_argument("--runs", type=Path, default=launch.ROOT / "benchmarks" / "run-lithium-phosphate-study")
    options = parser.parse_args()
    study = Study(options.runs.resolve(), options.data)
    seconds = {
        path.parent.relative_to(study.runs).as_posix(): json.loads(path.read_text())["wall_s"]
        for path in sorted(study.runs.glob("*/*/run.json"))
    }
    figures = {
        "model": "li3po4-dense.allegro", "atoms": 192, "wall_s": seconds,
        **{kind: glass(study, kind) for kind in ("frame", "melt", "ramp")},
        "liquid": liquid(study),
        "ab_initio": {
            "network": network(study.ab_initio["glass"]), "D_Li_cm2_s": diffusion(study.reference("msd", "glass")[0]),
            "D_Li_of_halves": [diffusion(half) for half in study.reference("msd", "glass")[1:]],
        },
    }  # fmt: skip
    print(json.dumps(figures, indent=1))
    for name, picture in draw(study).items():
        (ASSETS / f"li3po4-{name}.svg").write_bytes(svg(picture))
    print(launch.save("lithium-phosphate-study", figures, launch.versions("allegro-md", "ase", "numpy", "scipy")))


if __name__ == "__main__":
    main()
