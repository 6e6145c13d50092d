"""A whole run: from the input to a complete run directory."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import Any

import torch

from allegro_md.comm import Comm
from allegro_md.config import Input, load_input
from allegro_md.errors import AllegroError, InputError
from allegro_md.io.checkpoint import Checkpoint, latest_checkpoint, write_checkpoint
from allegro_md.io.h5md import TrajectoryWriter
from allegro_md.io.run_directory import RunDirectory
from allegro_md.io.thermo import ThermoWriter
from allegro_md.reporting import Reporter
from allegro_md.simulation import assembly, record
from allegro_md.simulation.allocator import return_large_arrays
from allegro_md.simulation.loop import StepLoop
from allegro_md.simulation.progress import Log, Progress
from allegro_md.state import AtomState
from allegro_md.timers import Timers

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Simulation:
    """One run of an input.

    Attributes:
        config: the validated input.
        comm: all ranks.
        state: atoms of this rank.
        loop: steps and reports.
    """

    def __init__(
        self,
        config: Input,
        comm: Comm,
        state: AtomState,
        checkpoint: Checkpoint | None,
        resume: bool,
        overwrite: bool,
    ) -> None:
        """Use `from_toml` or `from_config`."""
        self.config = config
        self.comm = comm
        self.state = state
        self._checkpoint = checkpoint
        self._resume, self._overwrite = resume, overwrite
        self._timers = Timers()
        self._saved_at = -1
        with comm.together():
            self._digests = record.file_digests(config) if comm.rank == 0 else []
        self._digests = comm.bcast(self._digests)
        step, wall = 0, 0.0
        if checkpoint is not None:
            _require_same_physics(checkpoint, record.physics(config, self._digests))
            step, wall = checkpoint.step, float(checkpoint.extras["wall"])
        forces = assembly.forces(config, state, comm, self._timers)
        integrator = assembly.integrator(config, state, comm)
        if checkpoint is not None:
            integrator.load_state_dict(checkpoint.extras["integrator"])
        self.loop = StepLoop(state, forces, integrator, comm, self._timers, step=step, wall=wall)

    @staticmethod
    def from_toml(path: str | Path, overrides: Sequence[str] = (), **options: bool) -> Simulation:
        """Builds the simulation of an input file; `overrides` as in ``--set``, `options` as in `from_config`.

        Raises:
            InputError: the input is wrong.
        """
        return Simulation.from_config(load_input(path, overrides), Comm.world(), **options)

    @staticmethod
    def from_config(config: Input, comm: Comm, resume: bool = False, overwrite: bool = False) -> Simulation:
        """Builds the simulation of a validated input; writes nothing (collective).

        Args:
            config: the input.
            comm: all ranks.
            resume: go on from the newest good checkpoint of the run directory, if it has one.
            overwrite: an existing run directory may be replaced.

        Raises:
            InputError: the input does not fit the files it names, or the run directory.
        """
        return_large_arrays()
        torch.set_num_threads(1)  # one constant way to sum: see kernels/tile.py
        with comm.together():
            if comm.rank == 0:
                RunDirectory.check(config.output.directory, resume=resume, overwrite=overwrite)
        plan = assembly.blueprint(config, comm)
        state = assembly.empty_state(plan)
        checkpoint = latest_checkpoint(config.output.directory, comm) if resume else None
        if checkpoint is None:
            assembly.populate(state, plan, config, comm)
        else:
            _restore(state, checkpoint)
            checkpoint = replace(checkpoint, slab={})  # now in the state
        return Simulation(config, comm, state, checkpoint, resume, overwrite)

    def run(self) -> None:
        """Makes all steps; the run directory is complete when it returns, and as complete as can be when it raises.

        Raises:
            AllegroError: the run ended early, on all ranks alike.
        """
        output = self.config.output
        with RunDirectory(output.directory, self.comm, resume=self._resume, overwrite=self._overwrite) as directory:
            log = Log(directory.path / "log.txt", self.comm.rank == 0)
            began = time.time()
            self.loop.reporters = self._reporters(directory.path, log)
            self._say_what_runs(log)
            directory.write_run_json(self._record("running", began))
            try:
                with self._stopping_on_signals():
                    self._run_to_the_end(lambda: directory.write_run_json(self._record("running", began)))
            except AllegroError as error:  # on all ranks alike; after any other fault nothing collective is safe
                log.note(str(error))
                self._finish(directory, f"{type(error).__name__}: {error}", began)
                raise
            self._finish(directory, "done", began)
            log.say(f"done: {self.loop.step} steps in {self.loop.wall:.1f} s; results in {directory.path}")

    def _record(self, status: str, began: float) -> dict[str, Any]:
        return record.describe(self.config, self._digests, self.loop, status, began)

    def _finish(self, directory: RunDirectory, status: str, began: float) -> None:
        """Closes all reporters, also when one of them cannot save its last data, and says how the run ended."""
        faults = []
        for reporter in self.loop.reporters:
            try:
                reporter.close()
            except AllegroError as error:  # raised on all ranks together
                faults.append(error)
        if faults and status == "done":
            status = f"{type(faults[0]).__name__}: {faults[0]}"
        directory.write_run_json(self._record(status, began))
        if faults:
            raise faults[0]

    def _run_to_the_end(self, note_progress: Callable[[], None]) -> None:
        last, every = self.config.dynamics.steps, self.config.output.checkpoint.every
        try:
            self.loop.start()
            while self.loop.step < last:
                target = last if every == 0 else min(last, (self.loop.step // every + 1) * every)
                self.loop.advance(target)
                if target < last:
                    self._save()
                    note_progress()
        except AllegroError as error:
            if error.exit_status == 130:
                self._save()
            raise
        self._save()

    def _reporters(self, directory: Path, log: Log) -> list[Reporter]:
        output, comm = self.config.output, self.comm
        reporters: list[Reporter] = [
            ThermoWriter(directory / "thermo.csv", output.thermo.every, comm),
            Progress(log, output.thermo.every, self.config.dynamics.steps, self.state.n_total, comm.rank == 0),
        ]
        if output.trajectory is not None:
            trajectory = output.trajectory
            reporters.append(TrajectoryWriter(directory, trajectory.every, trajectory.fields, trajectory.dtype, comm))
        if self._checkpoint is not None:
            for reporter in reporters:
                reporter.load_state_dict(self._checkpoint.extras["reporters"].get(reporter.name, {}))
        return reporters

    def _save(self) -> None:
        """A checkpoint of the present step; what the reporters wrote so far is on disk before it."""
        if self._saved_at == self.loop.step:
            return
        with self._timers.phase("checkpoint"):
            for reporter in self.loop.reporters:
                reporter.flush()
            extras: dict[str, Any] = {
                "integrator": self.loop.integrator.state_dict(),
                "reporters": {r.name: r.state_dict() for r in self.loop.reporters},
                "input": self.config.as_dict(),
                "physics": record.physics(self.config, self._digests),
                "wall": self.comm.bcast(self.loop.wall),
            }
            keep = self.config.output.checkpoint.keep
            write_checkpoint(self.config.output.directory, self.loop.step, self.state, self.comm, extras, keep)
        self._saved_at = self.loop.step

    def _say_what_runs(self, log: Log) -> None:
        potential, table = self.loop.forces.potential, self.state.species_table
        log.say(
            f"{self.state.n_total} atoms of {', '.join(dict.fromkeys(table.symbols))}, {potential.name} potential, "
            f"cutoff {potential.cutoff:g} Å, {self.config.dynamics.ensemble}, {self.comm.size} ranks"
        )
        if not potential.bit_exact:
            log.say(f"note: {potential.name} is outside the promise of bit-identical results on any number of ranks")
        if self._checkpoint is not None:
            for message in self._checkpoint.passed_over:
                log.say(f"passed over: {message}")
            log.say(f"going on from {self._checkpoint.path.name}")

    @contextmanager
    def _stopping_on_signals(self) -> Iterator[None]:
        """SIGINT and SIGTERM end the run after the step under way, with a checkpoint; a second one at once."""

        def request(number: int, frame: FrameType | None) -> None:
            self.loop.forces.stop_requested = True
            signal.signal(number, before[number])

        before: dict[int, Any] = {number: signal.signal(number, request) for number in STOP_SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def _require_same_physics(checkpoint: Checkpoint, now: dict[str, Any]) -> None:
    """Refuses to continue under other forces or another integrator.

    Raises:
        InputError: names the first key that differs.
    """
    before = checkpoint.extras["physics"]
    for key in sorted(before.keys() | now.keys()):
        if before.get(key) != now.get(key):
            raise InputError(
                "the content of a model or table file has changed since the run began"
                if key == "files"
                else f"{key} = {now.get(key)}, but the run began with {before.get(key)}",
                str(checkpoint.path),
                "resume with the input that began the run, or choose another output.directory",
            )


def _restore(state: AtomState, checkpoint: Checkpoint) -> None:
    """Puts a rank's share of a checkpoint into its state; the first evaluation sends the atoms to their owners.

    Raises:
        InputError: the checkpoint is of another system.
    """
    table, saved = state.species_table, checkpoint.species_table
    same = (
        state.n_total == checkpoint.n_total
        and table.symbols == saved.symbols
        and list(table.masses) == list(saved.masses)
    )
    if not same:
        raise InputError(
            f"is of another system ({checkpoint.n_total} atoms of {', '.join(saved.symbols)}; "
            f"the input has {state.n_total} of {', '.join(table.symbols)})",
            str(checkpoint.path),
            "resume with the input that began the run, or choose another output.directory",
        )
    state.cell = checkpoint.cell
    state.set_local({name: torch.from_numpy(values) for name, values in checkpoint.slab.items()})
