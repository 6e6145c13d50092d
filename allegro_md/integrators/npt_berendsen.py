"""Pressure by weak coupling, for equilibration only; temperature by stochastic velocity rescaling.

    kick(dt/2)  drift(dt)  strain(dt)  forces  kick(dt/2)  rescale velocities(dt)

The cell is strained by (β dt/3τ) (P − P₀), along the strains that move, and positions with it; velocities stay as they
are. Berendsen, Postma, van Gunsteren, DiNola, Haak, J. Chem. Phys. 81, 3684 (1984), doi:10.1063/1.448118. P has the
velocities of that moment and the virial of the step before. The volume relaxes to its mean, but fluctuates as in no
ensemble. Conserved: K + U less what the rescaling of velocities gives, less the work −½ (Ξ₁ + Ξ₂) : strain that the
strain does on U, with the virials Ξ before and after it.

| symbol | code |
|---|---|
| β/3τ | `_mobility`, Å³/(eV·fs) |
| P₀ | `_target.tensor`, eV/Å³ |
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from allegro_md.cell import product
from allegro_md.config.fields import Quantity
from allegro_md.config.pressure import PressureConfig
from allegro_md.evaluation import Evaluation, Needs
from allegro_md.integrators.barostat import LARGEST_STRAIN, CellForces, too_fast
from allegro_md.integrators.base import Clock, EvaluateForces, Setting
from allegro_md.integrators.cell_strain import Matrix, propagators, strains_of, tensor_of
from allegro_md.integrators.nvt_bussi import RescalingConfig, StochasticRescaling
from allegro_md.integrators.pressure_target import PressureTarget
from allegro_md.integrators.steps import drift, kick, reduce_cell, strain
from allegro_md.observables import kinetic_tensor
from allegro_md.state import AtomState
from allegro_md.state import Field as AtomField
from allegro_md.units import EV_PER_A3_IN_GPA


class NptBerendsenConfig(RescalingConfig, PressureConfig):
    """Pressure by weak coupling, for equilibration (Berendsen).

    Attributes:
        compressibility: estimate of β, 1/GPa; the volume relaxes in `barostat_time` where it is right.
    """

    ensemble: Literal["npt-berendsen"]
    compressibility: Annotated[float, Quantity("compressibility")] = Field(examples=['"4.5e-5/bar"'])


class BerendsenBarostat:
    """Relaxation toward a pressure; no ensemble."""

    needs: ClassVar[Needs] = frozenset({"virial"})
    stochastic: ClassVar[bool] = True
    order: ClassVar[int] = 2
    heats_atoms_at_rest: ClassVar[bool] = False
    changes_cell: ClassVar[bool] = True
    fields: ClassVar[tuple[AtomField, ...]] = ()
    caution: ClassVar[str] = (
        "npt-berendsen is for equilibration only: it gives the mean volume, but the volume fluctuates as in no "
        "ensemble. Take averages from a run with npt-crescale or npt-mtk"
    )

    def __init__(self, table: NptBerendsenConfig, setting: Setting) -> None:
        """Prepares the integrator of a ``[dynamics]`` table.

        Raises:
            InputError: the system has no degree of freedom, or no pressure along the strains of the cell.
        """
        self._thermostat = StochasticRescaling(table, setting)
        self.timestep = table.timestep
        self.degrees_of_freedom = self._thermostat.degrees_of_freedom
        self.max_temperature = self._thermostat.max_temperature
        self.finished = False
        self._strains = strains_of(table)
        self._strains.require_fit(setting, table.ensemble)
        self._target = PressureTarget(table)
        self._mobility = table.compressibility * EV_PER_A3_IN_GPA / (3.0 * table.barostat_time)
        self._collective = setting.collective
        self._virial: NDArray[np.float64] = np.full(6, np.nan)
        self._work = 0.0

    def prepare(self, state: AtomState, evaluation: Evaluation) -> None:
        """Takes the virial of the first evaluation."""
        assert evaluation.virial is not None
        self._virial = self._collective.reduce(evaluation.virial)

    def step(self, state: AtomState, forces: EvaluateForces, clock: Clock) -> Evaluation:
        """Makes one step; see the module."""
        self._target.move(clock.end)
        kick(state, 0.5 * clock.dt)
        drift(state, clock.dt)
        kinetic = tensor_of(self._collective.reduce(kinetic_tensor(state)))
        driving = CellForces(kinetic, tensor_of(self._virial), state.cell.volume)
        strained, deformation = self._collective.on_root(lambda: self._deformation(driving, clock.dt))
        strain(state, product(state.cell.matrix, deformation))
        reduce_cell(state)
        evaluation = forces(state, self.needs)
        kick(state, 0.5 * clock.dt)
        self.prepare(state, evaluation)
        self._work -= 0.5 * float(((driving.virial + tensor_of(self._virial)) * strained).sum())
        self._thermostat.rescale(state, clock)
        return evaluation

    def extended_energy(self) -> float:
        """Less what velocity rescaling and the strain of the cell have given to the atoms, eV."""
        return self._thermostat.extended_energy() - self._work

    def state_dict(self) -> dict[str, Any]:
        """The work so far; the virial follows from the positions."""
        return {"work": self._work, "thermostat": self._thermostat.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes up from a `state_dict`."""
        self._work = state["work"]
        self._thermostat.load_state_dict(state["thermostat"])

    def _deformation(self, forces: CellForces, dt: float) -> tuple[Matrix, Matrix]:
        """The logarithmic strain of a step, and the deformation, (3, 3) each; on rank 0.

        Raises:
            PhysicsError: the cell moves too fast.
        """
        excess = (forces.kinetic + forces.virial) / forces.volume - self._target.tensor
        rate = self._mobility * self._strains.project(excess)
        largest = float(np.abs(rate).max()) * dt
        if not largest < LARGEST_STRAIN:
            raise too_fast(largest, forces, self._target.hydrostatic)
        return rate * dt, propagators(rate, 0.0, dt).deformation


def build(table: NptBerendsenConfig, setting: Setting) -> BerendsenBarostat:
    """Builds the integrator of a ``[dynamics]`` table."""
    return BerendsenBarostat(table, setting)
