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

from typing import ClassVar, Literal

import numpy as np

from allegro_md.cell import product
from allegro_md.evaluation import Evaluation
from allegro_md.integrators.barostat import LARGEST_STRAIN, CellForces, too_fast
from allegro_md.integrators.base import Clock, EvaluateForces, Setting
from allegro_md.integrators.cell_strain import Matrix, propagators, tensor_of
from allegro_md.integrators.relaxed_cell import RelaxedCell, RelaxedCellConfig
from allegro_md.integrators.steps import drift, kick, reduce_cell, strain
from allegro_md.observables import kinetic_tensor
from allegro_md.state import AtomState


class NptBerendsenConfig(RelaxedCellConfig):
    """Pressure by weak coupling, for equilibration (Berendsen)."""

    ensemble: Literal["npt-berendsen"]


class BerendsenBarostat(RelaxedCell):
    """Relaxation toward a pressure; no ensemble."""

    caution: ClassVar[str] = (
        "npt-berendsen is for equilibration only: it gives the mean volume, but the volume fluctuates as in no "
        "ensemble. Take averages from a run with npt-crescale or npt-mtk"
    )

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
        self._given -= 0.5 * float(((driving.virial + tensor_of(self._virial)) * strained).sum())
        self._thermostat.rescale(state, clock)
        return evaluation

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
