"""This checkout against another one, for example the last release: seconds of whole steps and of calls of the model.

    python benchmarks/versus_checkout.py OTHER_CHECKOUT [--rounds K] [--only NAME ...] [--steps-only]

Each system is simulated by the program of either checkout, one rank each, in processes that take turns of
about `SECONDS`; both begin at the same atoms and make the same number of steps. The other checkout's own
``benchmarks/engine_side.py`` drives its program. A ratio above one says that this checkout is slower. Writes
``results/versus-checkout-MACHINE.json``. Both checkouts share this Python's packages. 2 GB of memory, half an hour.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import launch
import turns

SECONDS = 1.0
INPUTS = launch.ROOT / "inputs"
QUIET = ("dynamics.steps=10000000", "output.trajectory.every=0", "output.checkpoint.every=0")
SYSTEMS: dict[str, tuple[str, tuple[str, ...]]] = {
    "lj 864": ("argon-lj.toml", ()),
    "lj 32000": ("argon-lj.toml", ("system.crystal.repeat=[20, 20, 20]",)),
    "eam 4000": ("argon-lj.toml", (
        'system.crystal={ symbol = "Ag", lattice = "fcc", a = 4.09, repeat = [10, 10, 10], rattle = 0.05 }',
        'potential={ kind = "eam", file = "potentials/ag-sutton-chen.eam.alloy" }', "dynamics.timestep=2.0",
    )),
    "zbl 4000": ("argon-lj.toml", (
        'system.crystal={ symbol = "Ag", lattice = "fcc", a = 4.09, repeat = [10, 10, 10], rattle = 0.05 }',
        'potential={ kind = "zbl", cutoff = 4.0 }', "dynamics.timestep=1.0",
    )),
    "bilinear 1136": ("record-ag.toml", ("system.repeat=[2, 2, 4]",)),
    "bilinear 31311": ("record-ag.toml", ("system.repeat=[7, 7, 9]",)),
    "bilinear 255600": ("record-ag.toml", ("system.repeat=[15, 15, 16]",)),
    "single-layer cu": ("quickstart.toml", ()),
    "single-layer copper": ("quickstart.toml", ('potential.model="models/copper.allegro"',)),
    "multi-layer acac": ("argon-lj.toml", (
        'system.crystal={ symbol = "C", lattice = "diamond", a = 3.7, repeat = [3, 3, 3], rattle = 0.01 }',
        'potential={ model = "models/acac.allegro" }', "dynamics.timestep=0.1", "guard.min_distance=0.0",
    )),
    "reference cu": ("quickstart.toml", ('potential.engine="reference"',)),
}  # fmt: skip
"""Input and changed keys by the name of the system."""


def measure(other: Path, name: str, rounds: int, kinds: tuple[str, ...], folder: Path) -> dict[str, Any]:
    """Both checkouts on one system, taking turns.

    Args:
        other: root of the other checkout.
        name: key of `SYSTEMS`.
        rounds: turns of each that count.
        kinds: "forces" (calls of the model at fixed positions), "steps", or both.
        folder: for the pipes and run directories.

    Returns:
        For each kind the described turns of both sides, and the ratio of medians this / other.
    """
    source, changed = SYSTEMS[name]
    sides = {}
    for label, root in (("this", launch.ROOT), ("other", other)):
        assignments = [*QUIET, *changed, f"output.directory={json.dumps(str(folder / label))}"]
        script = str(root / "benchmarks" / "engine_side.py")
        places = {"PYTHONPATH": f"{root}:{root / 'benchmarks'}"}
        sides[label] = turns.Side(script, [INPUTS / source, *assignments], folder / f"{label}-pipes", 1, places)
    with sides["this"], sides["other"]:
        atoms = sides["this"].about["atoms"]
        energies = [side.about["potential"] for side in sides.values()]
        if not math.isclose(*energies, rel_tol=1e-6):
            raise SystemExit(f"{name}: the checkouts do not begin alike, potential energies {energies} eV")
        return {"atoms": atoms} | {kind: compare(sides, kind, rounds, atoms) for kind in kinds}


def compare(sides: dict[str, turns.Side], kind: str, rounds: int, atoms: int) -> dict[str, Any]:
    """Turns of both sides with the same number of calls or steps, which take about `SECONDS`."""
    for side in sides.values():
        side.ask(f"{kind} 20")
    count = max(1, round(SECONDS / sides["other"].ask(f"{kind} 20")["seconds"]))
    sides["this"].ask(f"{kind} 20")  # as many on both sides
    seconds = turns.alternate(sides, dict.fromkeys(sides, f"{kind} {count}"), rounds)
    ratios = [a / b for a, b in zip(seconds["this"], seconds["other"], strict=True)]
    medians = {label: statistics.median(values) for label, values in seconds.items()}
    return {label: turns.described(values, atoms) for label, values in seconds.items()} | {
        "calls_per_turn": count,
        "ratio_of_medians": round(medians["this"] / medians["other"], 4),
        "ratio_of_each_turn": {"median": round(statistics.median(ratios), 4), "all": [round(r, 4) for r in ratios]},
    }


def commit(root: Path) -> str:
    """The commit of a checkout, with a sign if it has been changed since."""
    command = ["git", "-C", str(root), "describe", "--always", "--dirty"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def main() -> None:
    """Measures, prints and keeps the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("other", type=Path, help="root of the other checkout")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--only", nargs="+", default=list(SYSTEMS), help="names of systems")
    parser.add_argument("--steps-only", action="store_true", help="leave out calls of the model alone")
    options = parser.parse_args()
    kinds = ("steps",) if options.steps_only else ("forces", "steps")
    found: dict[str, Any] = {}
    for name in options.only:
        with tempfile.TemporaryDirectory() as folder:
            found[name] = measure(options.other.resolve(), name, options.rounds, kinds, Path(folder))
        for kind in kinds:
            row = found[name][kind]
            print(f"{name:20s} {kind:7s}", *(f"{label} {row[label]['median_us']:10.4f}" for label in ("this", "other")),
                  f"µs/atom  ratio {row['ratio_of_medians']:.3f}, of turns {row['ratio_of_each_turn']['median']:.3f}",
                  flush=True)  # fmt: skip
    commits = {"this": commit(launch.ROOT), "other": commit(options.other)}
    if options.only == list(SYSTEMS):
        print(launch.save("versus-checkout", {"commits": commits, "systems": found}, launch.versions("numba", "numpy")))


if __name__ == "__main__":
    main()
