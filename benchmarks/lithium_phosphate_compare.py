"""The runs of ``lithium_phosphate_study.py`` beside ab initio dynamics: numbers and pictures of docs/li3po4.md.

    python benchmarks/lithium_phosphate_compare.py [--data FOLDER] [--runs FOLDER]

``allegro-md analyze`` computes distances, angles, coordination numbers and displacements, of each run and of the ab
initio frames. Which phosphate groups share an oxygen is found here. The first 10 ps of the quench are left out. The
frames are in the order of time: their center of mass stays where it is when displacements between successive ones are
added up; 0.5 ps between them is the 50 ps of the paper divided by their number. Needs the runs; a quarter of an hour.
Writes ``results/lithium-phosphate-study-MACHINE.json`` and ``docs/assets/li3po4-*.svg``.
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
from tables import Table, analyzed, columns, distance, result

from allegro_md import read_trajectory
from allegro_md.figures import COLORS, figure, svg

ASSETS = launch.ROOT / "docs" / "assets"
ATOMS = 192
AB_INITIO_FS = 500.0
DROPPED = 20
"""Ab initio frames of the first 10 ps of the quench."""
PAIRS = ("Li-Li", "Li-O", "Li-P", "O-O", "O-P", "P-P", "total")
BOND = 2.0
"""Å; a phosphorus and an oxygen within it are bonded."""
TRIPLETS = ("O-P-O", "P-O-O")
ENOUGH_PS = 5.0
"""Shorter liquids are not compared."""
FIT_PS = (2.0, 20.0)
LONG_FIT_PS = (40.0, 164.0)
"""Where the mean square displacement of lithium in the long run is straight."""
LONG_PS = (2.56, 10.24, 20.48, 40.96, 81.92, 102.4, 163.84)
QUANTITIES = {
    "rdf": ["--rmax", "10", "--bins", "200"],
    "adf": ["--cutoffs", "{ P-O = 2.5, O-O = 2.5 }", "--triplets", ",".join(TRIPLETS), "--bins", "90"],
    "coordination": ["--cutoffs", f"{{ P-O = {BOND} }}"],
    "msd": [],
}
"""Options; ends of an angle are within 2.5 Å of its corner, as in the paper."""
EVERY = {"rdf": 10, "adf": 20, "coordination": 20, "msd": 1}
"""Of how many frames of a run one is analyzed."""


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


def isolated(members: Sequence[Atoms]) -> float:
    """Number of phosphorus atoms that share no oxygen with another one, per frame."""
    found = []
    for atoms in members:
        i, j = neighbor_list("ij", atoms, {("P", "O"): BOND})
        bonds = np.bincount(i, minlength=len(atoms))
        shared = (atoms.numbers[j] == 8) & (bonds[j] > 1)
        found.append((atoms.numbers == 15).sum() - len(np.unique(i[shared])))
    return float(np.mean(found))


def network(members: Sequence[Atoms], coordination: Table) -> dict[str, float]:
    """What phosphorus and oxygen are bonded to, per frame: 24 PO4 would be 24 `isolated`."""
    n, (oxygens, phosphorus) = coordination["n"], (np.sum(members[0].numbers == number) for number in (8, 15))
    return {
        "isolated": isolated(members),
        "four_oxygens": float(phosphorus * coordination["fraction_P-O"][n == 4].sum()),
        "bridging_oxygens": float(oxygens * coordination["fraction_O-P"][n == 2].sum()),
        "free_oxygens": float(oxygens * coordination["fraction_O-P"][n == 0].sum()),
    }


def stored(trajectory: Path, every: int) -> list[Atoms]:
    """Frames of a run."""
    with read_trajectory(trajectory) as t:
        return [Atoms(t.species, frame.position, cell=frame.cell.matrix, pbc=True) for frame in t[::every]]


def lasted(trajectory: Path) -> float:
    """Length of a trajectory, ps."""
    with read_trajectory(trajectory) as t:
        return float(t.times[-1]) / 1000.0


def diffusion(msd: Table, fit: tuple[float, float] = FIT_PS) -> float:
    """Slope of the mean square displacement of lithium in a range of ps, as D in cm²/s."""
    time = msd["time_fs"] / 1000.0
    chosen = (time >= fit[0]) & (time <= fit[1])
    return float(np.polyfit(time[chosen], msd["msd_Li_A2"][chosen], 1)[0]) / 6.0 * 1e-4  # Å²/ps


def compared(runs: Sequence[Table], whole: Table, halves: Sequence[Table], names: Sequence[str]) -> dict[str, Any]:
    """Differences between runs and ab initio frames, beside those between the two halves of the frames."""
    mean = {key: np.mean([run[key] for run in runs], axis=0) for key in runs[0]}
    axis = next(iter(mean.values()))
    found: dict[str, Any] = {}
    for column in names:
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
                write_ab_initio(chosen, self.out / f"ab-initio-{name}{part}.extxyz")

    def done(self, kind: str) -> list[Path]:
        """The last trajectory of each run of a kind that reached its end; of a liquid, that went far enough."""
        stage = "melt" if kind == "liquid" else "produce"
        found = []
        for record in sorted(self.runs.glob(f"{kind}-*/{stage}/run.json"), key=number_of):
            path = record.with_name("trajectory.h5")
            if json.loads(record.read_text())["status"] == "done" or (kind == "liquid" and lasted(path) >= ENOUGH_PS):
                found.append(path)
        return found

    def tables(self, quantity: str, kind: str) -> list[Table]:
        """Of each run of a kind."""
        options = [*QUANTITIES[quantity], "--frames", f"::{EVERY[quantity]}"]
        return [analyzed(quantity, path, self.out / path.parents[1].name, *options) for path in self.done(kind)]

    def reference(self, quantity: str, name: str) -> list[Table]:
        """Of the ab initio frames: all, and each half."""
        paths = [self.out / f"ab-initio-{name}{part}.extxyz" for part in ("", "-1", "-2")]
        return [analyzed(quantity, path, path.with_suffix(""), *QUANTITIES[quantity]) for path in paths]


def number_of(record: Path) -> int:
    """Number of the run that a ``run.json`` is of."""
    return int(record.parents[1].name.split("-")[1])


def glass(study: Study, kind: str) -> dict[str, Any]:
    """A kind of quench beside the ab initio glass."""
    networks = [
        network(stored(path, EVERY["coordination"]), table)
        for path, table in zip(study.done(kind), study.tables("coordination", kind), strict=True)
    ]
    return {
        "runs": len(networks), **compared_structure(study, kind, "glass"),
        "network": {key: [one[key] for one in networks] for key in networks[0]},
        **displacements(study.tables("msd", kind)),
        "program_on_Li": [said(study.out / path.parents[1].name) for path in study.done(kind)],
        **means(study.done(kind)),
    }  # fmt: skip


def liquid(study: Study) -> dict[str, Any]:
    """The melt in the cell of the ab initio melt beside it, and how melts change with time."""
    lengths, counts = {}, {}
    for record in sorted(study.runs.glob("*/melt/run.json")):
        path = record.with_name("trajectory.h5")
        name, members = path.parents[1].name, stored(path, 5)
        lengths[name] = {"status": json.loads(record.read_text())["status"], "picoseconds": lasted(path)}
        counts[name] = [isolated(members[k : k + 10]) for k in range(0, len(members) - 9, 10)]
    return {
        "runs": len(study.done("liquid")), "ended": lengths, "isolated_in_each_ps": counts,
        **compared_structure(study, "liquid", "melt"), "first_4_ps": means(study.done("liquid"), last_fs=4000.0),
    }  # fmt: skip


def ab_initio(study: Study, name: str) -> dict[str, Any]:
    """Energy and network of ab initio frames."""
    members = study.ab_initio[name]
    energies = [atoms.get_potential_energy() / len(atoms) for atoms in members]
    return {
        "frames": len(members), "potential_eV_per_atom": float(np.mean(energies)),
        "network": network(members, study.reference("coordination", name)[0]),
    }  # fmt: skip


def compared_structure(study: Study, kind: str, name: str) -> dict[str, Any]:
    """Distances and angles of runs beside those of ab initio frames."""
    names = {"rdf": [f"g_{pair}" for pair in PAIRS], "adf": [f"adf_{triplet}" for triplet in TRIPLETS]}
    found = {}
    for quantity, chosen in names.items():
        whole, *halves = study.reference(quantity, name)
        found[quantity] = compared(study.tables(quantity, kind), whole, halves, chosen)
    return found


def displacements(tables: Sequence[Table]) -> dict[str, Any]:
    """Diffusion of lithium and displacements in 20 ps, of each run and on average."""
    coefficients = [diffusion(table) for table in tables]
    moved = {
        element: float(np.mean([np.interp(20_000.0, table["time_fs"], table[f"msd_{element}_A2"]) for table in tables]))
        for element in ("Li", "O", "P")
    }
    return {
        "D_Li_cm2_s": float(np.mean(coefficients)), "D_Li_std": spread(coefficients), "D_Li_of_runs": coefficients,
        "msd_20_ps_A2": moved,
    }  # fmt: skip


def said(out: Path) -> dict[str, Any]:
    """The diffusion coefficient of lithium that the program gives, or its note why there is none."""
    found = result("msd", out)
    return {
        "D_cm2_s": next(value["value"] for value in found["values"] if value["name"] == "D_Li"),
        "note": next(note for note in found["notes"] if note.startswith("Li:")),
    }


def long_run(study: Study) -> dict[str, Any]:
    """Displacements of lithium in the run of ``long.toml``, as it wrote them itself, and their slopes."""
    observed = study.runs / "long-1" / "produce" / "observe"
    table, at = columns("msd", observed), 1000.0 * np.array(LONG_PS)
    return {
        "time_ps": LONG_PS,
        **{key: np.interp(at, table["time_fs"], table[key]).tolist() for key in ("msd_Li_A2", "msd_Li_err_A2")},
        **{f"D_Li_cm2_s_{low:g}_to_{high:g}_ps": diffusion(table, (low, high)) for low, high in (FIT_PS, LONG_FIT_PS)},
        "program_on_Li": said(observed),
    }  # fmt: skip


def means(trajectories: Sequence[Path], last_fs: float = np.inf) -> dict[str, Any]:
    """Means over runs, and the largest change of the conserved quantity within one."""
    rows = [np.genfromtxt(path.with_name("thermo.csv"), delimiter=",", names=True) for path in trajectories]
    rows = [table[table["time_fs"] <= last_fs] for table in rows]
    return {
        "temperature_K": float(np.mean([table["temperature_K"].mean() for table in rows])),
        "potential_eV_per_atom": float(np.mean([table["potential_eV"].mean() for table in rows])) / ATOMS,
        "pressure_GPa": float(np.mean([table["pressure_GPa"].mean() for table in rows])),
        "largest_change_of_conserved_eV_per_atom": max(float(np.ptp(table["conserved_eV"])) for table in rows) / ATOMS,
    }


def spread(values: Sequence[float]) -> float | None:
    """Standard deviation between runs, if there are several."""
    return float(np.std(values, ddof=1)) if len(values) > 1 else None


def draw(study: Study, figures: dict[str, Any]) -> dict[str, Any]:
    """The pictures by name."""
    return {
        "rdf": structure(study), "angles": corners(study), "msd": displacement(study), "melt": condensation(figures),
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
    for axis, name in zip(axes, TRIPLETS, strict=True):
        band(axis, study.tables("adf", "frame"), "angle_deg", f"adf_{name}", study.reference("adf", "glass")[0])
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


def condensation(figures: dict[str, Any]) -> Any:
    """Phosphate groups in melts that share no oxygen."""
    made, (axis,) = figure(1, 1, 5.5, 4.0)
    labels = {"melt": (COLORS[0], "cell of the glass"), "liquid": (COLORS[2], "cell of the melt")}
    for name, counts in figures["liquid"]["isolated_in_each_ps"].items():
        color, label = labels[name.split("-")[0]]
        axis.plot(np.arange(len(counts)) + 0.5, counts, color=color, lw=1, label=label if name.endswith("-1") else None)
    axis.axhline(figures["ab_initio"]["melt"]["network"]["isolated"], color=COLORS[1], label="ab initio, mean")
    axis.set(xlabel="time (ps)", ylabel="isolated PO4 groups of 24", ylim=(0, 25))
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
        "model": "li3po4-dense.allegro", "atoms": ATOMS, "wall_s": seconds,
        **{kind: glass(study, kind) for kind in ("frame", "melt", "ramp")},
        "liquid": liquid(study), "long": long_run(study),
        "ab_initio": {
            "glass": {
                **ab_initio(study, "glass"), **displacements(study.reference("msd", "glass")[:1]),
                "D_Li_of_halves": [diffusion(half) for half in study.reference("msd", "glass")[1:]],
                "program_on_Li": said(study.out / "ab-initio-glass"),
            },
            "melt": ab_initio(study, "melt"),
        },
    }  # fmt: skip
    print(json.dumps(figures, indent=1))
    for name, picture in draw(study, figures).items():
        (ASSETS / f"li3po4-{name}.svg").write_bytes(svg(picture))
    print(launch.save("lithium-phosphate-study", figures, launch.versions("allegro-md", "ase", "numpy")))


if __name__ == "__main__":
    main()
