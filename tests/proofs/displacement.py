"""A mean-square-displacement observer in one file; its accumulator serves a running simulation and a stored one."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from allegro_md.accumulators import Total, reduced
from allegro_md.comm import Comm
from allegro_md.config.fields import Every, Table
from allegro_md.evaluation import Needs
from allegro_md.io.disk import write_whole
from allegro_md.io.trajectory import read_trajectory
from allegro_md.reporting import OBSERVE, PRIORITY, ObserverSetting, Snapshot
from allegro_md.triggers import Every as EveryStep


class DisplacementConfig(Table):
    """Keys of the observer in the input."""

    kind: Literal["displacement"]
    every: Every


class Accumulator:
    """⟨|x(t) − x(0)|²⟩ over all atoms, by exact sums."""

    def __init__(self, comm: Comm) -> None:
        self._comm = comm
        self._origin: NDArray[np.float64] | None = None
        self.rows: list[list[float]] = []

    def add(self, time: float, ids: NDArray[np.int64], position: NDArray[np.float64], n_total: int) -> None:
        """Adds a sample: the local atoms' ids (n,) and unwrapped positions (n, 3), Å."""
        if self._origin is None:
            parts = self._comm.allgather((ids, position.copy()))
            self._origin = np.empty((n_total, 3))
            for others, places in parts:
                self._origin[others] = places
        square = ((position - self._origin[ids]) ** 2).sum(axis=1)
        total = Total()
        total.add(square)
        self.rows.append([time, float(reduced(total, self._comm).value()[0]) / n_total])

    def state_dict(self) -> dict[str, Any]:
        """Returns the positions at the origin, of all atoms, in id order, and the rows; equal on all ranks."""
        return {"origin": None if self._origin is None else self._origin.tolist(), "rows": self.rows}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Replaces origin and rows by those of a `state_dict`."""
        self._origin = None if state["origin"] is None else np.array(state["origin"])
        self.rows = [list(row) for row in state["rows"]]


class Displacement:
    """Observer of the mean square displacement."""

    name, priority = "displacement", PRIORITY["write"]
    needs: Needs = frozenset()
    files = (f"{OBSERVE}/displacement.csv",)

    def __init__(self, every: int, setting: ObserverSetting) -> None:
        self.trigger = EveryStep(every)
        self._path, self._comm = setting.directory / self.files[0], setting.comm
        self._accumulator, self._last_step = Accumulator(setting.comm), -1

    def __call__(self, snapshot: Snapshot) -> None:
        if snapshot.step > self._last_step:  # the first step of a continuation has been counted
            state = snapshot.state
            ids, position = state.local("id").numpy(), state.local("position").numpy()
            self._accumulator.add(snapshot.time, ids, position, state.n_total)
            self._last_step = snapshot.step

    def state_dict(self) -> dict[str, Any]:
        """Returns a row per atom, which only a small system can afford in a checkpoint's JSON."""
        return {"accumulator": self._accumulator.state_dict(), "last_step": self._last_step}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        if state:
            self._accumulator.load_state_dict(state["accumulator"])
            self._last_step = state["last_step"]

    def bytes_per_sample(self, n_atoms: int) -> float:
        return 50.0

    def flush(self) -> None:
        with self._comm.collective_errors():
            if self._comm.rank == 0:
                text = "".join(f"{time:.17g},{square:.17g}\n" for time, square in self._accumulator.rows)
                self._path.parent.mkdir(exist_ok=True)
                write_whole(self._path, text.encode())

    def close(self) -> None:
        self.flush()


def offline(path: Path) -> list[list[float]]:
    """The same of a stored trajectory with positions in float64 and images."""
    accumulator = Accumulator(Comm.serial())
    with read_trajectory(path) as trajectory:
        ids = np.arange(trajectory.n_atoms)
        for frame in trajectory:
            accumulator.add(frame.time, ids, frame.unwrapped, trajectory.n_atoms)
    return accumulator.rows


def build(table: DisplacementConfig, setting: ObserverSetting) -> Displacement:
    """Makes the observer of an input table."""
    return Displacement(table.every, setting)


if __name__ == "__main__":  # the program with this observer
    import sys

    from allegro_md.cli import main
    from allegro_md.config.output import OBSERVERS
    from allegro_md.config.registry import Entry

    sys.path.insert(0, str(Path(__file__).parent))
    OBSERVERS.register("displacement", Entry("displacement:DisplacementConfig", "displacement:build"))
    main()
