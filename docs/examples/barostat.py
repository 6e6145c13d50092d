"""A barostat: velocity Verlet in a cell that swells and shrinks toward a pressure.

    kick(dt/2)  drift(dt)  strain(μ)  forces  kick(dt/2)  measure P

μ³ = 1 − (dt/τ) (P₀ − P)/B: Berendsen, Postma, van Gunsteren, DiNola, Haak, J. Chem. Phys. 81, 3684 (1984). P is the
pressure after the step before. Nothing is conserved, and the fluctuations are those of no ensemble: for equilibration.
"""

from __future__ import annotations

import math
from typing import Annotated, Any, ClassVar, Literal

from allegro_md.config.dynamics import MotionConfig
from allegro_md.config.fields import Quantity, Time
from allegro_md.errors import InputError
from allegro_md.evaluation import Evaluation, Needs
from allegro_md.integrators.base import Clock, EvaluateForces, Setting
from allegro_md.integrators.steps import drift, kick, strain
from allegro_md.observables import kinetic_tensor
from allegro_md.state import AtomState, Field
from allegro_md.units import EV_PER_A3_IN_GPA

LARGEST_STEP = 0.03
"""Largest relative change of the volume in one step: a start far from equilibrium does not tear the cell."""


class BerendsenConfig(MotionConfig):
    """Keys of ``[dynamics]`` beside those of every ensemble.

    Attributes:
        pressure: P₀, GPa.
        barostat_time: relaxation time τ, fs.
        bulk_modulus: an estimate of B, GPa; the pressure relaxes with the time τ if it is right.
    """

    ensemble: Literal["berendsen"]
    pressure: Annotated[float, Quantity("pressure", zero=True)]
    barostat_time: Time = 1000.0
    bulk_modulus: Annotated[float, Quantity("pressure")]


class Berendsen:
    """Relaxes the pressure, isotropically."""

    needs: ClassVar[Needs] = frozenset({"virial"})
    stochastic: ClassVar[bool] = False
    order: ClassVar[int] = 0
    heats_atoms_at_rest: ClassVar[bool] = True
    changes_cell: ClassVar[bool] = True
    fields: ClassVar[tuple[Field, ...]] = ()

    def __init__(self, table: BerendsenConfig, setting: Setting) -> None:
        """Refuses what has no pressure, before anything runs."""
        if "virial" not in setting.info.provides:
            raise InputError("the potential gives no virial, so there is no pressure", "dynamics.ensemble", 'use "nve"')
        if not all(setting.cell.periodic):
            raise InputError("the cell is not periodic along all axes", "dynamics.ensemble", 'use "nve"')
        self.timestep, self.max_temperature, self.finished = table.timestep, 0.0, False
        self.degrees_of_freedom = setting.degrees_of_freedom(table.remove_momentum)
        self._table, self._collective = table, setting.collective
        self._pressure = math.nan  # after the step before, GPa

    def prepare(self, state: AtomState, evaluation: Evaluation) -> None:
        """Measures the pressure at the beginning of a run, and of its continuation."""
        self._pressure = self._measure(state, evaluation)

    def step(self, state: AtomState, forces: EvaluateForces, clock: Clock) -> Evaluation:
        """Makes one step; see the module."""
        kick(state, 0.5 * clock.dt)
        drift(state, clock.dt)
        factor = self._collective.on_root(lambda: self._stretch(clock.dt))  # cbrt is of libm
        strain(state, factor * state.cell.matrix)  # before the forces: they belong to the positions on return
        evaluation = forces(state, self.needs)
        kick(state, 0.5 * clock.dt)
        self._pressure = self._measure(state, evaluation)
        return evaluation

    def _measure(self, state: AtomState, evaluation: Evaluation) -> float:
        """P = (Σ m v² + tr W)/(3 V), GPa, the same bits on all ranks."""
        assert evaluation.virial is not None
        total = self._collective.reduce(kinetic_tensor(state)) + self._collective.reduce(evaluation.virial)
        return float(total[0] + total[1] + total[2]) / (3.0 * state.cell.volume) * EV_PER_A3_IN_GPA

    def _stretch(self, dt: float) -> float:
        """The factor μ for all lengths."""
        change = dt / self._table.barostat_time * (self._pressure - self._table.pressure) / self._table.bulk_modulus
        return math.cbrt(1.0 + max(-LARGEST_STEP, min(LARGEST_STEP, change)))

    def extended_energy(self) -> float:
        return 0.0

    def state_dict(self) -> dict[str, Any]:
        return {}  # the pressure follows from the positions and velocities

    def load_state_dict(self, state: dict[str, Any]) -> None:
        pass


def build(table: BerendsenConfig, setting: Setting) -> Berendsen:
    """Makes the integrator of an input table."""
    return Berendsen(table, setting)
