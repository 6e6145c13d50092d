"""The same run on one host and on two, joined by a slow or narrow link; and a link that is cut in the middle of a run.

    python benchmarks/two_hosts.py [--rounds N] [--only speed|cut]

The hosts are network namespaces of this machine (`two_host_network.py`), with one rank each; all messages go through
TCP. Runs on all links take turns, beside what `allegro-md plan` forecasts for the links as measured. Each must
end with the same bits as the run of one rank. Then the link is cut in the middle of a run: every rank must end with
status 4 within `parallel.patience` and a few seconds, and the continuation must have the bits of a run that was never
cut. Writes ``results/two-hosts-MACHINE.json``. Needs root; fifteen minutes.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import statistics
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import launch
import two_host_network as network
from two_host_network import Speed, TwoHosts

from allegro_md.config import load_input
from allegro_md.scaling.network import Link
from allegro_md.scaling.plan import Plan, make_plan

LINKS = (
    Speed(), Speed(rate=1e9), Speed(rate=1e8), Speed(delay=1e-4), Speed(delay=1e-3), Speed(delay=1e-3, rate=1e8),
)  # fmt: skip
PATIENCE, GRACE = 10.0, 15.0
"""Seconds a rank waits for lost ones, and seconds after which all have ended at the latest."""


class Case:
    """An input and how far it runs.

    Attributes:
        name: of the case.
        source: the input file.
        steps: of the run; it is timed from a third of them on.
        assignments: further keys.
    """

    def __init__(self, name: str, source: str, steps: int, assignments: Sequence[str] = ()) -> None:
        self.name, self.source, self.steps = name, launch.ROOT / "inputs" / source, steps
        third = steps // 3
        self.assignments = [
            f"dynamics.steps={steps}", f"output.thermo.every={third}", "output.checkpoint.every=0", *assignments,
            f'output.trajectory={{every={steps}, fields=["position", "velocity", "force"], dtype="float64"}}',
        ]  # fmt: skip

    def words(self, directory: Path, assignments: Sequence[str] = ()) -> list[str]:
        """The program's command line, without Python."""
        keys = [*self.assignments, *assignments, f'output.directory="{directory}"']
        return ["-m", "allegro_md", str(self.source), *(word for key in keys for word in ("--set", key))]


CASES = (
    Case("copper, 3,968 atoms", "quickstart.toml", 150, ["system.repeat=[2, 2, 2]", "output.observe=[]"]),
    Case("argon, 864 atoms", "argon-lj.toml", 600, ["output.observe=[]"]),
)


def bits(directory: Path) -> str:
    """Digest of the last frame and of the observables of a run; wall times are left out."""
    total = hashlib.sha256()
    with h5py.File(directory / "trajectory.h5") as file:
        for name in ("position", "velocity", "force"):
            total.update(file[f"particles/all/{name}/value"][-1].tobytes())
    for row in rows(directory):
        total.update(repr([value for key, value in row.items() if key != "wall_s"]).encode())
    return total.hexdigest()[:16]


def rows(directory: Path) -> list[dict[str, str]]:
    """The rows of ``thermo.csv``."""
    with (directory / "thermo.csv").open() as file:
        return list(csv.DictReader(line for line in file if not line.startswith("#")))


def seconds_per_step(directory: Path) -> float:
    """Wall time per step in the last two thirds of a run."""
    first, *_, last = (row for row in rows(directory)[1:])
    return (float(last["wall_s"]) - float(first["wall_s"])) / (int(last["step"]) - int(first["step"]))


def finish(command: Sequence[str]) -> None:
    """Runs a command to its end."""
    done = subprocess.run(command, env=launch.environment() | network.TCP_ONLY, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"status {done.returncode}\n{done.stdout[-2000:]}{done.stderr[-2000:]}")


def speeds(case: Case, folder: Path, rounds: int) -> dict[str, Any]:
    """Time per step on one host and on each link, and whether all bits agree."""
    folder.mkdir()
    one_host = {"1 rank": launch.on_ranks(1), "2 ranks on one host": launch.on_ranks(2)}
    seconds: dict[str, list[float]] = {}
    digests: dict[str, str] = {}

    def turn(name: str, command: Sequence[str], directory: Path) -> None:
        finish(command)
        seconds.setdefault(name, []).append(seconds_per_step(directory))
        digests[name] = bits(directory)

    for k in range(rounds):
        for name, start in one_host.items():
            directory = folder / f"{name}-{k}"
            turn(name, [*start, *case.words(directory)], directory)
        for speed in LINKS:
            directory = folder / f"{speed.name}-{k}".replace("/", "-per-")
            with TwoHosts(speed, folder) as hosts:
                turn(speed.name, hosts.command(case.words(directory)), directory)
    return {
        "steps": case.steps,
        "seconds_per_step": {name: round(statistics.median(values), 6) for name, values in seconds.items()},
        "turns": {name: [round(value, 6) for value in values] for name, values in seconds.items()},
        "bit_identical": len(set(digests.values())) == 1,
    }


