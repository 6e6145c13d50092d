"""The step loop."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np

from allegro_md.comm import Comm
from allegro_md.errors import InterruptedRun
from allegro_md.integrators.base import Integrator
from allegro_md.observables import kinetic_tensor, summed, thermo
from allegro_md.reporting import Reporter, Snapshot, Thermo, needs_of
from allegro_md.simulation.forces import Forces
from allegro_md.state import AtomState
from allegro_md.timers import Timers


class StepLoop:
    """Makes steps and calls the reporters that are due.

    Attributes:
        state: atoms of this rank.
        step: steps made so far.
        forces: see `Forces`.
        integrator: moves the atoms.
        reporters: look at it now and then.
    """

    def __init__(
        self,
        state: AtomState,
        forces: Forces,
        integrator: Integrator,
        comm: Comm,
        timers: Timers,
        reporters: Sequence[Reporter] = (),
        step: int = 0,
        wall: float = 0.0,
    ) -> None:
        self.state = state
        self.forces = forces
        self.integrator = integrator
        self.comm = comm
        self.timers = timers
        self.reporters = list(reporters)
        self.step = step
        self._began = time.perf_counter() - wall

    @property
    def wall(self) -> float:
        """Seconds spent on this run, those before a continuation included."""
        return time.perf_counter() - self._began

    def start(self) -> None:
        """Forces at the present positions, and the reports due at the present step."""
        self.forces.want_virial = True
        self.forces(self.state)
        self._report(self._due(self.step))

    def advance(self, last_step: int) -> None:
        """Steps until `last_step` is made.

        Raises:
            InterruptedRun: a stop was requested; the step under way is complete and reported.
        """
        while self.step < last_step:
            index = self.step + 1
            due = self._due(index)
            self.forces.want_virial = self.integrator.needs_virial or "thermo" in needs_of(due)
            with self.timers.phase("step"):
                self.integrator.step(self.state, self.forces, index)
            self.step = index
            self._report(due)
            if self.forces.stopping:
                raise InterruptedRun(f"stopped on request after step {self.step}")

    def measure(self) -> Thermo:
        """Global observables of the present step (collective).

        Pressure and stress are NaN where the potential has no virial.
        """
        result = self.forces.result
        virial = np.full(6, np.nan)
        if not self.comm.any(result.virial is None) and result.virial is not None:
            virial = self.comm.reduce(summed(result.virial, "virial", self.state))
        return thermo(
            potential=float(self.comm.reduce(summed(result.energy, "energy", self.state))[0]),
            kinetic=self.comm.reduce(kinetic_tensor(self.state)),
            virial=virial,
            volume=self.state.cell.volume,
            thermostat_energy=self.integrator.thermostat_energy(),
            degrees_of_freedom=degrees_of_freedom(self.state.n_total),
        )

    def _due(self, step: int) -> list[Reporter]:
        return [r for r in self.reporters if r.trigger(step)]

    def _report(self, due: Sequence[Reporter]) -> None:
        if not due:
            return
        with self.timers.phase("output"):
            snapshot = Snapshot(
                step=self.step,
                time=self.step * self.integrator.timestep,
                state=self.state,
                wall=self.wall,
                thermo=self.measure() if "thermo" in needs_of(due) else None,
            )
            for reporter in due:
                reporter(snapshot)


def degrees_of_freedom(n_atoms: int) -> int:
    """3N − 3 where total momentum is conserved, as it is for every potential here."""
    return max(0, 3 * n_atoms - 3)
