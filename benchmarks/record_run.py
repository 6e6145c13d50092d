"""The record: 100,640,512 silver atoms on two cores, against a sibling of a million atoms.

    python benchmarks/record_run.py [--set KEY=VALUE ...]

Runs ``inputs/record-ag.toml`` on 2 ranks, first with the sibling's repeat, then as it is; watches the memory of all
ranks; compares T(t) and the conserved quantity of both; reads checkpoint and frame back in pieces. What has run already
in ``benchmarks/run-record`` is analyzed as it is: remove that folder to run it again. Writes
``results/record-N-atoms-MACHINE.json`` and the log beside it. 24 GB of memory, 15 GB of disk, an hour. Assignments
(``--set``) make it smaller, in a folder of its own, and nothing is kept in ``results``.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
from pathlib import Path
from typing import Any

import launch
import memory_watch
import numpy as np
import read_back

SOURCE = launch.ROOT / "inputs" / "record-ag.toml"
RANKS = 2
SIBLING = [24, 24, 25]
"""Cells along the edges: 1,022,400 atoms."""

BOLTZMANN = 8.617333262e-5
"""eV/K."""


def run(folder: Path, name: str, assignments: list[str]) -> Path:
    """The run directory of the input with some keys changed; run now unless it is there.

    Beside it lie NAME.txt (all output) and NAME.csv (memory).
    """
    directory = folder / name
    if not directory.exists():
        folder.mkdir(exist_ok=True)
        command = launch.program(SOURCE, directory, RANKS, assignments)
        with (folder / f"{name}.txt").open("wb") as output:
            process = subprocess.Popen(command, env=launch.environment(), stdout=output, stderr=subprocess.STDOUT)
            memory_watch.watch(process, folder / f"{name}.csv")
        if process.returncode:
            print(f"{name} ended with status {process.returncode}: see {folder / name}.txt")
    return directory


def described(directory: Path) -> dict[str, Any]:
    """Time, memory and physics of a run."""
    record = json.loads((directory / "run.json").read_text())
    thermo = series(directory)
    n_atoms = sum(rank["atoms"] for rank in record["ranks"])
    seconds = np.diff(thermo["wall_s"]) / np.diff(thermo["step"])
    return {
        "status": record["status"],
        "atoms": n_atoms,
        "steps": record["step"],
        "seconds_per_step": {
            "mean": round(float(np.average(seconds, weights=np.diff(thermo["step"]))), 3),
            "median": round(float(np.median(seconds)), 3),
            "largest": round(float(seconds.max()), 3),
        },
        "us_per_atom_step_core": round(1e6 * float(np.mean(seconds)) * len(record["ranks"]) / n_atoms, 4),
        "wall_s": record["wall_s"],
        "memory": memory(directory, n_atoms),
        "peak_of_each_rank_MB": [rank["peak_memory_MB"] for rank in record["ranks"]],
        "seconds_of_each_rank": [rank["seconds"] for rank in record["ranks"]],
        "atoms_of_each_rank": [rank["atoms"] for rank in record["ranks"]],
        "rank_grid": record["rank_grid"],
        "rebuilds": record["rebuilds"],
        "step": thermo["step"].astype(int).tolist(),
        "temperature_K": thermo["temperature_K"].tolist(),
        "conserved_eV_per_atom": (thermo["conserved_eV"] / n_atoms).tolist(),
    }


def series(directory: Path) -> Any:
    """The columns of thermo.csv."""
    table = np.atleast_1d(np.genfromtxt(directory / "thermo.csv", delimiter=",", names=True))
    if len(table) < 2:
        raise SystemExit(f"{directory}: not a step was made; its output is in {directory}.txt")
    return table


def memory(directory: Path, n_atoms: int) -> dict[str, float]:
    """Peaks over all processes, GiB, and per atom."""
    table = np.genfromtxt(directory.with_suffix(".csv"), delimiter=",", names=True)
    shares = table["proportional_MB"]
    resident = float(table["resident_MB"].max())
    return {
        "peak_resident_GiB": round(resident / 1024, 3),
        "peak_proportional_GiB": round(float(np.nanmax(shares)) / 1024, 3),
        "bytes_per_atom": round(resident * 2**20 / n_atoms, 1),
        "least_left_on_the_machine_GiB": round(float(table["available_MB"].min()) / 1024, 3),
        "looks": len(table),
        "looks_at_shares": int(np.isfinite(shares).sum()),
    }


def compared(record: dict[str, Any], sibling: dict[str, Any]) -> dict[str, float]:
    """How far both are apart at the steps they share.

    σ is the canonical fluctuation of the sibling's temperature. Start velocities are drawn and not scaled, so the
    energies of both begin apart by about the fluctuation of the sibling's kinetic energy; from there on the conserved
    quantity per atom should take the same course.
    """
    n = min(len(record["step"]), len(sibling["step"]))
    kelvin, energy = ([np.array(run[key][:n]) for run in (record, sibling)]
                      for key in ("temperature_K", "conserved_eV_per_atom"))
    share = np.sqrt(2.0 / (3.0 * sibling["atoms"]))
    apart = np.abs(kelvin[0] - kelvin[1])
    course = [values - values[0] for values in energy]
    return {
        "rows": n,
        "largest_difference_of_temperature_K": float(apart.max()),
        "largest_difference_of_temperature_sigma": float((apart / (kelvin[1] * share)).max()),
        "difference_of_conserved_at_start_eV_per_atom": float(energy[0][0] - energy[1][0]),
        "fluctuation_of_kinetic_energy_eV_per_atom": float(1.5 * BOLTZMANN * kelvin[1][0] * share),
        "largest_difference_of_course_of_conserved_eV_per_atom": float(np.abs(course[0] - course[1]).max()),
    }


def main() -> None:
    """Runs, reads back, prints and keeps the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="assignments")
    parser.add_argument("--sibling", default=json.dumps(SIBLING), help="its repeat")
    options = parser.parse_args()
    folder = launch.ROOT / "benchmarks" / ("run-record-small" if options.assignments else "run-record")
    repeat = f"system.repeat={options.sibling}"
    sibling = described(run(folder, "sibling", [*options.assignments, repeat]))
    directory = run(folder, "record", options.assignments)
    watcher = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    record = described(directory)
    figures = {"record": record, "sibling": sibling, "compared": compared(record, sibling),
               "peak_memory_of_the_watcher_MB": round(watcher, 1)}
    print(json.dumps({key: value for key, value in record.items() if not isinstance(value, list)}, indent=1))
    print(json.dumps(figures["compared"], indent=1), flush=True)
    if record["status"] == "done":  # else its files may be missing, and what there is to say comes first
        figures["read_back"] = read_back.read_back(directory)
        print(json.dumps(figures["read_back"], indent=1))
    if not options.assignments:
        versions = json.loads((directory / "run.json").read_text())["versions"]
        path = launch.save(f"record-{record['atoms']}-atoms", figures, versions)
        log = (directory / "log.txt").read_text().replace(f"{launch.ROOT}/", "")
        path.with_suffix(".log").write_text(log)
        print(path)


if __name__ == "__main__":
    main()
