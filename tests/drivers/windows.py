"""Runs without output, in windows of steps or step by step, some with a fault in the middle of a window.

mpirun -n 2 python windows.py jobs.json out.npz
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
from exactness import gathered
from systems import CASES

from allegro_md.comm import Comm
from allegro_md.config import load_input  # noqa: F401  loaded before ranks wait for each other
from allegro_md.errors import PhysicsError
from allegro_md.evaluation import Evaluation, Needs
from allegro_md.guards import Guard, Limits
from allegro_md.simulation.forces import ForceEvaluator
from allegro_md.simulation.loop import StepLoop
from allegro_md.simulation.windows import Windows
from allegro_md.stopping import REASONS
from allegro_md.timers import Timers

JOB: dict[str, Any] = {"skin": 0.5, "windows": 0.0, "steps": 100, "fault": "", "atom": 0, "limit": np.inf, "stop": 0,
                       "anew": False}
"""Defaults of a job; `name` and `case` are required. windows: seconds, or [n]: of n steps whatever is left of the skin.
fault: what the potential does on the rank that owns an atom, once this has moved by `limit` Å along x: raise, nan, or
once (raise the first time only); guard: the guard's limit of a step is `limit`; stale: the potential raises where a
ghost has moved so far that the list of its owner is out of date. stop: step after which rank 1 stops. anew: other
lists after a third of the steps, none after two thirds."""


class Watched(Windows):
    """Adds up the seconds that are told."""

    told = 0.0

    def report(self, n_steps: int, seconds: float) -> Any:
        self.told += n_steps * seconds
        return super().report(n_steps, seconds)


class Reckless(Watched):
    """Windows of one length, longer than the skin lasts."""

    def __init__(self, n_steps: int) -> None:
        super().__init__()
        self._n_steps = n_steps

    def length(self) -> int:
        return self._n_steps if np.isfinite(self._excess) else 0


class Faulty:
    """A potential that fails, on one rank, once an atom has come far enough."""

    members = ()

    def __init__(self, potential: Any, kind: str, atom: int, limit: float) -> None:
        self.info, self._potential = potential.info, potential
        self._kind, self._atom, self._limit = kind, atom, limit
        self._start = np.nan
        self._listed: Any = None
        self._ghosts = np.zeros((0, 3))

    def __call__(self, state: Any, lists: Any, needs: Needs) -> Evaluation:
        if self._kind == "stale":
            self._require_ghosts(state, lists)
        mine = np.flatnonzero(state.local("id").numpy() == self._atom)
        if len(mine):
            x = float(state.local("position")[int(mine[0]), 0])
            self._start = x if np.isnan(self._start) else self._start
            if abs(x - self._start) > self._limit:
                if self._kind == "nan":
                    state.local("position")[int(mine[0])] = float("nan")
                    return self._evaluated(state, lists, needs)
                self._limit = np.inf if self._kind == "once" else self._limit
                raise PhysicsError(f"atom {self._atom} has come too far", [self._atom])
        return self._evaluated(state, lists, needs)

    def _require_ghosts(self, state: Any, lists: Any) -> None:
        ghosts = state.host_all("position")[state.n_local :]
        if lists.neighbors is not self._listed:
            self._listed, self._ghosts = lists.neighbors, ghosts.copy()
        moved = np.linalg.norm(ghosts - self._ghosts, axis=1).max()
        if moved > 0.5 * lists.skin:
            raise PhysicsError("a ghost has come too far", [0])

    def _evaluated(self, state: Any, lists: Any, needs: Needs) -> Evaluation:
        result: Evaluation = self._potential(state, lists, needs)
        return result


def run(job: dict[str, Any], comm: Comm) -> dict[str, Any]:
    """One job: the atoms at the end, how it ended, and what it took."""
    job = {**JOB, **job}
    case = CASES[job["case"]](comm)
    potential: Any = case.potential
    if job["fault"] in ("raise", "nan", "once", "stale"):
        potential = Faulty(potential, job["fault"], job["atom"], job["limit"])
    comm.timers = timers = Timers()
    forces = ForceEvaluator(potential, comm, job["skin"], None, timers)
    guard = None
    if job["fault"] == "guard":
        guard = Guard(Limits(np.inf, job["limit"], np.zeros((1, 1)), np.inf), comm)
    loop = StepLoop(case.state, forces, case.integrator, comm, timers, guard)
    windows = job["windows"]
    loop.windows = Reckless(*windows) if isinstance(windows, list) else Watched(windows)
    loop.stop_wanted = lambda: int(comm.rank == 1 and 0 < job["stop"] <= loop.current_step)
    loop.start()
    for kinds in timers.counts.values():
        kinds.clear()
    message, blamed, built = "", np.zeros(0), forces.rebuilds
    began, loop.windows.told = time.perf_counter(), 0.0
    try:
        if job["anew"]:
            loop.advance(job["steps"] // 3)
            loop.use(ForceEvaluator(potential, comm, 0.4, None, timers))
            loop.advance(2 * job["steps"] // 3)
            loop.forces.invalidate()
        loop.advance(job["steps"])
    except PhysicsError as error:
        message, blamed = str(error), np.array(error.atoms)
    except Exception as error:  # noqa: BLE001  an interrupted run, or what the test is to find
        message = f"{type(error).__name__}: {error}"
    allreduces = sum(kinds["allreduces"] for kinds in timers.counts.values())
    return {
        **gathered(case.state, comm), "message": message, "blamed": blamed, "step": loop.step,
        "current": loop.current_step, "allreduces": allreduces, "rebuilds": forces.rebuilds - built,
        "seconds": time.perf_counter() - began, "told": loop.windows.told,
        "energy": np.array(case.integrator.extended_energy()),
    }  # fmt: skip


def main() -> None:
    torch.set_num_threads(1)
    faulthandler.register(signal.SIGTERM, chain=True)
    comm = Comm.world()
    with open(sys.argv[1]) as file:
        jobs = json.load(file)
    results = {f"{job['name']}/{key}": value for job in jobs for key, value in run(job, comm).items()}
    if comm.rank == 0:
        assert REASONS[1]
        np.savez(sys.argv[2], **results)


if __name__ == "__main__":
    main()
