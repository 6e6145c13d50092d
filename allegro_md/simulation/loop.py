"""The step loop."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from allegro_md.comm import Comm
from allegro_md.errors import InterruptedRun
from allegro_md.evaluation import NOTHING_MORE, Evaluation, Needs
from allegro_md.guards import Guard
from allegro_md.integrators.base import Clock, Integrator, LocalSteps, Prepared
from allegro_md.observables import kinetic_tensor, summed, thermo, total_mass
from allegro_md.reporting import Observer, Snapshot, Thermo, needs_of
from allegro_md.simulation.forces import ForceEvaluator, LocalFaultError
from allegro_md.simulation.windows import MOST_ATOMS, Fault, SavedState, Windows
from allegro_md.state import HOST, WORK, AtomState
from allegro_md.stopping import REASONS
from allegro_md.timers import Timers

MOST_VIRIALS = 1_000_000
"""Local atoms up to which the virial of each is there to be inspected at the start."""

MEETINGS = 1
"""Reductions by which the ranks look at each other after a step or a window, see `StepLoop._meet`."""

THERMO: Needs = frozenset({"virial", "force_std"})
"""Quantities that a row of global observables is made of."""


@dataclass(frozen=True)
class Substepping:
    """Steps that are made in several equal parts, where the full timestep has failed.

    Attributes:
        parts: into which a step is divided.
        until: last step of which this holds.
    """

    parts: int = 1
    until: int = 0

    def of(self, step: int) -> int:
        """Parts of a step."""
        return self.parts if step <= self.until else 1


@dataclass(frozen=True)
class StageStart:
    """The beginning of a stage of a run; a run without stages is one stage.

    Attributes:
        step: steps made before it.
        time: fs, simulated before it.
        volume: of the cell, Å³; NaN where the cell has none.
    """

    step: int = 0
    time: float = 0.0
    volume: float = np.nan


class StepLoop:
    """Makes steps and calls the observers that are due.

    Attributes:
        state: atoms of this rank.
        step: steps made so far.
        current_step: the step that is being made, or the last one.
        forces: see `ForceEvaluator`.
        evaluation: the latest one.
        integrator: moves the atoms.
        stage_start: of the present stage.
        observers: look at it now and then; called in the order of their priority.
        guard: looks at every step, also at those of a window.
        substepping: steps to be made in parts.
        windows: chooses which steps are made without a look at other ranks.
        changes_cell: the cell changes in some stage of the run: observables hold the density.
        ended: asked after every step or window on all ranks alike; True ends the present stage.
        stop_wanted: asked on every rank after every step or window; not 0: a reason to end the run
            (`stopping.REASONS`).
    """

    evaluation: Evaluation

    def __init__(
        self,
        state: AtomState,
        forces: ForceEvaluator,
        integrator: Integrator,
        comm: Comm,
        timers: Timers,
        guard: Guard | None = None,
    ) -> None:
        self.state = state
        self.forces = forces
        self.integrator = integrator
        self.comm = comm
        self.timers = timers
        self.observers: list[Observer] = []
        self.step = self.current_step = 0
        self.stage_start = StageStart(volume=state.cell.volume)
        self.guard = guard
        self.substepping = Substepping()
        self.windows = Windows()
        self.changes_cell = integrator.changes_cell
        self.ended: Callable[[], bool] = bool
        self.stop_wanted: Callable[[], int] = int
        self._stopping = 0
        self._mass: float | None = None
        self._began = self._met = time.perf_counter()
        self._rebuilds = 0  # when ranks last met
        self._add_fields()

    @property
    def wall(self) -> float:
        """Seconds spent on this run, those before a continuation included."""
        return time.perf_counter() - self._began

    @property
    def time(self) -> float:
        """Simulated time of the present step, fs."""
        start = self.stage_start
        return start.time + (self.step - start.step) * self.integrator.timestep

    def use(self, forces: ForceEvaluator) -> None:
        """Continues with another evaluator; it makes its lists in the next step, which is an ordinary one."""
        self.forces, self._rebuilds = forces, forces.rebuilds
        self.windows.forget()

    def begin_stage(self, integrator: Integrator) -> None:
        """Continues with another integrator; `start` must follow."""
        self.stage_start = StageStart(self.step, self.time, self.state.cell.volume)
        for field in self.integrator.fields:
            self.state.remove_field(field)
        self.integrator = integrator
        self._add_fields()

    @property
    def stage_is_over(self) -> bool:
        """The integrator has finished, or the stage has ended before its last step."""
        return self.integrator.finished or self.ended()

    def _add_fields(self) -> None:
        for field in self.integrator.fields:
            self.state.add_field(field)

    @property
    def first_needs(self) -> Needs:
        """Needs of the first evaluation: it is inspected, the integrator begins with it, and it is reported."""
        virial = "virial_per_atom" if self.state.n_local <= MOST_VIRIALS else "virial"
        return THERMO | {virial} | self.integrator.needs | (needs_of(self._due(self.step)) - {"thermo"})

    def resume(self, step: int, wall: float, substepping: Substepping) -> None:
        """Continues the count of a run that has made `step` steps in `wall` seconds."""
        self.step = self.current_step = step
        self.substepping = substepping
        self._began = time.perf_counter() - wall

    def start(self, inspect: Callable[[], None] | None = None) -> None:
        """Evaluates the forces at the present positions, and makes the reports due at the present step.

        Args:
            inspect: called in between, with forces and virial in place.

        Raises:
            PhysicsError: the forces cannot be evaluated, or a guard objects.
        """
        self.evaluation = self.forces(self.state, self.first_needs)
        self._look(0.0)
        if inspect is not None:
            inspect()
        if isinstance(self.integrator, Prepared):
            self.integrator.prepare(self.state, self.evaluation)
        self._report(self._due(self.step))

    def advance(self, last_step: int) -> None:
        """Steps until `last_step` is made, or the stage is over.

        Raises:
            InterruptedRun: a stop was requested; the step under way is complete and reported.
            PhysicsError: as in `start`.
        """
        while self.step < last_step and not self.stage_is_over:
            self._met = time.perf_counter()
            unchecked = self._unchecked_steps(last_step)
            if unchecked > 0:
                self._make_window(unchecked)
            else:
                self._make_step()
            if self._stopping:
                raise InterruptedRun(f"{REASONS[self._stopping]}; stopped after step {self.step}")

    def _make_step(self) -> None:
        """Makes the next step and its reports."""
        due = self._due(self.step + 1)
        needs = needs_of(due)
        self._move((needs - {"thermo"}) | (THERMO if "thermo" in needs else frozenset()))
        self.step = self.current_step
        self._report(due)

    def _move(self, asked: Needs) -> None:
        """Makes the next step and looks at all ranks; `asked` is needed beside what the integrator needs."""
        self.current_step = self.step + 1
        parts = self.substepping.of(self.current_step)
        dt = self.integrator.timestep / parts
        for part in range(parts):
            with self.timers.phase("integrate"):
                clock = Clock(self.current_step, dt, part, parts, self.stage_start.step)
                self.evaluation = Evaluation()  # its arrays must not be in memory beside the new ones
                self.evaluation = self.integrator.step(
                    self.state, lambda state, needed: self.forces(state, needed | asked), clock
                )
            self._look(dt)

    def allows_windows(self, n_atoms: int, n_ranks: int) -> bool:
        """Tells if steps of so many atoms on so many ranks may be made in windows."""
        integrator, exact = self.integrator, self.forces.potential.info.bit_exact
        if n_ranks == 1 or n_atoms > MOST_ATOMS * n_ranks or self.state.device != HOST:
            return False
        return exact and isinstance(integrator, LocalSteps) and integrator.steps_are_local

    def _unchecked_steps(self, last_step: int) -> int:
        """Number of steps from here that may be made in a window; the same on all ranks."""
        if not self.allows_windows(self.state.n_total, self.comm.size):
            return 0
        if np.isinf(self.forces.excess):  # there are no lists
            return 0
        most = min(self.windows.length(), last_step - self.step)
        for k in range(most):
            step = self.step + 1 + k
            if self.substepping.of(step) > 1 or self._due(step):
                return k
        return most

    def _make_window(self, n_steps: int) -> None:
        """Makes steps without a look at other ranks, or the first ones up to a fault.

        Raises:
            PhysicsError: as of `start`.
        """
        first, saved = self.step, SavedState(self.state, self.integrator)
        fault = self._make_unchecked(n_steps)
        reached = first + n_steps if fault is None else fault.step - 1
        worst = self._meet(np.array([-float(reached)]), n_steps)
        reached = -int(worst[0])
        if reached == first + n_steps:
            self.step = reached
            return
        saved.restore()
        again = self._make_unchecked(reached - first)
        self.comm.raise_together(None if again is None else again.error or RuntimeError("a step cannot be repeated"))
        self.step, self._met, rebuilds = reached, time.perf_counter(), self.forces.rebuilds
        self._move(NOTHING_MORE)
        # An error that does not come again is no better for that, unless a list was out of date when it came.
        again = fault if self.forces.rebuilds == rebuilds else None
        self.comm.raise_together(again.error if again is not None and again.step == self.current_step else None)
        self.step = self.current_step

    def _make_unchecked(self, n_steps: int) -> Fault | None:
        """Makes steps without a look at other ranks; after a fault of this rank only its messages."""
        fault, dt = None, self.integrator.timestep
        for step in range(self.step + 1, self.step + n_steps + 1):
            self.current_step = step
            if fault is not None:
                self.forces.exchange_only(self.state)
                continue
            self.evaluation = Evaluation()
            try:
                with self.timers.phase("integrate"):
                    clock = Clock(step, dt, first=self.stage_start.step)
                    self.evaluation = self.integrator.step(self.state, self.forces.unchecked, clock)
            except LocalFaultError as found:
                fault = Fault(step, found.error)
            else:
                self.windows.note(self.forces.excess)
                if (self._excesses(dt) > 0.0).any():
                    fault = Fault(step)
        return fault

    def potential_energy(self) -> float:
        """Potential energy of the present step, eV; NaN of a potential without energies (collective)."""
        energy = self.evaluation.energy  # there, or not, on all ranks alike: it follows from the potential
        return np.nan if energy is None else float(self.comm.reduce(summed(energy, "energy", self.state))[0])

    def measure(self) -> Thermo:
        """Global observables of the present step (collective).

        Energies are NaN of a potential without energies; pressure and stress are NaN where it has no virial.
        """
        evaluation, comm = self.evaluation, self.comm
        potential, virial = self.potential_energy(), np.full(6, np.nan)
        if evaluation.virial is not None:
            virial = comm.reduce(evaluation.virial)
        observed = thermo(
            potential=potential,
            kinetic=comm.reduce(kinetic_tensor(self.state)),
            virial=virial,
            volume=self.state.cell.volume,
            extended_energy=self.integrator.extended_energy() + self._external_energy(),
            degrees_of_freedom=self.integrator.degrees_of_freedom,
            mass=self._total_mass() if self.changes_cell else np.nan,
        )
        std = evaluation.force_std
        return observed if std is None else replace(observed, max_force_std=comm.max(float(std.max(initial=0.0))))

    def _external_energy(self) -> float:
        """Energy that makes up for the work of applied forces and of prescribed velocities, eV (collective)."""
        energy, applied = 0.0, self.forces.applied
        if applied is not None:
            energy += float(self.comm.reduce(applied.energy(self.state))[0])
        if WORK.name in self.state.fields:
            energy += float(self.comm.reduce(summed(self.state.array_local(WORK.name), "energy", self.state))[0])
        return energy

    def _total_mass(self) -> float:
        """Mass of the whole system, amu (collective)."""
        if self._mass is None:
            self._mass = float(self.comm.reduce(total_mass(self.state))[0])
        return self._mass

    def _excesses(self, dt: float) -> NDArray[np.float64]:
        """Excess of this rank's atoms over the guard's limits after a step of `dt` fs, (3,); see `Guard.measure`."""
        with self.timers.phase("guard"):
            return Guard.FINE if self.guard is None else self.guard.measure(self.state, self.forces.neighbors, dt)

    def _meet(self, found: NDArray[np.float64], n_steps: int) -> NDArray[np.float64]:
        """The one reduction after a step or a window: what was found, requests to stop, and what windows depend on.

        Args:
            found: (k,) float64.
            n_steps: since the last time.

        Returns:
            (k,) the largest of what the ranks have found.
        """
        if self.comm.size == 1:
            self._stopping = int(self.stop_wanted())
            return found
        forces, seconds = self.forces, (time.perf_counter() - self._met) / n_steps
        told = np.concatenate([found, [float(self.stop_wanted())], self.windows.report(n_steps, seconds)])
        with self.timers.phase("guard"):
            worst: NDArray[np.float64] = self.comm.max(told)
        self._stopping = int(worst[len(found)])
        self.windows.learn(worst[len(found) + 1 :], rebuilt=forces.rebuilds > self._rebuilds)
        self._rebuilds = forces.rebuilds
        return worst[: len(found)]

    def _look(self, dt: float) -> None:
        """Looks at the end of a step, or a part of one, of `dt` fs at all ranks: guards, and requests to stop."""
        lists = self.forces.neighbors
        self.windows.note(self.forces.excess)
        worst = self._meet(self._excesses(dt), 1)
        with self.timers.phase("guard"):
            if self.guard is not None:
                self.guard.require(worst, self.state, lists, dt)
                if self.integrator.changes_cell:
                    self.guard.cell(self.stage_start.volume, self.state.cell.volume, self.measure)

    def _due(self, step: int) -> list[Observer]:
        return sorted((o for o in self.observers if o.trigger(step)), key=lambda o: o.priority)

    def _report(self, due: Sequence[Observer]) -> None:
        if not due:
            return
        with self.timers.phase("output"):
            thermo = self.measure() if "thermo" in needs_of(due) else None
            if thermo is not None and self.guard is not None:
                self.guard.temperature(thermo)
            snapshot = Snapshot(
                step=self.step, time=self.time, state=self.state, wall=self.wall,
                evaluation=self.evaluation, thermo=thermo,
            )
            for observer in due:
                with self.comm.collective_errors():  # one that fails on some ranks only must end all of them
                    observer(snapshot)
