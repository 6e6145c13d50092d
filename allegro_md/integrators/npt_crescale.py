"""Constant temperature and pressure: stochastic cell rescaling, with stochastic velocity rescaling.

The volume follows an equation of first order in time. With λ = √V, a compressibility β and a relaxation time τ,

    dλ = (β λ/2τ) [P − P₀ + k_B T/(2V)] dt + sqrt(k_B T β/(2τ)) dW

Bernetti, Bussi, J. Chem. Phys. 153, 114107 (2020), doi:10.1063/5.0020514. P is the pressure at this instant, kinetic
part included. Positions are stretched with the cell, and momenta shrink by the same factor. An anisotropic cell has, in
addition, logarithmic strains g at constant volume, along orthonormal traceless directions B of the axes that move,

    dg = (β/3τ) (B : P) dt + sqrt(2 k_B T β/(3τV)) dW

which with the volume make up the anisotropic form of Del Tatto, Raiteri, Bernetti, Bussi, Appl. Sci. 12, 1139 (2022),
doi:10.3390/app12031139, for a diagonal cell matrix. If n of three axes move, β and noise of λ are n/3 of the above.

    kick(dt/2)  drift(dt/2)  stretch(dt)  drift(dt/2)  forces  kick(dt/2)  rescale velocities(dt)

P of the stretch has the velocities of that moment and the virial of the step before. Every variable z (λ, g) moves by
Δz = −D dt Φ'/k_B T + noise, with Φ' = ∂Φ/∂z and Φ = K + U + P₀V − k_B T ln λ. The heat of such a move is
q = ½ Δz (Φ'₁ + Φ'₂), with the derivatives before and after it.
Conserved: K + U less the sum over steps of q − P₀ ΔV + k_B T Δln λ, less what velocity rescaling gives. The effective
energy of the paper has −D dt (Φ'₂² − Φ'₁²)/(4 k_B T) in q besides, which needs the virial on either side of the stretch
and vanishes with dt.

| symbol | code |
|---|---|
| β/3τ | `_mobility`, Å³/(eV·fs) |
| V, P V | `CellForces.volume` (Å³), the sum of its tensors (eV) |
| Δz, Φ'₁ | `_Stretch.moves`, `_Stretch.slopes` |
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import model_validator

from allegro_md.config.fields import Choice, problem
from allegro_md.evaluation import Evaluation
from allegro_md.integrators.barostat import LARGEST_STRAIN, CellForces, too_fast
from allegro_md.integrators.base import Clock, EvaluateForces, Setting
from allegro_md.integrators.cell_strain import Matrix, tensor_of
from allegro_md.integrators.relaxed_cell import RelaxedCell, RelaxedCellConfig
from allegro_md.integrators.steps import drift_with_cell, kick, kick_with_cell
from allegro_md.observables import kinetic_tensor
from allegro_md.state import AtomState
from allegro_md.units import BOLTZMANN


class NptCrescaleConfig(RelaxedCellConfig):
    """Constant temperature and pressure (Bernetti, Bussi).

    Attributes:
        cell: what moves: the volume, or the three axes.
    """

    ensemble: Literal["npt-crescale"]
    cell: Annotated[str, Choice(("isotropic", "anisotropic"))] = "isotropic"

    @model_validator(mode="after")
    def _one_pressure(self) -> NptCrescaleConfig:
        for six in self.pressure_ramp:
            if len(set(six[:3])) > 1 or any(six[3:]):
                raise problem("npt-crescale takes one pressure, not a tensor", 'use ensemble = "npt-mtk"', "pressure")
        return self


@dataclass(frozen=True)
class _Stretch:
    """Moves of λ and of the strains at constant volume in one step.

    Attributes:
        factors: (3,) by which the axes are stretched.
        moves: Δz, of λ first.
        slopes: Φ' of each, before.
    """

    factors: NDArray[np.float64]
    moves: NDArray[np.float64]
    slopes: NDArray[np.float64]


class StochasticCellRescaling(RelaxedCell):
    """Isothermal–isobaric ensemble by equations of first order for the cell."""

    def __init__(self, table: NptCrescaleConfig, setting: Setting) -> None:
        """Prepares the integrator of a ``[dynamics]`` table.

        Raises:
            InputError: see `RelaxedCell`.
        """
        super().__init__(table, setting)
        self._seed = table.seed

    def step(self, state: AtomState, forces: EvaluateForces, clock: Clock) -> Evaluation:
        """Makes one step; see the module."""
        self._target.move(clock.end)
        kick(state, 0.5 * clock.dt)
        kinetic = tensor_of(self._collective.reduce(kinetic_tensor(state)))
        before = CellForces(kinetic, tensor_of(self._virial), state.cell.volume)
        stretch = self._collective.on_root(lambda: self._stretch(before, clock))
        factors = stretch.factors
        drift_with_cell(state, np.diag(factors), np.diag(0.5 * clock.dt * (factors + 1.0 / factors)))
        evaluation = forces(state, self.needs)
        kick_with_cell(state, 0.5 * clock.dt, np.diag(1.0 / factors), np.eye(3))
        self.prepare(state, evaluation)
        after = CellForces(kinetic / np.outer(factors, factors), tensor_of(self._virial), state.cell.volume)
        self._given += self._collective.on_root(lambda: self._heat(stretch, before, after, clock))
        self._thermostat.rescale(state, clock)
        return evaluation

    def _thermal(self, clock: Clock) -> float:
        """k_B T, eV."""
        return BOLTZMANN * self._thermostat.target(clock.end)

    def _slopes(self, forces: CellForces, kT: float) -> NDArray[np.float64]:
        """Φ' of λ, and of the strains at constant volume."""
        excess = self._strains.project(forces.kinetic + forces.virial - forces.volume * self._target.tensor)
        size = math.sqrt(forces.volume)
        of_volume = -(2.0 * float(np.trace(excess)) / self._strains.axes + kT) / size
        return np.array([of_volume, *(-float((b * excess).sum()) for b in self._strains.traceless)])

    def _stretch(self, forces: CellForces, clock: Clock) -> _Stretch:
        """Draws the moves of a step; on rank 0.

        Raises:
            PhysicsError: the cell moves too fast.
        """
        kT, axes, size = self._thermal(clock), self._strains.axes, math.sqrt(forces.volume)
        counter = np.array([0, 1, clock.substep, clock.step], dtype=np.uint64)  # the thermostat has 0 in place of 1
        random = np.random.Generator(np.random.Philox(key=self._seed, counter=counter))
        noise = random.standard_normal(1 + len(self._strains.traceless))
        slopes = self._slopes(forces, kT)
        diffusion = np.full(len(slopes), self._mobility * kT)
        diffusion[0] *= 0.25 * axes
        moves = _moves(slopes[:1], diffusion[:1], noise[:1], clock.dt, kT)
        growth = float(moves[0]) / size
        if not abs(growth) < 0.5:  # the logarithm below must exist
            raise too_fast(growth, forces, self._target.hydrostatic)
        diffusion[1:] /= (size + float(moves[0])) ** 2  # of the strains, at the new volume
        moves = np.append(moves, _moves(slopes[1:], diffusion[1:], noise[1:], clock.dt, kT))
        strain: Matrix = self._strains.project(np.eye(3)) * (2.0 * math.log1p(growth) / axes)
        for b, move in zip(self._strains.traceless, moves[1:], strict=True):
            strain = strain + move * b
        if not np.abs(strain).max() < LARGEST_STRAIN:
            raise too_fast(float(np.abs(strain).max()), forces, self._target.hydrostatic)
        return _Stretch(np.exp(np.diag(strain)), moves, slopes)

    def _heat(self, stretch: _Stretch, before: CellForces, after: CellForces, clock: Clock) -> float:
        """Energy that the stretch has given to K + U, eV: q − P₀ ΔV + k_B T Δln λ; on rank 0."""
        kT = self._thermal(clock)
        slopes = self._slopes(after, kT)
        heat = 0.5 * float((stretch.moves * (stretch.slopes + slopes)).sum())
        outer = self._target.hydrostatic * (after.volume - before.volume)
        return heat - outer + 0.5 * kT * math.log(after.volume / before.volume)


def _moves(
    slopes: NDArray[np.float64], diffusion: NDArray[np.float64], noise: NDArray[np.float64], dt: float, kT: float
) -> NDArray[np.float64]:
    """Moves Δz of m variables, (m,).

    Args:
        slopes: (m,) Φ', eV per unit of z.
        diffusion: (m,) D.
        noise: (m,) standard normal deviates.
        dt: fs.
        kT: eV.
    """
    return np.asarray(-diffusion * dt / kT * slopes + np.sqrt(2.0 * diffusion * dt) * noise)


def build(table: NptCrescaleConfig, setting: Setting) -> StochasticCellRescaling:
    """Builds the integrator of a ``[dynamics]`` table."""
    return StochasticCellRescaling(table, setting)
