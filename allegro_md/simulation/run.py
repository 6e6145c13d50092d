"""A whole run: from the input to a complete run directory."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from allegro_md.allocator import return_large_arrays
from allegro_md.comm import Comm
from allegro_md.config import Input, load_input
from allegro_md.errors import AllegroError, InterruptedRun, PhysicsError
from allegro_md.io.checkpoint import Checkpoint, checkpoint_steps, latest_checkpoint, write_checkpoint
from allegro_md.io.h5md import TrajectoryWriter
from allegro_md.io.run_directory import RunDirectory
from allegro_md.io.structure import log_lines
from allegro_md.io.thermo import ThermoWriter
from allegro_md.potentials import Potential, build_potential, descriptions, release_tables, resolved
from allegro_md.reporting import Reporter
from allegro_md.simulation import assembly, host_info, record
from allegro_md.simulation.certificate import verify_start
from allegro_md.simulation.continuation import changed_keys, require_same_physics, restore
from allegro_md.simulation.failure_dump import dump_failure
from allegro_md.simulation.loop import StepLoop, Substepping
from allegro_md.simulation.progress import Log, Progress
from allegro_md.simulation.resource_estimate import ResourceEstimate
from allegro_md.state import AtomState
from allegro_md.stopping import StopRequest
from allegro_md.timers import Timers
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
        self,
        config: Input,
        comm: Comm,
        state: AtomState,
        potential: Potential,
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
        with comm.collective_errors():
            self._digests = record.file_digests(config) if comm.rank == 0 else []
        self._digests = comm.bcast(self._digests)
        self._places = host_info.host_info(comm)
        self._changed = [] if checkpoint is None else changed_keys(checkpoint, config.as_dict())
        self._rollbacks: list[dict[str, Any]] = []
        self._certificate: VerifyReport | None = None
        self._structure: list[str] = []  # what was understood of it, for the log
        step, wall, substepping = 0, 0.0, Substepping()
        if checkpoint is not None:
            require_same_physics(checkpoint, record.physics(config, self._digests))
            step, wall = checkpoint.step, float(checkpoint.extras["wall"])
            substepping = Substepping(*checkpoint.extras["refinement"])
        forces = assembly.forces(config, potential, comm, self._timers)
        integrator = assembly.integrator(config, state, comm)
        if checkpoint is not None:
            integrator.load_state_dict(checkpoint.extras["integrator"])
        guard = assembly.guard(config, state, comm)
        self.loop = StepLoop(
            state, forces, integrator, comm, self._timers, step=step, wall=wall, guard=guard, substepping=substepping
        )
        first_checkpoint = 56.0 * state.n_total / DISK_BYTES_PER_SECOND  # id, position, velocity
        self._stop = StopRequest(config.stop.walltime, first_checkpoint)
        forces.stop_wanted = self._stop.wanted

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
            ResourceError: memory or disk is too small for it.
        """
        return_large_arrays()
        torch.set_num_threads(1)  # one constant way to sum: see kernels/tile.py
        with comm.collective_errors():
            if comm.rank == 0:
                RunDirectory.check(config.output.directory, resume=resume, overwrite=overwrite)
        system = assembly.build_structure(config, comm)
        with comm.collective_errors():
            potential = build_potential(config.potential, system.species_table)
            made = max(checkpoint_steps(config.output.directory), default=0) if resume else 0
        config = config.model_copy(update={"potential": resolved(config.potential, potential)})
        ResourceEstimate(config, system, potential, comm).require(made, overwrite)
        state = assembly.empty_state(system)
        checkpoint = latest_checkpoint(config.output.directory, comm) if resume else None
        if checkpoint is None:
            assembly.create_atoms(state, system, config, comm)
        else:
            restore(state, checkpoint)
            checkpoint = replace(checkpoint, slab={})  # now in the state
        simulation = Simulation(config, comm, state, potential, checkpoint, resume, overwrite)
        simulation._structure = log_lines(system)
        return simulation

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
            directory.write_record(self._record("running", began))
            try:
                with self._stop.on_signals():
                    self._run_to_the_end(log, lambda: directory.write_record(self._record("running", began)))
            except AllegroError as error:  # on all ranks alike; after any other fault nothing collective is safe
                log.note(str(error))
                self._finish(directory, f"{type(error).__name__}: {error}", began)
                raise
            self._finish(directory, "done", began)
            log.say(f"done: {self.loop.step} steps in {self.loop.wall:.1f} s; results in {directory.path}")

    def _record(self, status: str, began: float) -> dict[str, Any]:
        story = {
            "changed_on_resume": self._changed,
            "rollbacks": self._rollbacks,
            "verify": None if self._certificate is None else self._certificate.as_dict(),
        }
        return record.describe(self.config, self._digests, self.loop, self._places, status, began) | story

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
        directory.write_record(self._record(status, began))
        if faults:
            raise faults[0]

    def _run_to_the_end(self, log: Log, note_progress: Callable[[], None]) -> None:
        """All steps; where the physics breaks, what happened is kept and, if asked for, tried again more finely."""
        while True:
            try:
                self._make_steps(log, note_progress)
                return
            except PhysicsError as error:
                radius = self.loop.forces.potential.cutoff
                where, step = self.config.output.directory, self.loop.current_step
                for line in dump_failure(where, step, error, self.state, radius, self.comm, self._extras()):
                    log.say(line)
                self._roll_back(error, log)
                note_progress()

    def _make_steps(self, log: Log, note_progress: Callable[[], None]) -> None:
        last, every = self.config.dynamics.steps, self.config.output.checkpoint.every
        try:
            self.loop.start(lambda: self._verify_start(log))
            if self.config.guard.rollback:
                self._save()
            while self.loop.step < last:
                target = last if every == 0 else min(last, (self.loop.step // every + 1) * every)
                self.loop.advance(target)
                if target < last:
                    self._save()
                    note_progress()
        except InterruptedRun:
            self._save()
            if self.loop.step < last:
                raise
        self._save()

    def _verify_start(self, log: Log) -> None:
        """The cheap part of the physics certificate, once per process.

        Raises:
            PhysicsError: a check failed; the run does not start.
        """
        if self._certificate is None:
            with self._timers.phase("verify"):
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
        for reporter in loop.reporters:
            reporter.close()
        checkpoint = latest_checkpoint(directory, self.comm)
        if checkpoint is None:
            raise error
        parts = 2 * loop.substepping.of(failed)
        self._rollbacks.append({"fault": str(error), "step": failed, "to": checkpoint.step, "parts": parts})
        log.say(f"{error}")
        log.say(
            f"going back from step {failed} to {checkpoint.step}; from there to step {2 * failed - checkpoint.step} "
            f"in parts of {loop.timestep / parts:g} fs"
        )
        restore(self.state, checkpoint)
        loop.integrator.load_state_dict(checkpoint.extras["integrator"])
        loop.forces.invalidate()
        loop.step = loop.current_step = self._saved_at = checkpoint.step
        loop.substepping = Substepping(parts, 2 * failed - checkpoint.step)
        self._checkpoint = replace(checkpoint, slab={})
        loop.reporters = self._reporters(directory, log)

    def _reporters(self, directory: Path, log: Log) -> list[Reporter]:
        output, comm = self.config.output, self.comm
        reporters: list[Reporter] = [
            *assembly.force_std_reporters(self.config, comm),  # first: a step that ends the run is not reported
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
            keep = self.config.output.checkpoint.keep
            write_checkpoint(self.config.output.directory, self.loop.step, self.state, self.comm, self._extras(), keep)
        self._saved_at = self.loop.step

    def _extras(self) -> dict[str, Any]:
        """What a continuation needs beside the atoms."""
        return {
            "integrator": self.loop.integrator.state_dict(),
            "reporters": {r.name: r.state_dict() for r in self.loop.reporters},
            "refinement": [self.loop.substepping.parts, self.loop.substepping.until],
            "input": self.config.as_dict(),
            "physics": record.physics(self.config, self._digests),
            "wall": self.comm.bcast(self.loop.wall),
        }

    def _say_what_runs(self, log: Log) -> None:
        potential, table = self.loop.forces.potential, self.state.species_table
        log.say(
            f"{self.state.n_total} atoms of {', '.join(dict.fromkeys(table.symbols))}, {potential.name} potential, "
            f"cutoff {potential.cutoff:g} Å, {self.config.dynamics.ensemble}, {self.comm.size} ranks"
        )
        for line in self._structure:
            log.say(line)
        for model, remark in descriptions(self.config.potential, potential).items():
            log.say(f"{model}: {remark}")
        for line in host_info.lines(self._places):
            log.say(line)
        for warning in host_info.warnings(self._places):
            log.say(f"warning: {warning}")
        if not potential.bit_exact:
            log.say(f"note: {potential.name} is outside the promise of bit-identical results on any number of ranks")
        if self._checkpoint is not None:
            for message in self._checkpoint.passed_over:
                log.say(f"passed over: {message}")
            log.say(f"going on from {self._checkpoint.path.name}")
            for message in self._changed:
                log.say(f"changed since then: {message}")
