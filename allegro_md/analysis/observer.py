"""A quantity computed while the simulation runs: one observer for all kinds."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from allegro_md.analysis.base import Quantity, Sample, System
from allegro_md.analysis.files import paths, write_result
from allegro_md.analysis.result import Analyzed
from allegro_md.analysis.table import QuantityTable
from allegro_md.comm import FAILURE_SECONDS, Comm
from allegro_md.config.registry import load
from allegro_md.errors import AllegroError, InputError, ResourceError, one_line, out_of_memory
from allegro_md.evaluation import Needs
from allegro_md.io.disk import disk_errors
from allegro_md.reporting import OBSERVE, PRIORITY, ObserverSetting, Snapshot
from allegro_md.state import on_host
from allegro_md.triggers import After, Every, Trigger

PICTURE_SHARE = 0.02
"""Largest part of a run's time that pictures may take; the last one is always drawn."""

DRAWING = 0.5
"""Seconds that the first picture is taken to need."""


class QuantityObserver:
    """Feeds a quantity with the steps of a simulation, and writes its result.

    Attributes:
        name: KIND or KIND-NAME.
        priority: with those that write.
        needs: of the quantity.
        trigger: every so many steps, after a step.
        files: that it writes, relative to the run directory.
    """

    def __init__(self, table: QuantityTable, quantity: Quantity, setting: ObserverSetting) -> None:
        """An observer without samples."""
        self.name, self.priority, self.needs = table.label, PRIORITY["write"], quantity.needs
        self.trigger: Trigger = Every(table.every) & After(setting.first_step + table.after)
        self.files = tuple(f"{setting.results}/{name}" for name in paths(table.label))
        self._table, self._quantity = table, quantity
        self._directory, self._comm = setting.directory / setting.results, setting.comm
        self._n_samples, self._first_step, self._last_step = 0, -1, -1
        self._drawn, self._drawing = time.monotonic(), DRAWING

    def __call__(self, snapshot: Snapshot) -> None:
        """Adds a sample; a step that has been added (the first of a continuation) is passed over."""
        if snapshot.step <= self._last_step:
            return
        try:
            self._quantity.add(sample_of(snapshot, self._n_samples, self._quantity, self._comm))
        except Exception as error:
            self._end_if_alone(error)
            raise
        if self._n_samples == 0:
            self._first_step = snapshot.step
        self._n_samples += 1
        self._last_step = snapshot.step

    def _end_if_alone(self, error: Exception) -> None:
        """Ends all ranks if only this one has failed: the others wait for its part of a communication."""
        if self._comm.barrier(FAILURE_SECONDS):
            return
        status = ResourceError.exit_status if out_of_memory(error) else 1
        status = error.exit_status if isinstance(error, AllegroError) else status
        text = f"observer '{self.name}' failed on rank {self._comm.rank}: {type(error).__name__}: {one_line(error)}"
        print(f"allegro-md: {text}", file=sys.stderr, flush=True)
        self._comm.abort(status)

    def state_dict(self) -> dict[str, Any]:
        """The sums of all ranks, and the settings they were made with."""
        settings = self._table.model_dump(mode="json")
        state = self._quantity.state_dict(self._comm)
        return {
            "settings": settings, "n_samples": self._n_samples, "steps": [self._first_step, self._last_step],
            "state": state,
        }  # fmt: skip

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes up the sums of a checkpoint.

        Raises:
            InputError: they were made with other settings.
        """
        if not state:
            return
        now = self._table.model_dump(mode="json")
        changed = [key for key in state["settings"] | now if now.get(key) != state["settings"].get(key)]
        if changed:
            before, after = (found.get(changed[0], "not given") for found in (state["settings"], now))
            raise InputError(
                f"{changed[0]} = {after} for '{self.name}', but the run began with {before}",
                "output.observe",
                'resume with the settings that began the run, or give the observer another name, such as name = "new"',
            )
        self._n_samples, (self._first_step, self._last_step) = state["n_samples"], state["steps"]
        self._quantity.load_state_dict(state["state"], self._comm)

    def rows(self) -> Mapping[str, NDArray[Any]]:
        """Rows of the atoms of this rank's range of ids, see `reporting.HoldsRows`."""
        return self._quantity.rows()

    def load_rows(self, rows: Mapping[str, NDArray[Any]]) -> None:
        """Takes up rows of a checkpoint."""
        self._quantity.load_rows(rows)

    def bytes_per_sample(self, n_atoms: int) -> float:
        """The files do not grow."""
        return 0.0

    def bytes_held(self, n_local: int) -> float:
        """Those of the quantity."""
        return self._quantity.bytes_held(n_local)

    def bytes_while_called(self, n_local: int) -> float:
        """Those of the quantity."""
        return self._quantity.bytes_while_called(n_local)

    def flush(self) -> None:
        """Writes the result so far, the picture only if that takes little of the run's time (collective)."""
        since = time.monotonic() - self._drawn
        self._write(self._comm.any(self._drawing < PICTURE_SHARE * since))

    def close(self) -> None:
        """Writes the result with its picture (collective)."""
        self._write(picture=True)

    def _write(self, picture: bool) -> None:
        """Writes the files, if there is a result (collective)."""
        if self._n_samples == 0:
            return
        try:
            result = self._quantity.result(self._comm)
        except InputError:  # too few samples for a result so far: on all ranks alike
            return
        found = Analyzed(result, self._n_samples, self._first_step, self._last_step, "simulation")
        began = time.monotonic()
        with self._comm.collective_errors():
            if self._comm.rank == 0:
                with disk_errors(self._directory):
                    self._directory.mkdir(exist_ok=True, parents=True)
                write_result(self._directory, self._table, found, picture)
        if picture:
            self._drawn, self._drawing = time.monotonic(), time.monotonic() - began


