"""Timed turns of a simulation: equal numbers of steps, with what each rank did in them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from allegro_md.errors import InputError
from allegro_md.simulation import Simulation
from allegro_md.simulation.loop import StepLoop
from allegro_md.simulation.time_account import WAITING


class Turns:
    """A simulation that makes its steps in turns of equal length.

    Without output the loop has no observers: nothing is written and no global observables are computed. With output
    the turns are pieces of a whole run, with all files that its input asks for.
    """

    def __init__(self, simulation: Simulation, steps: int, with_output: bool) -> None:
        """Joins them; nothing is computed yet.

        Args:
            simulation: as it is built.
            steps: of a turn.
            with_output: the files of the input are written within the turns.
        """
        self._loop, self._comm, self._steps = simulation.loop, simulation.comm, steps
        self._pieces = simulation.pieces(steps) if with_output else None

    def warm_up(self, steps: int) -> None:
        """Evaluates the first forces and makes some steps that do not count; with output those of one turn."""
        if self._pieces is not None:
            next(self._pieces)
        else:
            self._loop.start()
            make_steps(self._loop, steps)

    def take(self) -> dict[str, Any]:
        """Makes the steps of one turn (collective).

        Returns:
            See `described`.
        """
        loop, comm, timers = self._loop, self._comm, self._loop.timers
        before, rebuilds = dict(timers.seconds), loop.forces.rebuilds
        comm.max(0.0)  # all ranks begin together
        began, worked = time.perf_counter(), time.process_time()
        if self._pieces is not None:
            next(self._pieces)
        else:
            make_steps(loop, self._steps)
        took = time.perf_counter() - began
        here = {
            "seconds": took,
            "cpu": time.process_time() - worked,
            "phases": {name: spent - before.get(name, 0.0) for name, spent in timers.seconds.items()},
        }
        return described(comm.allgather(here), self._steps, loop.forces.rebuilds - rebuilds)

    def close(self) -> None:
        """Ends a run with output; its directory holds what was written."""
        if self._pieces is not None:
            self._pieces.close()  # type: ignore[attr-defined]  # a generator


def make_steps(loop: StepLoop, steps: int) -> None:
    """Makes so many steps (collective).

    Raises:
        InputError: the dynamics ended before.
    """
    last = loop.step + steps
    loop.advance(last)
    if loop.step < last:
        raise InputError(
            f"the {loop.integrator.__class__.__name__} ended after {loop.step} steps, in the middle of the trial",
            "dynamics.ensemble", "take one that does not end by itself, such as nve",
        )  # fmt: skip


def described(ranks: Sequence[dict[str, Any]], steps: int, rebuilds: int) -> dict[str, Any]:
    """A turn, from what each rank measured.

    Args:
        ranks: of each "seconds" of the turn, "cpu" (seconds of processor time) and "phases" (seconds by name).
        steps: that were made.
        rebuilds: of neighbor lists in them.

    Returns:
        ``seconds_per_step`` of the slowest rank; ``rebuilds``; ``cpu_share``, the smallest processor time of a rank
        over the time of the turn; ``imbalance``, largest over mean time of the potential; ``slowest`` and ``mean``:
        seconds per step by phase of the rank that works longest, and the mean of all.
    """
    names = sorted({name for rank in ranks for name in rank["phases"]})
    own = [sum(s for name, s in rank["phases"].items() if name not in WAITING) for rank in ranks]
    slowest = ranks[own.index(max(own))]["phases"]
    potential = [rank["phases"].get("potential", 0.0) for rank in ranks]
    mean = sum(potential) / len(ranks)
    return {
        "seconds_per_step": max(rank["seconds"] for rank in ranks) / steps,
        "rebuilds": rebuilds,
        "cpu_share": round(min(rank["cpu"] / max(rank["seconds"], 1e-9) for rank in ranks), 3),
        "imbalance": round(max(potential) / mean, 4) if mean > 0.0 else 1.0,
        "slowest": {name: slowest.get(name, 0.0) / steps for name in names},
        "mean": {name: sum(rank["phases"].get(name, 0.0) for rank in ranks) / len(ranks) / steps for name in names},
    }
