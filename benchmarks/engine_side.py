"""A side of a comparison (see `turns`): the program itself on its ranks, holding one simulation and making its steps.

It is asked for ``forces N`` (evaluations at the present positions, with the list and halo there are), ``steps N``, or
``results FILE``. Times are those of one evaluation or step; evaluations come after one that does not count, since
another process has had the caches.
"""

from __future__ import annotations

import resource
import sys
import time
from typing import Any

import numpy as np
import turns

from allegro_md.comm import Comm
from allegro_md.config import load_input
from allegro_md.exact import FORCE_SCALE
from allegro_md.simulation import Simulation


class EngineSide:
    """The simulation of an input, started; it writes nothing."""

    def __init__(self, source: str, assignments: list[str], comm: Comm) -> None:
        """Builds it, some keys of the input changed as by ``--set``, and evaluates the first forces."""
        self._comm = comm
        self._loop = Simulation.from_config(load_input(source, assignments), comm, overwrite=True).loop
        self._loop.start()
        self.about = {"atoms": self._loop.state.n_total, "potential": self._loop.measure().potential}

    def answer(self, question: str) -> dict[str, Any]:
        """Does what is asked (collective)."""
        what, _, argument = question.partition(" ")
        if what == "results":
            self._save(argument)
            return {}
        loop, before = self._loop, self._loop.forces.rebuilds
        if what == "forces":
            loop.forces(loop.state)
        self._comm.max(0.0)  # all ranks begin together
        began, began_here = time.perf_counter(), time.process_time()
        if what == "forces":
            for _ in range(int(argument)):
                loop.forces(loop.state)
        else:
            loop.advance(loop.step + int(argument))
        seconds = self._comm.max(time.perf_counter() - began) / int(argument)
        processor_seconds = (time.process_time() - began_here) / int(argument)
        peaks = self._comm.allgather(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
        return {
            "seconds": float(seconds),
            "processor_seconds": processor_seconds,
            "rebuilds": loop.forces.rebuilds - before,
            "peak_memory_MB": [round(peak, 1) for peak in peaks],
        }

    def _save(self, path: str) -> None:
        """Total energy (eV), cell (Å); positions (unwrapped, Å), velocities (Å/fs), forces (eV/Å) in id order."""
        state, energy = self._loop.state, self._loop.measure().potential
        names = ("id", "position", "velocity", "force")
        parts = self._comm.allgather(tuple(state.local(name).cpu().numpy() for name in names))
        if self._comm.rank == 0:
            ids, positions, velocities, forces = (np.concatenate(rows) for rows in zip(*parts, strict=True))
            order = np.argsort(ids)
            np.savez(
                path, energy=energy, cell=state.cell.matrix, positions=positions[order],
                velocities=velocities[order], forces=forces[order] / FORCE_SCALE,
            )  # fmt: skip


if __name__ == "__main__":
    world = Comm.world()
    side = EngineSide(sys.argv[2], sys.argv[3:], world)
    turns.serve(side.about, side.answer, world.rank)
