"""Energy and forces of one model here and in nequip-allegro: same weights, same structure, same machine, taking turns.

    python benchmarks/versus_nequip.py [--models ag-dense lipo-dense c3bpa-dense] [--packages FOLDER]

A call of the model with the neighbor list prebuilt, in single precision (here "mixed"), on one core and on all of
them: nequip-allegro's threads, compiled by AOTInductor as nequip-compile does and in eager mode, against as many ranks
of this program, whose time includes the halo exchange and whose list holds the pairs within the skin of a run, too. The
forces of both are compared. Then whole steps of this program. Compiled models are kept in a temporary folder; making
them takes a C++ compiler and minutes. Writes ``results/versus-nequip-MACHINE.json``.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import launch
import numpy as np
import turns
from ase.build import bulk

MODELS = {"ag-dense": (10, 9), "lipo-dense": (10, 7), "c3bpa-dense": (5, 5)}
"""Cubic cells of 4 atoms along each edge, and turns."""

LATTICE, RATTLE = 4.09, 0.05
"""Å: 12.6 neighbors within 4 Å, 28.7 within 5 Å."""

TRACED = 3
"""Cells along each edge of the crystal with which a model is compiled: that takes far more memory than a call."""

STEPS = 10
"""Whole steps in one turn."""

INPUT = """
[system]
structure = "{name}.traj"
velocities = {{ temperature = 300.0 }}
[potential]
model = "{name}.allegro"
engine = "fused"
[dynamics]
ensemble = "nve"
timestep = 1.0
steps = 1000000
[output]
directory = "run"
"""


def write_system(folder: Path, name: str, cells: int, file: str) -> int:
    """A rattled fcc crystal with the model's elements at random; returns its number of atoms."""
    config = json.loads((weights(name) / "config.json").read_text())
    atoms = bulk("Ag", "fcc", a=LATTICE, cubic=True).repeat(cells)
    atoms.rattle(RATTLE, seed=1)
    atoms.symbols = np.random.default_rng(1).choice(config["type_names"], len(atoms))
    atoms.write(folder / file)
    return len(atoms)


def weights(name: str) -> Path:
    """The folder of config.json and weights.npz."""
    return launch.SHARED / "reference" / "allegro-dense" / name


def package(folder: Path, name: str, cores: int, packages: Path) -> Path:
    """The model compiled for a number of threads, if need be now."""
    path = packages / f"{name}-{cores}.nequip.pt2"
    if not path.exists():
        packages.mkdir(exist_ok=True)
        write_system(folder, name, TRACED, "traced.traj")
        arguments = ["compile", weights(name), folder / "traced.traj", cores, path]
        script = Path(__file__).with_name("nequip_side.py")
        subprocess.run([sys.executable, str(script), *map(str, arguments)], check=True)
    return path


def measure(folder: Path, name: str, cells: int, rounds: int, cores: int, packages: Path) -> dict[str, Any]:
    """One model on some cores, both programs.

    Args:
        folder: for files of the measurement.
        name: of the model.
        cells: cubic cells along each edge.
        rounds: turns of each side.
        cores: threads of nequip-allegro, ranks of this program.
        packages: folder of compiled models.
    """
    from nequip_side import ENVIRONMENT

    from allegro_md.models.convert.importer import import_model

    n_atoms = write_system(folder, name, cells, f"{name}.traj")
    import_model(weights(name), folder / f"{name}.allegro")
    (folder / f"{name}.toml").write_text(INPUT.format(name=name))
    place = folder / f"{name}-{cores}"
    foreign = [weights(name), folder / f"{name}.traj", cores]
    compiled = package(folder, name, cores, packages)
    figures: dict[str, Any] = {"model": name, "atoms": n_atoms, "cores": cores}
    with (
        turns.Side("engine_side.py", [folder / f"{name}.toml"], place / "here", cores) as here,
        turns.Side("nequip_side.py", [*foreign, compiled], place / "there", environment=ENVIRONMENT) as there,
    ):
        sides = {"allegro-md": here, "nequip-allegro, AOTInductor": there}
        seconds = turns.calls(sides, rounds)
        figures["edges_per_atom"] = round(there.about["edges"] / n_atoms, 2)
        figures["agreement"] = agreement(here, there, place)
        figures["peak_memory_MB"] = {side: sides[side].ask("forces 1")["peak_memory_MB"] for side in sides}
        whole = [here.ask(f"steps {STEPS}") for _ in range(rounds + 1)][1:]
    with turns.Side("nequip_side.py", [*foreign, "eager"], place / "eager", environment=ENVIRONMENT) as eager:
        seconds |= turns.calls({"nequip-allegro, eager": eager}, rounds)
        figures["peak_memory_MB"]["nequip-allegro, eager"] = eager.ask("forces 1")["peak_memory_MB"]
    figures["call_per_atom"] = {side: turns.described(values, n_atoms) for side, values in seconds.items()}
    fastest = min(statistics.median(values) for side, values in seconds.items() if side != "allegro-md")
    figures["times_faster"] = round(fastest / statistics.median(seconds["allegro-md"]), 2)
    figures["whole_step_per_atom"] = turns.described([turn["seconds"] for turn in whole], n_atoms)
    figures["rebuilds_in_steps"] = [sum(turn["rebuilds"] for turn in whole), rounds * STEPS]
    return figures


def agreement(here: turns.Side, there: turns.Side, folder: Path) -> dict[str, float]:
    """How far energies and forces are apart."""
    results = []
    for name, side in (("here", here), ("there", there)):
        side.ask(f"results {folder / name}.npz")
        results.append(np.load(folder / f"{name}.npz"))
    ours, theirs = results
    rms = float(np.sqrt(np.mean(theirs["forces"] ** 2)))
    return {
        "force_rms_eV_A": rms,
        "rms_difference_of_forces": float(np.sqrt(np.mean((ours["forces"] - theirs["forces"]) ** 2))) / rms,
        "largest_difference_of_forces": float(np.abs(ours["forces"] - theirs["forces"]).max()) / rms,
        "difference_of_energy_eV_atom": float(ours["energy"] - theirs["energy"]) / len(theirs["forces"]),
    }


def main() -> None:
    """Measures, prints and keeps the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="*", choices=MODELS, default=list(MODELS))
    parser.add_argument("--packages", type=Path, default=Path(tempfile.gettempdir()) / "nequip-packages",
                        help="where compiled models are kept")
    options = parser.parse_args()
    if importlib.util.find_spec("allegro") is None:
        raise SystemExit('nothing measured: nequip-allegro is not installed (pip install "allegro-md[import]")')
    runs = []
    with tempfile.TemporaryDirectory() as folder:
        for name in options.models:
            for cores in sorted({1, os.cpu_count() or 1}):
                place = Path(folder) / f"{name}-on-{cores}"
                place.mkdir()
                runs.append(measure(place, name, *MODELS[name], cores, options.packages))
                print(json.dumps(runs[-1], indent=1), flush=True)
    versions = launch.versions("allegro-md", "nequip", "nequip-allegro", "torch", "numpy", "numba")
    print(launch.save("versus-nequip", {"precision": "float32, mixed", "runs": runs}, versions))


if __name__ == "__main__":
    main()
