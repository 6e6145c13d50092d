"""An observer: mean and standard error, so far, of temperature and potential energy, in `observe/running-mean.csv`."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from allegro_md.accumulators import Mean
from allegro_md.config.fields import Every, Table
from allegro_md.io.disk import write_whole
from allegro_md.reporting import OBSERVE, PRIORITY, ObserverSetting, Snapshot
from allegro_md.triggers import Every as EveryStep

NAMES = ("temperature_K", "potential_eV")


class RunningMeanConfig(Table):
    """Keys of the observer in the input: `every`, steps between samples."""

    kind: Literal["running-mean"]
    every: Every


class RunningMean:
    """Means over the run, with errors that account for the correlation of the samples."""

    name = "running-mean"
    priority = PRIORITY["write"]
    needs = frozenset({"thermo"})
    files = (f"{OBSERVE}/running-mean.csv",)

    def __init__(self, every: int, setting: ObserverSetting) -> None:
        self.trigger = EveryStep(every)
        self._path, self._comm = setting.directory / self.files[0], setting.comm
        self._mean, self._last_step = Mean(2), -1

    def __call__(self, snapshot: Snapshot) -> None:
        if snapshot.step > self._last_step:  # the first step of a continuation has been counted
            assert snapshot.thermo is not None
            self._mean.add(np.array([snapshot.thermo.temperature, snapshot.thermo.potential]))
            self._last_step = snapshot.step

    def state_dict(self) -> dict[str, Any]:
        return {"mean": self._mean.state_dict(), "last_step": self._last_step}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        if state:
            self._mean.load_state_dict(state["mean"])
            self._last_step = state["last_step"]

    def bytes_per_sample(self, n_atoms: int) -> float:
        return 0.0  # the file does not grow

    def flush(self) -> None:
        with self._comm.collective_errors():
            if self._comm.rank == 0:
                found, text = self._mean.estimate(), "quantity,mean,standard_error,converged\n"
                for k, name in enumerate(NAMES):
                    text += f"{name},{found.mean[k]:.17g},{found.error[k]:.17g},{found.converged[k]}\n"
                self._path.parent.mkdir(exist_ok=True)
                write_whole(self._path, text.encode())

    def close(self) -> None:
        self.flush()


def build(table: RunningMeanConfig, setting: ObserverSetting) -> RunningMean:
    """Makes the observer of an input table."""
    return RunningMean(table.every, setting)
