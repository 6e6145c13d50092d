"""A whole run: from the input to a complete run directory."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from allegro_md.comm import Comm
from allegro_md.compilation import CompilationWatch
from allegro_md.config import Input, load_input
from allegro_md.domain.balance import BalanceRecord
from allegro_md.errors import AllegroError, InputError, InterruptedRun, PhysicsError
from allegro_md.integrators.base import Concluding, cautions
from allegro_md.io.checkpoint import (
    NO_ROWS,
    Checkpoint,
    checkpoint_path,
    checkpoint_steps,
    latest_checkpoint,
    read_checkpoint,
    write_checkpoint,
)
from allegro_md.io.run_directory import RunDirectory
from allegro_md.io.structure import log_lines
from allegro_md.lost_ranks import ends_when_lost
from allegro_md.potentials import release_tables
from allegro_md.reporting import HoldsRows, Observer, Stateful, Writes
from allegro_md.simulation import host_info, record, traffic
from allegro_md.simulation.build import Parts, build_engine, build_observers, build_parts, require_whole, stage_of
from allegro_md.simulation.certificate import verify_start
from allegro_md.simulation.continuation import changed_keys, require_same_physics, restore
from allegro_md.simulation.failure_dump import dump_failure
from allegro_md.simulation.loop import Substepping
from allegro_md.simulation.motion import require_motion
from allegro_md.simulation.opening import opening_lines
from allegro_md.simulation.progress import Log, Progress
from allegro_md.simulation.replica_context import ReplicaContext
from allegro_md.simulation.resource_estimate import ResourceEstimate
from allegro_md.simulation.stages import StageEnd, begin_stage, conclusion, introduction, last_words, reason_of_end
from allegro_md.simulation.time_account import TimeAccount
from allegro_md.stopping import Stop, StopRequest
from allegro_md.triggers import Every
from allegro_md.verify.result import VerifyReport

DISK_BYTES_PER_SECOND = 100e6
"""A modest disk: how long the first checkpoint may take, as far as a walltime is concerned."""


class Simulation:
    """One run of an input.

    Attributes:
        config: the validated input, with the engines that models run on.
        comm: all ranks.
        state: atoms of this rank.
        loop: steps and reports.
    """

    def __init__(
        self, parts: Parts, comm: Comm, checkpoint: Checkpoint | None, resume: bool, overwrite: bool,
        compilation: CompilationWatch, began: float, context: ReplicaContext | None,
    ) -> None:
        """Use `from_toml` or `from_config`."""
        self.config = config = parts.config
        self.comm = comm
        self._parts = parts
        self._stage = 0 if checkpoint is None else stage_of(checkpoint)
        self._past = [] if checkpoint is None else list(checkpoint.extras.get("stage", {}).get("past", []))
        self._of_stage: list[Observer] = []
        self._compilation, self._building, self._cpu_began = compilation, 0.0, 0.0
        self._resume, self._overwrite = resume, overwrite
        self._saved_at = -1
        with comm.collective_errors():
            self._digests = record.file_digests(parts.potential.info.files) if comm.rank == 0 else []
        self._digests = comm.bcast(self._digests)
        self._places = host_info.host_info(comm)
        self._changed = [] if checkpoint is None else changed_keys(checkpoint, config.as_dict())
        self._rollbacks: list[dict[str, Any]] = []
        self._certificate: VerifyReport | None = None
        self._directory: RunDirectory | None = None
        if checkpoint is not None:
            require_same_physics(checkpoint, record.physics(config, self._digests))
        self.loop, self._remarks = build_engine(parts, comm, compilation.timers, checkpoint)
        self._structure = log_lines(parts.system)
        self.state, self._first_step = self.loop.state, self.loop.step
        if self.loop.step == 0:
            self._remarks += require_motion(self.state, self.loop.forces, self.loop.integrator, self._remarks, comm)
        self._checkpoint = None if checkpoint is None else replace(checkpoint, slab={})  # now in the state
        row_bytes = sum(field.row_bytes for field in self.state.fields.values() if field.checkpoint)
        first_checkpoint = row_bytes * self.state.n_total / DISK_BYTES_PER_SECOND
        self._prints = context is None or context.prints
        self._stop: Stop = StopRequest(config.stop.walltime, first_checkpoint)
        if context is not None:
            self._stop = context.stop
        self.loop.stop_wanted = self._stop.wanted
        self._building = time.perf_counter() - began

    @staticmethod
    def from_toml(path: str | Path, overrides: Sequence[str] = (), **options: Any) -> Simulation:
        """Builds the simulation of an input file; `overrides` as in ``--set``, `options` as in `from_config`.

        Raises:
            InputError: the input is wrong.
        """
        return Simulation.from_config(load_input(path, overrides), Comm.world(), **options)

    @staticmethod
    def from_config(
        config: Input, comm: Comm, resume: bool = False, overwrite: bool = False, context: ReplicaContext | None = None
    ) -> Simulation:
        """Builds the simulation of a validated input; writes nothing (collective).

        Args:
            config: the input.
            comm: all ranks.
            resume: continue from the newest good checkpoint of the run directory, if it has one.
            overwrite: an existing run directory may be replaced.
            context: of a run that is one of several replicas.

        Raises:
            InputError: the input does not fit the files it names, or the run directory.
            ResourceError: memory or disk is too small for it.
        """
        began = time.perf_counter()
        if config.replicas is not None:
            raise InputError("is for several replicas", "replicas", "use simulation.replicas.run_replicas")
        with comm.collective_errors():
            if comm.rank == 0:
                RunDirectory.check(config.output.directory, resume=resume, overwrite=overwrite)
        with CompilationWatch(comm.rank == 0) as compilation:
            parts = build_parts(config, comm)
            with comm.collective_errors():
                made = max(checkpoint_steps(config.output.directory), default=0) if resume else 0
            estimate = ResourceEstimate(parts.config, parts.system, parts.potential, comm)
            if context is not None:
                estimate.runs, estimate.runs_on_host = context.runs, context.runs_on_host
            estimate.require(made, overwrite)
            checkpoint = None
            if resume and context is not None and context.checkpoint is not None:
                checkpoint = read_checkpoint(checkpoint_path(config.output.directory, context.checkpoint), comm)
            elif resume:
                checkpoint = latest_checkpoint(config.output.directory, comm)
            return Simulation(parts, comm, checkpoint, resume, overwrite, compilation, began, context)

    def run(self) -> None:
        """Makes all steps; the run directory is complete when it returns, and as complete as can be when it raises.

        Raises:
            AllegroError: the run ended early, on all ranks alike.
        """
        for _ in self.pieces(0):
            pass

    def pieces(self, every: int) -> Iterator[None]:
        """The same in pieces: yields before each step that follows a multiple of `every` steps (0: never).

        The state may be changed there in ways that depend on it alone, so that they are made anew after a
        continuation: a checkpoint of this step is as before the change. An `AllegroError` thrown in ends the run.

        Raises:
            AllegroError: as of `run`.
        """
        place, comm = self.config.output.directory, self.comm
        with (
            self._compilation,
            RunDirectory(place, comm, resume=self._resume, overwrite=self._overwrite) as directory,
            ends_when_lost(self.config.parallel.patience if comm.n_started > 1 else 0.0, comm.rank, comm.abort),
        ):
            log = Log(directory.path / "log.txt", comm.rank == 0, self._prints)
            self._compilation.say = log.say
            if self._compilation.announced:
                log.note(self._compilation.announced)
            began, self._cpu_began = time.time(), time.process_time()
            saved, rows = None, NO_ROWS
            if self._checkpoint is not None:
                saved, rows = self._checkpoint.extras["reporters"], self._checkpoint.observer_rows
                self._checkpoint = replace(self._checkpoint, observer_rows={})
            self.loop.observers = self._observers(log, saved, rows)
            del rows
            self._directory = directory
            self._add_files()
            self._say_what_runs(log)
            directory.write_record(self._record("running", began))
            try:
                with self._stop.on_signals():
                    note = partial(self._note_progress, began)
                    yield from self._run_to_the_end(log, note, every)
            except AllegroError as error:  # on all ranks alike; after any other fault nothing collective is safe
                log.note(str(error))
                self._finish(directory, f"{type(error).__name__}: {error}", began, log)
                raise
            self._finish(directory, "done", began, log)
            spent = f"{self.loop.step} steps in {self.loop.wall:.1f} s, start and output included"
            log.say(f"done: {spent}; results in {directory.path}")

    def _note_progress(self, began: float) -> None:
        assert self._directory is not None
        self._directory.write_record(self._record("running", began))

    def _record(self, status: str, began: float) -> dict[str, Any]:
        story = {
            "changed_on_resume": self._changed,
            "rollbacks": self._rollbacks,
            "stages": [*self._past, self._present_stage()] if self.config.stage else [],
            "result": self._present_stage()["result"],
            "verify": None if self._certificate is None else self._certificate.as_dict(),
        }
        clocks = began, self._cpu_began
        return record.describe(self.config, self._digests, self.loop, self._places, status, *clocks) | story

    def _finish(self, directory: RunDirectory, status: str, began: float, log: Log) -> None:
        """Closes all reporters, also when one of them cannot save its last data, and says how the run ended.

        Raises:
            AllegroError: data could not be saved.
        """
        faults = []
        for writer in self._writers():
            try:
                writer.close()
            except AllegroError as error:  # raised on all ranks together
                faults.append(error)
        if faults and status == "done":
            status = f"{type(faults[0]).__name__}: {faults[0]}"
        story = self._record(status, began)
        account = TimeAccount.of(
            story, time.time() - began, self._building, self.loop.step - self._first_step, self.config.parallel.skin,
            host_info.warnings(self._places),
        )  # fmt: skip
        directory.write_record(story | {"time": account.as_dict()})
        if self.comm.size > 1:
            log.say(traffic.in_words(story["communication"]))
            log.say(BalanceRecord(**story["balance"]).line())
        for line in account.lines():
            log.say(line)
        if faults:
            raise faults[0]

    def _run_to_the_end(self, log: Log, note_progress: Callable[[], None], every: int) -> Iterator[None]:
        """All steps; where the physics breaks, what happened is kept and, if asked for, tried again more finely."""
        while True:
            try:
                yield from self._make_steps(log, note_progress, every)
                return
            except PhysicsError as error:
                radius = self.loop.forces.potential.info.cutoff
                where, step = self.config.output.directory, self.loop.current_step
                for line in dump_failure(where, step, error, self.state, radius, self.comm, self._extras()):
                    log.say(line)
                self._roll_back(error, log)
                note_progress()

    def _make_steps(self, log: Log, note_progress: Callable[[], None], pause: int) -> Iterator[None]:
        try:
            self.loop.start(lambda: self._verify_start(log))
            if self.config.guard.rollback:
                self._save()
            yield from self._make_stage(log, note_progress, pause)
            while self._stage + 1 < len(self.config.stages):
                self._next_stage(log)
                note_progress()
                yield from self._make_stage(log, note_progress, pause)
        except InterruptedRun:
            self._save()
            if self._stage + 1 < len(self.config.stages) or self.loop.step < self._last_step:
                log.say(f"{checkpoint_path(Path(), self.loop.step)} is written; --resume continues from it")
                raise
        self._save()

    @property
    def _last_step(self) -> int:
        """Of the present stage."""
        return self.loop.stage_start.step + self.config.stages[self._stage].dynamics.steps

    def _make_stage(self, log: Log, note_progress: Callable[[], None], pause: int) -> Iterator[None]:
        """Makes the steps of the present stage that are left, and yields before those after a multiple of `pause`."""
        loop, last = self.loop, self._last_step
        save, paused = (Every(every) for every in (self.config.stages[self._stage].output.checkpoint.every, pause))
        while loop.step < last and not loop.stage_is_over:
            if loop.step > 0 and paused(loop.step):
                yield
            loop.advance(min(last, save.next(loop.step, last), paused.next(loop.step, last)))
            if save(loop.step) and loop.step < last and not loop.stage_is_over:
                self._save()
                note_progress()
        reason = self._present_stage()["ended_by"]
        lines = last_words(self.config.stages[self._stage], reason, loop.step)
        for line in [*conclusion(loop), *lines]:
            log.say(line)

    def _next_stage(self, log: Log) -> None:
        """Ends the present stage and begins the next one, with a checkpoint (collective)."""
        self._past.append(self._present_stage())
        for writer in self._writers():
            writer.flush()
            writer.close()
        going_on = [o for o in self.loop.observers if o not in self._of_stage]
        of_run = {o.name: o.state_dict() for o in going_on if isinstance(o, Stateful)}
        self._stage += 1
        for line in begin_stage(self._parts, self._stage, self.loop, self.comm):
            log.say(f"note: {line}")
        log.say(introduction(self.config, self._stage))
        self.loop.observers = self._observers(log, of_run, {})
        self._add_files()
        self.loop.start()
        self._saved_at = -1  # a checkpoint of this step would be of the stage before
        self._save()

    def _present_stage(self) -> dict[str, Any]:
        """The entry of the present stage in ``run.json``."""
        stage, loop = self.config.stages[self._stage], self.loop
        over = loop.stage_is_over or loop.step >= self._last_step
        return {
            "name": stage.name, "ensemble": stage.dynamics.ensemble, "first_step": loop.stage_start.step,
            "last_step": loop.step, "begin_fs": loop.stage_start.time, "end_fs": loop.time,
            "ended_by": reason_of_end(loop) if over else "",
            "result": loop.integrator.result() if isinstance(loop.integrator, Concluding) else {},
        }  # fmt: skip

    def _verify_start(self, log: Log) -> None:
        """Makes the cheap part of the physics certificate, once per process.

        Raises:
            PhysicsError: a check failed; the run does not start.
        """
        if self._certificate is None:
            with self.loop.timers.phase("verify"):
                self._certificate = verify_start(self.config, self.loop)
            for line in self._certificate.lines():
                log.say(line)
            self._certificate.require()
            release_tables(self.loop.forces.potential, keep=self.comm.rank == 0)

    def _roll_back(self, error: PhysicsError, log: Log) -> None:
        """Back to the last checkpoint, and from there past the fault with half the timestep.

        Raises:
            PhysicsError: the given one, where that has been done as often as the input allows.
        """
        loop, directory = self.loop, self.config.output.directory
        failed = loop.current_step
        if len(self._rollbacks) >= self.config.guard.rollback or self._saved_at < 0:
            raise error
        for writer in self._writers():
            writer.close()
        checkpoint = latest_checkpoint(directory, self.comm)
        if checkpoint is None or stage_of(checkpoint) != self._stage:
            raise error
        parts = 2 * loop.substepping.of(failed)
        self._rollbacks.append({"fault": str(error), "step": failed, "to": checkpoint.step, "parts": parts})
        log.say(f"{error}")
        log.say(
            f"going back from step {failed} to {checkpoint.step}; from there to step {2 * failed - checkpoint.step} "
            f"in parts of {loop.integrator.timestep / parts:g} fs"
        )
        restore(self.state, checkpoint)
        loop.integrator.load_state_dict(checkpoint.extras["integrator"])
        loop.forces.invalidate()
        self._saved_at = checkpoint.step
        loop.resume(checkpoint.step, loop.wall, Substepping(parts, 2 * failed - checkpoint.step))
        loop.observers = self._observers(log, checkpoint.extras["reporters"], checkpoint.observer_rows)

    def _observers(
        self, log: Log, saved: Mapping[str, Any] | None, rows: Mapping[str, Mapping[str, NDArray[Any]]]
    ) -> list[Observer]:
        """Makes the observers of the present stage.

        Args:
            log: of the run.
            saved: state of each by name; None: the run begins anew.
            rows: rows of atoms of each, see `reporting.HoldsRows`.
        """
        stage, comm, first = self.config.stages[self._stage], self.comm, self.loop.stage_start.step
        every = stage.output.thermo.every
        progress = Progress(log, every, self._last_step, self.state.n_total, comm.rank == 0, self.loop.timers)
        require_whole(progress)
        potential = self.loop.forces.potential
        of_run, self._of_stage = build_observers(self.config, self.state, potential, comm, self._stage, first)
        self.loop.ended = bool
        if stage.end:
            end = StageEnd(stage, first)
            self._of_stage.append(end)
            self.loop.ended = lambda: end.met
        observers: list[Observer] = [*of_run, *self._of_stage, progress]
        for observer in observers:
            if saved is not None and isinstance(observer, Stateful):
                observer.load_state_dict(saved.get(observer.name, {}))
            if isinstance(observer, HoldsRows) and observer.name in rows:
                observer.load_rows(rows[observer.name])
        return observers

    def _add_files(self) -> None:
        """Lists the files that the observers write in the run directory."""
        assert self._directory is not None
        self._directory.add_files(name for writer in self._writers() for name in writer.files)

    def _writers(self) -> list[Writes]:
        return [observer for observer in self.loop.observers if isinstance(observer, Writes)]

    def _save(self) -> None:
        """A checkpoint of the present step; what the reporters wrote so far is on disk before it."""
        if self._saved_at == self.loop.step:
            return
        with self.loop.timers.phase("checkpoint"):
            for writer in self._writers():
                writer.flush()
            keep = self.config.stages[self._stage].output.checkpoint.keep
            rows = {o.name: o.rows() for o in self.loop.observers if isinstance(o, HoldsRows)}
            directory, step = self.config.output.directory, self.loop.step
            write_checkpoint(directory, step, self.state, self.comm, self._extras(), keep, rows)
        self._saved_at = self.loop.step

    def _extras(self) -> dict[str, Any]:
        """Returns the entries of a checkpoint beside the atoms."""
        return {
            "integrator": self.loop.integrator.state_dict(),
            "reporters": {o.name: o.state_dict() for o in self.loop.observers if isinstance(o, Stateful)},
            "refinement": [self.loop.substepping.parts, self.loop.substepping.until],
            "input": self.config.as_dict(),
            "physics": record.physics(self.config, self._digests),
            "wall": self.comm.bcast(self.loop.wall),
            "stage": {"index": self._stage, "start": asdict(self.loop.stage_start), "past": self._past},
        }

    def _say_what_runs(self, log: Log) -> None:
        info = self.loop.forces.potential.info
        for line in opening_lines(self.config, self.loop, self._structure, self._places):
            log.say(line)
        for remark in (*self._remarks, *cautions(self.loop.integrator)):
            log.say(f"note: {remark}")
        if not info.bit_exact:
            log.say(f"note: {info.name} is outside the promise of bit-identical results on any number of ranks")
        if self._checkpoint is not None:
            for message in self._checkpoint.passed_over:
                log.say(f"passed over: {message}")
            log.say(f"going on from {self._checkpoint.path.name}")
            made, wanted = self._checkpoint.step, self._last_step
            if self._stage + 1 == len(self.config.stages) and made >= wanted:
                log.say(f"note: nothing to do: {made} steps have been made, and dynamics.steps is {wanted}")
            for message in self._changed:
                log.say(f"changed since then: {message}")
        if self.config.stage:
            log.say(introduction(self.config, self._stage))
