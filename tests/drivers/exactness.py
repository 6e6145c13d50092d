"""Runs cases under variations and writes what came out, in id order, for the test to compare.

mpirun -n 4 python exactness.py jobs.json out.npz
"""

from __future__ import annotations

import faulthandler
import json
import signal
import sys
import time
from typing import Any

import numpy as np
import torch
from mutants import FloatLennardJones, mutated
from systems import CASES, centers_at_once

from allegro_md.comm import Comm
from allegro_md.config.output import BALANCERS, ParallelConfig
from allegro_md.domain.balance import build_balancer
from allegro_md.evaluation import NOTHING_MORE, Evaluation, Needs
from allegro_md.reporting import Snapshot
from allegro_md.simulation.forces import ForceEvaluator
from allegro_md.simulation.loop import StepLoop
from allegro_md.timers import Timers
from allegro_md.triggers import Every

JOB = {
    "skin": 0.5, "grid": None, "rebuild_every": 0, "tiles": None, "mutant": "", "balance": "off", "steps": 100,
    "thermo_every": 1,
}  # fmt: skip
"""Defaults of a job; `name` and `case` are required. grid: [a, b, c], or "x", "y", "z": all cuts along that axis."""

BALANCERS["moving-plane"] = "moving_plane:MovingPlane"


class Rows:
    """Keeps every digit of the observables."""

    name = "rows"
    priority = 10
    needs = frozenset({"thermo"})

    def __init__(self, every: int) -> None:
        self.trigger = Every(every)
        self.rows: list[str] = []

    def __call__(self, snapshot: Snapshot) -> None:
        t = snapshot.thermo
        assert t is not None
        numbers = (t.potential, t.kinetic, t.total, t.conserved, t.temperature, t.pressure, t.volume, *t.stress)
        self.rows.append(" ".join([str(snapshot.step), *(float(n).hex() for n in numbers)]))


class Impatient:
    """Forces that are told to rebuild every few calls."""

    def __init__(self, forces: ForceEvaluator, every: int) -> None:
        self._forces, self._every, self._calls = forces, every, 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._forces, name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name.startswith("_"):
            super().__setattr__(name, value)
        else:
            setattr(self._forces, name, value)

    def __call__(self, state: Any, needs: Needs = NOTHING_MORE) -> Evaluation:
        self._calls += 1
        if self._every and self._calls % self._every == 0:
            self._forces.invalidate()
        return self._forces(state, needs)


def gathered(state: Any, comm: Comm) -> dict[str, Any]:
    """All own atoms of all ranks in id order."""
    names = ("id", "position", "velocity", "force", "species")
    parts = comm.allgather({name: state.local(name).numpy().copy() for name in names})
    order = np.argsort(np.concatenate([p["id"] for p in parts]))
    return {name: np.concatenate([p[name] for p in parts])[order] for name in names}


def run(job: dict[str, Any], comm: Comm) -> dict[str, Any]:
    """One job; the arrays to keep."""
    job = {**JOB, **job}
    size, grid = comm.size, job["grid"]
    if isinstance(grid, str):
        grid = [size if axis == grid else 1 for axis in "xyz"]
    with mutated(job["mutant"]) as kind, centers_at_once(job["tiles"]):
        case = CASES[job["case"]](comm, job["tiles"])
        potential: Any = FloatLennardJones(case.potential) if job["mutant"] == "float-forces" else case.potential
        balancer = build_balancer(ParallelConfig(balance=job["balance"]).balance, comm.size)
        forces: Any = kind(potential, comm, job["skin"], tuple(grid) if grid else None, Timers(), balancer)
        rows = Rows(job["thermo_every"])
        impatient: Any = Impatient(forces, job["rebuild_every"])
        loop = StepLoop(case.state, impatient, case.integrator, comm, Timers())
        loop.observers = [rows]
        loop.start()
        at_start = forces.migrations  # the atoms begin anywhere: their first journey does not count
        loop.advance(job["steps"])
    out = gathered(case.state, comm)
    counts = np.array([forces.migrations - at_start, int(case.state.n_local == 0)])
    migrations, empty = comm.sum(counts)
    cell = np.array(case.state.cell.matrix)
    return {
        **out, "thermo": np.array(rows.rows), "cell": cell, "rebuilds": forces.rebuilds, "migrations": migrations,
        "empty": empty, "lattices": case.state.lattices, "grid": np.array(forces.decomposition.grid),
        "planes": np.concatenate([p.ravel() for p in forces.decomposition.planes]),
    }  # fmt: skip


def main() -> None:
    torch.set_num_threads(1)
    faulthandler.register(signal.SIGTERM, chain=True)  # a hang shows where
    comm = Comm.world()
    with open(sys.argv[1]) as file:
        jobs = json.load(file)
    results = {}
    for job in jobs:
        began = time.perf_counter()
        for key, value in run(job, comm).items():
            results[f"{job['name']}/{key}"] = value
        if comm.rank == 0:
            print(f"{job['name']} {time.perf_counter() - began:.1f} s", flush=True)
    if comm.rank == 0:
        np.savez(sys.argv[2], **results)


if __name__ == "__main__":
    main()
