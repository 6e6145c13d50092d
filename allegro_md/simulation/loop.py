"""The step loop."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from allegro_md.comm import Comm
from allegro_md.errors import InterruptedRun
from allegro_md.guards import Guard
from allegro_md.integrators.base import Integrator
from allegro_md.observables import kinetic_tensor, summed, thermo
from allegro_md.potentials.base import Virial
from allegro_md.reporting import Reporter, Snapshot, Thermo, needs_of
from allegro_md.simulation.forces import ForceEvaluator
from allegro_md.state import AtomState
from allegro_md.stopping import REASONS
from allegro_md.timers import Timers

MOST_VIRIALS = 1_000_000
"""Own atoms up to which the virial of each is there to be inspected at the start."""


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


class StepLoop:
    """Makes steps and calls the reporters that are due.

    Attributes:
        state: atoms of this rank.
        step: steps made so far.
        underway: the step that is being made, or the last one.
        forces: see `ForceEvaluator`.
        integrator: moves the atoms.
        timestep: of a whole step, fs.
        reporters: look at it now and then.
        guard: looks at every step.
        refinement: steps to be made in parts.
    """

    def __init__(
        self,
        state: AtomState,
        forces: ForceEvaluator,
        integrator: Integrator,
        comm: Comm,
        timers: Timers,
        reporters: Sequence[Reporter] = (),
        step: int = 0,
        wall: float = 0.0,
        guard: Guard | None = None,
        substepping: Substepping = Substepping(),
    ) -> None:
        self.state = state
        self.forces = forces
        self.integrator = integrator
        self.comm = comm
        self.timers = timers
        self.reporters = list(reporters)
        self.step = self.current_step = step
        self.timestep = integrator.timestep
        self.guard = guard
        self.substepping = substepping
        self._began = time.perf_counter() - wall

    @property
    def wall(self) -> float:
        """Seconds spent on this run, those before a continuation included."""
        return time.perf_counter() - self._began

    def start(self, inspect: Callable[[], None] | None = None) -> None:
        """Forces at the present positions, and the reports due at the present step.

        Args:
            inspect: called in between, with forces and virial in place.

        Raises:
            PhysicsError: the forces cannot be, or a guard objects.
        """
        self.forces.want_force_std = True
        self.forces.want_virial = Virial.PER_ATOM if self.state.n_local <= MOST_VIRIALS else Virial.TOTAL
        self.forces(self.state)
        self._look(0.0)
        if inspect is not None:
            inspect()
        self._report(self._due(self.step))

    def advance(self, last_step: int) -> None:
        """Steps until `last_step` is made.

        Raises:
            InterruptedRun: a stop was requested; the step under way is complete and reported.
            PhysicsError: as in `start`.
        """
        while self.step < last_step:
            self.current_step = self.step + 1
            due = self._due(self.current_step)
            needs = needs_of(due)
            wanted = self.integrator.needs_virial or "thermo" in needs
            self.forces.want_virial = Virial.TOTAL if wanted else Virial.NONE
            self.forces.want_force_std = not needs.isdisjoint({"thermo", "force_std"})
            parts = self.substepping.of(self.current_step)
            self.integrator.timestep = self.timestep / parts
            for _ in range(parts):
                with self.timers.phase("step"):
                    self.integrator.step(self.state, self.forces, self.current_step)
                self._look(self.integrator.timestep)
            self.step = self.current_step
            self._report(due)
            if self.forces.stopping:
                raise InterruptedRun(f"{REASONS[self.forces.stopping]}; stopped after step {self.step}")

    def measure(self) -> Thermo:
        """Global observables of the present step (collective).

        Pressure and stress are NaN where the potential has no virial.
        """
        result, std = self.forces.result, self.forces.force_std
        virial = np.full(6, np.nan)
        if not self.comm.any(result.virial is None) and result.virial is not None:
            virial = self.comm.reduce(result.virial)
        observed = thermo(
            potential=float(self.comm.reduce(summed(result.energy, "energy", self.state))[0]),
            kinetic=self.comm.reduce(kinetic_tensor(self.state)),
            virial=virial,
            volume=self.state.cell.volume,
            thermostat_energy=self.integrator.thermostat_energy(),
            degrees_of_freedom=degrees_of_freedom(self.state.n_total),
        )
        return observed if std is None else replace(observed, max_force_std=self.comm.max(float(std.max(initial=0.0))))

    def _look(self, timestep: float) -> None:
        if self.guard is not None:
            with self.timers.phase("guard"):
                self.guard(self.state, self.forces.neighbors, timestep)

    def _due(self, step: int) -> list[Reporter]:
        return [r for r in self.reporters if r.trigger(step)]

    def _report(self, due: Sequence[Reporter]) -> None:
        if not due:
            return
        with self.timers.phase("output"):
            thermo = self.measure() if "thermo" in needs_of(due) else None
            if thermo is not None and self.guard is not None:
                self.guard.temperature(thermo)
            snapshot = Snapshot(
                step=self.step, time=self.step * self.timestep, state=self.state, wall=self.wall, thermo=thermo,
                force_std=self.forces.force_std,
            )  # fmt: skip
            for reporter in due:
                reporter(snapshot)


def degrees_of_freedom(n_atoms: int) -> int:
    """3N − 3 where total momentum is conserved, as it is for every potential here."""
    return max(0, 3 * n_atoms - 3)
