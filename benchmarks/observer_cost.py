"""What observables cost while a simulation runs: seconds per sample beside the seconds of the steps between samples.

    python benchmarks/observer_cost.py            # 100,000 copper atoms, a million silver atoms; one core, 10 minutes
    python benchmarks/observer_cost.py --large    # ten million silver atoms on 2 ranks, no stored frame; 12 GB

Every step is timed on its own, in one process; the time of observers is a phase of the run's own timers. What is added
is the median sample over ten times the mean step without its output. Writes ``results/observer-cost-MACHINE.json``, or
``observer-cost-large-MACHINE.json``.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import launch

HERE = Path(__file__).resolve().parent
EVERY = 10

INPUT = """
[system]
{system}
[system.velocities]
temperature = {temperature}
seed = 1
[potential]
model = "{model}"
[dynamics]
ensemble = "nve"
timestep = 2.0
steps = {steps}
[output]
thermo = {{ every = 0 }}
checkpoint = {{ every = 0 }}
observe = [{observe}]
"""

COPPER = 'crystal = { symbol = "Cu", lattice = "fcc", a = 3.634, repeat = [29, 29, 29], rattle = 0.1 }'
RDF = f'{{ kind = "rdf", every = {EVERY}, rmax = 8.0 }}'
MSD = f'{{ kind = "msd", every = {EVERY} }}'


def silver(repeat: str) -> str:
    """The system table of copies of the cell of 71 atoms."""
    return f'structure = "{HERE.parent}/inputs/structures/silver-71.extxyz"\nrepeat = {repeat}'


CASES = {
    "rdf to 8 Å, copper, cu.allegro": (COPPER, "cu", RDF, 600.0),
    "rdf to 8 Å, copper, copper.allegro": (COPPER, "copper", RDF, 600.0),
    "msd, a million silver atoms, silver.allegro": (silver("[24, 24, 25]"), "silver", MSD, 300.0),
}


def write_input(folder: Path, case: tuple[str, str, str, float], steps: int) -> Path:
    """Writes the input of a case."""
    system, model, observe, temperature = case
    path = folder / "input.toml"
    path.write_text(INPUT.format(
        system=system, model=f"{HERE.parent}/inputs/models/{model}.allegro", observe=observe, temperature=temperature,
        steps=steps,
    ))  # fmt: skip
    return path


def measure(folder: Path, case: tuple[str, str, str, float], samples: int) -> dict[str, Any]:
    """Times the steps of a case in this process."""
    from allegro_md import Simulation
    from allegro_md.comm import Comm
    from allegro_md.config import load_input
    from allegro_md.simulation.build import build_observers

    steps = EVERY * samples
    simulation = Simulation.from_config(load_input(write_input(folder, case, steps)), Comm.serial())
    loop = simulation.loop
    loop.observers = build_observers(
        simulation.config, simulation.state, loop.forces.potential, simulation.comm
    )
    loop.start()
    loop.advance(EVERY)  # kernels are compiled, memory is touched
    observing, stepping = [], []
    for step in range(EVERY + 1, steps + 1):
        before, began = loop.timers.seconds["output"], time.perf_counter()
        loop.advance(step)
        whole, output = time.perf_counter() - began, loop.timers.seconds["output"] - before
        stepping.append(whole - output)
        if step % EVERY == 0:
            observing.append(output)
    n = simulation.state.n_total
    sample, mean_step = statistics.median(observing), statistics.fmean(stepping)
    return {
        "atoms": n, "every": EVERY, "samples": len(observing), "us_per_atom_and_sample": 1e6 * sample / n,
        "us_per_atom_and_step": 1e6 * mean_step / n, "added_percent": 100.0 * sample / (EVERY * mean_step),
        "added_percent_range": [100.0 * x / (EVERY * mean_step) for x in (min(observing), max(observing))],
    }  # fmt: skip


def measure_large(folder: Path) -> dict[str, Any]:
    """Runs ten million atoms on 2 ranks, with what `check` foretells."""
    import subprocess
    import sys

    path = write_input(folder, (silver("[52, 52, 53]"), "silver", RDF, 300.0), EVERY)
    command = [*launch.on_ranks(2), "-m", "allegro_md"]
    said = subprocess.run([*command, "check", path], capture_output=True, text=True, env=launch.environment())
    began = time.perf_counter()
    subprocess.run([*command, path], check=True, env=launch.environment(), stdout=sys.stderr)
    seconds = time.perf_counter() - began
    record = json.loads((folder / "run" / "run.json").read_text())
    without = folder / "without"
    subprocess.run(
        [*command, path, "--set", "output.observe=[]", "--set", f'output.directory="{without}"'], check=True,
        env=launch.environment(), stdout=sys.stderr,
    )  # fmt: skip
    plain = json.loads((without / "run.json").read_text())
    rdf = json.loads((folder / "run" / "observe" / "rdf.json").read_text())
    return {
        "atoms": sum(rank["atoms"] for rank in record["ranks"]), "seconds": seconds,
        "peak_MB_of_ranks": [rank["peak_memory_MB"] for rank in record["ranks"]],
        "peak_MB_without_observer": [rank["peak_memory_MB"] for rank in plain["ranks"]],
        "seconds_of_phases": record["ranks"][0]["seconds"], "values": rdf["values"],
        "check": [line for line in said.stdout.splitlines() if "memory" in line.lower()],
    }  # fmt: skip


def main() -> None:
    """Measures the cases that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--large", action="store_true", help="ten million atoms on 2 ranks")
    parser.add_argument("--samples", type=int, default=8)
    arguments = parser.parse_args()
    found: dict[str, Any] = {}
    if arguments.large:
        with tempfile.TemporaryDirectory() as folder:
            found["rdf of ten million atoms"] = measure_large(Path(folder))
    else:
        for name, case in CASES.items():
            with tempfile.TemporaryDirectory() as folder:
                found[name] = measure(Path(folder), case, arguments.samples)
            print(name, json.dumps(found[name]), flush=True)
    kind = "observer-cost-large" if arguments.large else "observer-cost"
    print(launch.save(kind, found, launch.versions("numba", "torch")))


if __name__ == "__main__":
    main()
