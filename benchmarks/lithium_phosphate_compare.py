"""The runs of ``lithium_phosphate_study.py`` beside ab initio dynamics: numbers and pictures of docs/li3po4.md.

    python benchmarks/lithium_phosphate_compare.py [--data FOLDER] [--runs FOLDER]

``allegro-md analyze`` computes radial distribution functions and displacements, of each run and of the ab initio
frames; angles and the network of bonds are found here, with ASE. The first 10 ps of the quench are left out. The frames
are in the order of time: their center of mass stays where it is when displacements between successive ones are added
up; 0.5 ps between them is the 50 ps of the paper divided by their number. Needs the runs; a quarter of an hour. Writes
``results/lithium-phosphate-study-MACHINE.json`` and ``docs/assets/li3po4-*.svg``.
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
REACH = 2.5
"""Å; ends of an angle are within it of its corner, as in the paper."""
DEGREES = np.arange(0.0, 181.0, 2.0)
ENOUGH_PS = 5.0
"""Shorter liquids are not compared."""
FIT_PS = (2.0, 20.0)
QUANTITIES = {
    "rdf": ["--rmax", "10", "--bins", "200", "--frames", "::10"],
    "msd": [],
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


def lasted(trajectory: Path) -> float:
    """Length of a trajectory, ps."""
    with read_trajectory(trajectory) as t:
        return float(t.times[-1]) / 1000.0


def angles(members: Sequence[Atoms]) -> Table:
    """Distributions of angles, per degree, with both ends within `REACH` of the corner.

    O-P-O is that of two oxygens at a phosphorus, P-O-O that of a phosphorus and an oxygen at another oxygen.
    """
    counts = {"O-P-O": np.zeros(len(DEGREES) - 1), "P-O-O": np.zeros(len(DEGREES) - 1)}
    for atoms in members:
        i, j, d = neighbor_list("ijD", atoms, {("P", "O"): REACH, ("O", "O"): REACH})
        d /= np.linalg.norm(d, axis=1, keepdims=True)
        first = np.searchsorted(i, np.arange(len(atoms) + 1))
        for center, (a, b) in enumerate(zip(first[:-1], first[1:], strict=True)):
            cosine, phosphorus = np.clip(d[a:b] @ d[a:b].T, -1.0, 1.0), atoms.numbers[j[a:b]] == 15
            if atoms.numbers[center] == 15:
                name, values = "O-P-O", cosine[np.triu_indices(b - a, 1)]
            else:
                name, values = "P-O-O", cosine[np.ix_(phosphorus, ~phosphorus)].ravel()
            counts[name] += np.histogram(np.degrees(np.arccos(values)), DEGREES)[0]
    middle = 0.5 * (DEGREES[:-1] + DEGREES[1:])
    return {"angle_deg": middle, **{name: n / n.sum() / np.diff(DEGREES) for name, n in counts.items()}}


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
            "height_std": spread(peaks),
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
        """The last trajectory of each run of a kind that reached its end; of a liquid, that went far enough."""
        stage = "melt" if kind == "liquid" else "produce"
        found = []
        for record in sorted(self.runs.glob(f"{kind}-*/{stage}/run.json")):
            path = record.with_name("trajectory.h5")
            if json.loads(record.read_text())["status"] == "done" or (kind == "liquid" and lasted(path) >= ENOUGH_PS):
                found.append(path)
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

    def angles_of(self, name: str) -> list[Table]:
        """Of the ab initio frames: all, and each half."""
        members = self.ab_initio[name]
        middle = len(members) // 2
        return [angles(part) for part in (members, members[:middle], members[middle:])]


def glass(study: Study, kind: str) -> dict[str, Any]:
    """A kind of quench beside the ab initio glass."""
    rdf, whole = study.tables("rdf", kind), study.angles_of("glass")
    coefficients = [diffusion(table) for table in study.tables("msd", kind)]
    networks = [network(stored(path, 100)) for path in study.done(kind)]
    return {
        "runs": len(rdf),
        "rdf": compared(rdf, *split(study.reference("rdf", "glass")), [f"g_{pair}" for pair in PAIRS]),
        "angles": compared([angles(stored(path, 50)) for path in study.done(kind)], *split(whole), ["O-P-O", "P-O-O"]),
        "D_Li_cm2_s": float(np.mean(coefficients)), "D_Li_std": spread(coefficients),
        "D_Li_of_runs": coefficients,
        "network": {key: [one[key] for one in networks] for key in networks[0]},
    }


def liquid(study: Study) -> dict[str, Any]:
    """The melt in the cell of the ab initio melt beside it, and how melts change with time."""
    rdf, whole = study.tables("rdf", "liquid"), study.angles_of("melt")
    lengths = {}
    for path in sorted(study.runs.glob("*/melt/trajectory.h5")):
        record = json.loads((path.parent / "run.json").read_text())
        lengths[path.parents[1].name] = {"status": record["status"], "picoseconds": lasted(path)}
    return {
        "runs": len(rdf), "ended": lengths,
        "rdf": compared(rdf, *split(study.reference("rdf", "melt")), [f"g_{pair}" for pair in PAIRS]),
        "angles": compared(
            [angles(stored(path, 20)) for path in study.done("liquid")], *split(whole), ["O-P-O", "P-O-O"]
        ),
        "ab_initio_network": network(study.ab_initio["melt"]),
    }


def split(tables: Sequence[Table]) -> tuple[Table, Sequence[Table]]:
    """The table of all frames, and those of the halves."""
    return tables[0], tables[1:]


def spread(values: Sequence[float]) -> float | None:
    """Standard deviation between runs, if there are several."""
    return float(np.std(values, ddof=1)) if len(values) > 1 else None


def draw(study: Study) -> dict[str, Any]:
    """The pictures by name."""
    return {
        "rdf": structure(study), "angles": corners(study), "msd": displacement(study), "melt": condensation(study),
    }  # fmt: skip


def structure(study: Study) -> Any:
    """Radial distribution functions of the glass."""
    made, axes = figure(2, 2, 9.0, 6.0)
    runs, reference = study.tables("rdf", "frame"), study.reference("rdf", "glass")[0]
    for axis, pair in zip(axes, ("total", "O-P", "Li-O", "O-O"), strict=True):
        band(axis, runs, "r_A", f"g_{pair}", reference)
        axis.set(title="all atoms" if pair == "total" else pair, xlabel="r (Å)", ylabel="g(r)")
    axes[0].legend()
    return made


def corners(study: Study) -> Any:
    """Angles of the glass."""
    made, axes = figure(1, 2, 9.0, 3.4)
    runs, reference = [angles(stored(path, 50)) for path in study.done("frame")], study.angles_of("glass")[0]
    for axis, name in zip(axes, ("O-P-O", "P-O-O"), strict=True):
        band(axis, runs, "angle_deg", name, reference)
        axis.set(title=name, xlabel="angle (°)", ylabel="probability per degree")
    axes[0].legend()
    return made


def displacement(study: Study) -> Any:
    """Mean square displacement of lithium in the glass."""
    made, (axis,) = figure(1, 1, 5.5, 4.0)
    tables = [*study.tables("msd", "frame"), study.reference("msd", "glass")[0]]
    for table in tables:
        table["time_ps"] = table["time_fs"] / 1000.0
    band(axis, tables[:-1], "time_ps", "msd_Li_A2", tables[-1])
    axis.set(xlabel="time (ps)", ylabel="MSD of Li (Å²)", xlim=(0, 20), ylim=(0, 6))
    axis.legend()
    return made


def condensation(study: Study) -> Any:
    """Oxygens between two phosphorus atoms in melts, per picosecond."""
    made, (axis,) = figure(1, 1, 5.5, 4.0)
    for kind, color, label in (("melt", COLORS[0], "cell of the glass"), ("liquid", COLORS[2], "cell of the melt")):
        for number, path in enumerate(sorted(study.runs.glob(f"{kind}-*/melt/trajectory.h5"))):
            members = stored(path, 5)
            counts = [network(members[k : k + 10])["bridging_oxygens"] for k in range(0, len(members) - 9, 10)]
            axis.plot(np.arange(len(counts)) + 0.5, counts, color=color, lw=1, label=None if number else label)
    mean = network(study.ab_initio["melt"])["bridging_oxygens"]
    axis.axhline(mean, color=COLORS[1], label="ab initio, mean")
    axis.set(xlabel="time (ps)", ylabel="oxygens between two phosphorus atoms")
    axis.legend()
    return made


def band(axis: Any, runs: Sequence[Table], abscissa: str, column: str, reference: Table) -> None:
    """Mean of runs with a band of one standard deviation, and the ab initio line."""
    values = np.array([table[column] for table in runs])
    mean, std = values.mean(axis=0), values.std(axis=0, ddof=1)
    axis.plot(runs[0][abscissa], mean, color=COLORS[0], label=f"{len(runs)} runs, ±1 std")
    axis.fill_between(runs[0][abscissa], mean - std, mean + std, color=COLORS[0], alpha=0.3, lw=0)
    axis.plot(reference[abscissa], reference[column], color=COLORS[1], lw=1, label="ab initio")


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
