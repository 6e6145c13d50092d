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
        began = time.perf_counter()
        if what == "forces":
            for _ in range(int(argument)):
                loop.forces(loop.state)
        else:
            loop.advance(loop.step + int(argument))
        seconds = self._comm.max(time.perf_counter() - began) / int(argument)
        peaks = self._comm.allgather(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
        return {
            "seconds": float(seconds),
            "rebuilds": loop.forces.rebuilds - before,
            "peak_memory_MB": [round(peak, 1) for peak in peaks],
        }

    def _save(self, path: str) -> None:
        """Total energy (eV) and forces (eV/Å) in id order."""
        state, energy = self._loop.state, self._loop.measure().potential
        parts = self._comm.allgather((state.local("id").numpy(), state.local("force").numpy() / FORCE_SCALE))
        if self._comm.rank == 0:
            order = np.argsort(np.concatenate([part[0] for part in parts]))
            np.savez(path, energy=energy, forces=np.concatenate([part[1] for part in parts])[order])


if __name__ == "__main__":
    world = Comm.world()
    side = EngineSide(sys.argv[2], sys.argv[3:], world)
    turns.serve(side.about, side.answer, world.rank)
