"""What `overlap.py` starts on two ranks: evaluations of forces, with and without overlap, taking turns.

mpirun -n 2 python overlap_side.py OUT.json ROUNDS DELAYS INPUT [KEY=VALUE ...]
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from allegro_md.comm import Comm, Pending, SendRecv
from allegro_md.config import load_input
from allegro_md.simulation.build import build_parts, create_atoms
from allegro_md.simulation.forces import ForceEvaluator
from allegro_md.simulation.overlap import LEAST_INTERIOR
from allegro_md.state import AtomState
from allegro_md.timers import WAIT, Timers

WAYS = {"waiting": 10**12, "overlap": LEAST_INTERIOR}
"""Atoms in the interior of a brick from which on there is overlap."""


class LatePending:
    """Messages that count as arrived some time after they were sent."""

    def __init__(self, pending: Pending, until: float, timers: Timers) -> None:
        self._pending, self._until, self._timers = pending, until, timers

    def test(self) -> bool:
        return self._pending.test() and time.perf_counter() >= self._until

    def wait(self) -> None:
        with self._timers.phase(WAIT):
            time.sleep(max(0.0, self._until - time.perf_counter()))
        self._pending.wait()


class LateComm:
    """A communicator whose messages between ranks take longer; everything else is that of another one.

    Attributes:
        delay: seconds.
    """

    def __init__(self, comm: Comm) -> None:
        self._comm, self.delay = comm, 0.0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._comm, name)

    def begin(self, legs: Sequence[SendRecv]) -> LatePending:
        return LatePending(self._comm.begin(legs), time.perf_counter() + self.delay, self._comm.timers)


def measure(comm: Comm, source: Path, assignments: list[str], delays: list[float], rounds: int) -> dict[str, Any]:
    """Seconds of each evaluation, and of what it waited for messages, by delay and way: the mean of the ranks."""
    config = load_input(source, assignments)
    parts = build_parts(config, comm)
    late: Any = LateComm(comm)
    sides = {}
    for way, least in WAYS.items():
        state = AtomState(parts.system.cell, parts.system.species_table, parts.system.n_total)
        create_atoms(state, parts.system, config.system, config.parallel, comm, config)
        forces = ForceEvaluator(parts.potential, late, config.parallel.skin, None, Timers(), None, least)
        forces(state)
        sides[way] = state, forces
    result: dict[str, Any] = {}
    for late.delay in delays:
        found: dict[str, list[tuple[float, float]]] = {way: [] for way in sides}
        for _ in range(rounds):
            for way, (state, forces) in sides.items():
                comm.timers = timers = Timers()
                comm.max(0.0)
                began = time.perf_counter()
                with timers.phase("evaluation"):
                    forces.unchecked(state, frozenset())
                spent = time.perf_counter() - began, timers.counts["evaluation"]["waited"]
                found[way].append(tuple(np.mean(comm.allgather(spent), axis=0).tolist()))
        result[f"{1e3 * late.delay:g}"] = found
    state, forces = sides["overlap"]
    sizes = {"atoms": state.n_local, "interior": forces.n_interior, "ghosts": state.n_ghost}
    ghosts = state.n_all - forces.halo.first_remote
    return {"ranks": comm.allgather(sizes | {"ghosts_of_other_ranks": ghosts}), "by_delay_ms": result}


def main() -> None:
    """Measures, and writes the figures."""
    out, rounds, delays, source, *assignments = sys.argv[1:]
    comm = Comm.world()
    figures = measure(comm, Path(source), assignments, json.loads(delays), int(rounds))
    if comm.rank == 0:
        Path(out).write_text(json.dumps(figures))


if __name__ == "__main__":
    main()