def sample_of(snapshot: Snapshot, number: int, wanted: Wants, comm: Comm) -> Sample:
    """The atoms of this rank at a step, on the host.

    Args:
        snapshot: of the step.
        number: of the sample.
        wanted: says which fields it needs, and what of the evaluation.
        comm: all ranks.
    """
    state = snapshot.state

    def host(name: str) -> NDArray[Any]:
        rows: NDArray[Any] = state.host_local(name)
        return rows

    evaluation = snapshot.evaluation
    has_flux = "centroid_virial" in wanted.needs and evaluation.energy is not None
    velocity = host("velocity").astype(np.float64) if "velocity" in wanted.fields else None
    return Sample(
        number=number, step=snapshot.step, time=snapshot.time, cell=state.cell, species_table=state.species_table,
        n_total=state.n_total, comm=comm, ids=host("id"), species=host("species"), position=host("position"),
        velocity=velocity, thermo=snapshot.thermo,
        energy=on_host(evaluation.energy) if has_flux and evaluation.energy is not None else None,
        centroid_virial=evaluation.centroid_virial if has_flux else None,
    )  # fmt: skip


class Wants(Protocol):
    """Something that is fed with samples; see `base.Quantity`."""

    @property
    def fields(self) -> tuple[str, ...]:
        """Of a stored frame."""

    @property
    def needs(self) -> Needs:
        """Of a running simulation."""


def quantity_of(table: QuantityTable, system: System, where: str) -> Quantity:
    """Makes the quantity of a table of any kind, by the function ``build`` beside the table's class.

    Args:
        table: of the input, or of the command line.
        system: to be observed.
        where: for messages.

    Raises:
        InputError: the table does not fit the system.
    """
    quantity: Quantity = load(f"{type(table).__module__}:build")(table, system, where)
    return quantity


def require_folder(setting: ObserverSetting) -> None:
    """Refuses a place for results that is something else than a folder (collective).

    Raises:
        InputError: it is.
    """
    with setting.comm.collective_errors():
        for folder in (OBSERVE, setting.results):
            path = setting.directory / folder
            if setting.comm.rank == 0 and os.path.lexists(path) and not path.is_dir():
                raise InputError("is no folder, but results are to be written into it", str(path), "remove it")


def build(table: QuantityTable, setting: ObserverSetting) -> QuantityObserver:
    """Makes the observer of an input table, of any kind.

    Raises:
        InputError: the table does not fit the system, or the place of its results is taken.
    """
    require_folder(setting)
    system = System(
        setting.species_table, setting.n_total, setting.cell, table.every * setting.timestep,
        max(0, setting.steps - table.after) // table.every + 1, setting.comm,
    )  # fmt: skip
    return QuantityObserver(table, quantity_of(table, system, f"output.observe, {table.label}"), setting)