def links(folder: Path) -> dict[str, dict[str, float]]:
    """Latency and overhead, s, and bandwidth, bytes/s, of each link, and of two ranks on one host."""
    measure = ["-m", "allegro_md.scaling.links"]
    found = {"2 ranks on one host": network.measured_link([*launch.on_ranks(2), *measure])}
    for speed in LINKS:
        with TwoHosts(speed, folder) as hosts:
            found[speed.name] = network.measured_link(hosts.command(measure))
    return found


def forecasts(case: Case, measured: dict[str, dict[str, float]]) -> dict[str, float]:
    """Time per step on each link as `allegro-md plan` forecasts it, s."""
    plan = make_plan(load_input(case.source, case.assignments), None, None, Link(**measured["2 ranks on one host"]))
    found = {"1 rank": plan.step(1).total, "2 ranks on one host": plan.step(2).total}
    for speed in LINKS:
        between = replace(plan.machine.network, ranks_per_node=1, between=Link(**measured[speed.name]))
        machine = replace(plan.machine, network=between)
        found[speed.name] = Plan(plan.config, plan.estimate, plan.calibration, machine).step(2).total
    return {name: round(seconds, 6) for name, seconds in found.items()}


def cut_and_continued(case: Case, folder: Path) -> dict[str, Any]:
    """A run whose link is cut after its first checkpoint, its end, and its continuation."""
    folder.mkdir()
    every = case.steps // 3
    keys = [f"output.checkpoint.every={every}", f'parallel.patience="{PATIENCE:g} s"']
    whole, broken, errors = folder / "whole", folder / "broken", folder / "errors.txt"
    with TwoHosts(Speed(), folder) as hosts:
        finish(hosts.command(case.words(whole, keys)))
        with network.running(hosts.command(case.words(broken, keys)), errors) as process:
            while not (broken / f"checkpoint-{every}.h5").exists():
                assert process.poll() is None, errors.read_text()
                time.sleep(0.05)
            hosts.cut()
            began = time.monotonic()
            status = process.wait(PATIENCE + 60.0)
            launcher = time.monotonic() - began
            while hosts.processes(0) + hosts.processes(1) and time.monotonic() - began < PATIENCE + 60.0:
                time.sleep(0.05)
            everything = time.monotonic() - began
    with TwoHosts(Speed(), folder) as hosts:
        finish(hosts.command([*case.words(broken, keys), "--resume"]))
    said = [line for line in errors.read_text().splitlines() if line.startswith("allegro-md: ")]
    return {
        "patience_s": PATIENCE,
        "launcher_ended_after_s": round(launcher, 1),
        "all_processes_ended_after_s": round(everything, 1),
        "within_patience_and_grace": everything < PATIENCE + GRACE,
        "status_of_the_launcher": status,
        "said": said,
        "continuation_is_bit_identical": bits(broken) == bits(whole),
    }


def main() -> None:
    """Measures, prints and keeps the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", choices=["speed", "cut"])
    chosen = parser.parse_args()
    if lacks := network.missing():
        raise SystemExit(f"skipped: two hosts on one machine need {lacks}")
    figures: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if chosen.only != "speed":
            figures["cut"] = cut_and_continued(CASES[1], folder / "cut")
            print(figures["cut"], flush=True)
        if chosen.only != "cut":
            figures["links"] = links(folder)
            figures["runs"] = {case.name: speeds(case, folder / str(k), chosen.rounds) for k, case in enumerate(CASES)}
            for case in CASES:
                figures["runs"][case.name]["forecast"] = forecasts(case, figures["links"])
            print(figures["runs"])
    if chosen.only is None:
        print(launch.save("two-hosts", figures, launch.versions("allegro-md", "numpy", "numba", "mpi4py", "mpich")))


if __name__ == "__main__":
    main()
