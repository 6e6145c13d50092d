"""Constant temperature and pressure: Martyna–Tobias–Klein, with Nosé–Hoover chains on the atoms and on the cell.

    dx/dt = v + x G        dh/dt = h G
    m dv/dt = F − m v (G + tr(G)/f) − m v_ξ1 v

and the equation of G in `barostat`; chains in `chain`. Martyna, Tobias, Klein, J. Chem. Phys. 101, 4177 (1994),
doi:10.1063/1.467468; measure-preserving integrator of Tuckerman, Alejandre, López-Rendón, Jochim, Martyna, J. Phys. A
39, 5629 (2006), doi:10.1088/0305-4470/39/19/S18:

    chains(dt/2)  push G(dt/2)  kick(dt/2)  drift(dt)  forces  kick(dt/2)  push G(dt/2)  chains(dt/2)

Kicks and drifts are those of a cell that moves at the rate G (`cell_strain`).
Conserved: K + U + P V + ½ W tr G² + energies of both chains, less the work of ramps; with a tensor as target
P V + V₀ S : E stands for P V (`pressure_target`).

| symbol | code |
|---|---|
| f, G, W | `degrees_of_freedom`, `barostat.rate`, `barostat.mass` |
| ξ, η | `chain` of the atoms, `barostat.chain` |
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from allegro_md.config.dynamics import ChainConfig
from allegro_md.config.fields import Whole
from allegro_md.config.pressure import PressureConfig
from allegro_md.evaluation import Evaluation, Needs
from allegro_md.integrators.barostat import Barostat, CellForces
from allegro_md.integrators.base import Clock, EvaluateForces, Setting, require_degrees_of_freedom
from allegro_md.integrators.cell_strain import Matrix, Propagators, tensor_of
from allegro_md.integrators.chain import NoseHooverChain
from allegro_md.integrators.schedule import Ramp
from allegro_md.integrators.steps import drift_with_cell, kick_with_cell, reduce_cell, scale_velocities
from allegro_md.observables import kinetic_tensor
from allegro_md.state import AtomState, Field
from allegro_md.units import BOLTZMANN


class NptMtkConfig(ChainConfig, PressureConfig):
    """Constant temperature and pressure (Martyna, Tobias, Klein).

    Attributes:
        barostat_chain: number of thermostats in the chain of the cell.
    """

    ensemble: Literal["npt-mtk"]
    barostat_chain: Annotated[int, Whole(1)] = 3


@dataclass(frozen=True)
class Half:
    """Half a step of cell and chains, as rank 0 has made it for all ranks.

    Attributes:
        factor: for all velocities.
        rate: (3, 3) strain rate, 1/fs.
        chains: positions and velocities of the chains, as `NoseHooverChain.propagated` gives them.
        motion: of the cell in this step; None in the second half, which has that of the first.
    """

    factor: float
    rate: Matrix
    chains: list[tuple[list[float], list[float]]]
    motion: Propagators | None = None


class MartynaTobiasKlein:
    """Isothermal–isobaric ensemble; isoenthalpic–isobaric without thermostats.

    Attributes:
        target: temperature over the run, K; None without thermostats.
        chain: thermostats of the atoms; None without any.
        barostat: the cell.
    """

    needs: ClassVar[Needs] = frozenset({"virial"})
    stochastic: ClassVar[bool] = False
    order: ClassVar[int] = 2
    heats_atoms_at_rest: ClassVar[bool] = False
    changes_cell: ClassVar[bool] = True
    fields: ClassVar[tuple[Field, ...]] = ()

    def __init__(self, table: PressureConfig, setting: Setting, kT: float) -> None:
        """Prepares the integrator without thermostats, the cell at rest; `thermalize` adds them.

        Args:
            table: keys of the input.
            setting: surroundings.
            kT: k_B T that sets the mass of the cell, eV.

        Raises:
            InputError: the system has no degree of freedom, or no pressure along the strains of the cell.
        """
        self.timestep = table.timestep
        self.degrees_of_freedom = setting.degrees_of_freedom(table.remove_momentum)
        require_degrees_of_freedom(self.degrees_of_freedom)
        self.max_temperature = 0.0
        self.finished = False
        self.barostat = Barostat(table, self.degrees_of_freedom, kT)
        self.barostat.strains.require_fit(setting, table.ensemble)
        self.target: Ramp | None = None
        self.chain: NoseHooverChain | None = None
        self._collective = setting.collective
        self._virial: NDArray[np.float64] = np.full(6, np.nan)
        self._volume = np.nan
        self._ramp_work = 0.0

    def thermalize(self, table: NptMtkConfig) -> None:
        """Puts thermostats on the atoms and on the cell."""
        self.target = Ramp(*table.ramp, table.steps)
        self.max_temperature = self.target.highest
        # The masses belong to the hotter end of a ramp and stay: a change would put work into the chains.
        kT, factors = BOLTZMANN * self.target.highest, table.suzuki_yoshida
        freedom, strains = self.degrees_of_freedom, self.barostat.strains.count
        self.chain = NoseHooverChain(freedom, kT, table.thermostat_time, table.thermostat_chain, factors)
        self.barostat.chain = NoseHooverChain(strains, kT, table.barostat_time, table.barostat_chain, factors)
        for chain in self._chains:
            chain.kT = BOLTZMANN * self.target.first

    def prepare(self, state: AtomState, evaluation: Evaluation) -> None:
        """Takes the virial of the first evaluation."""
        self._take(state, evaluation)
        if not self.barostat.deformation.volume > 0.0:
            self.barostat.deformation.volume = self._volume

    def step(self, state: AtomState, forces: EvaluateForces, clock: Clock) -> Evaluation:
        """Makes one step; see the module."""
        self._set_targets(clock.end)
        driving = self._driving(state)
        first = self._collective.on_root(lambda: self._first_half(driving, clock.dt))
        self._take_up(first)
        motion = first.motion
        assert motion is not None
        kick_with_cell(state, 0.5 * clock.dt, first.factor * motion.damping, motion.gain)
        drift_with_cell(state, motion.deformation, motion.flight)
        self.barostat.deformation.grow(motion.deformation)
        reduce_cell(state)
        evaluation = forces(state, self.needs)
        kick_with_cell(state, 0.5 * clock.dt, motion.damping, motion.gain)
        self._take(state, evaluation)
        driving = self._driving(state)
        second = self._collective.on_root(lambda: self._second_half(driving, clock.dt))
        self._take_up(second)
        if self.chain is not None:
            scale_velocities(state, second.factor)
        return evaluation

    def extended_energy(self) -> float:
        """Energy of cell, outer pressure and chains less the work of ramps, eV."""
        chain = self.chain.energy() if self.chain is not None else 0.0
        return self.barostat.energy(self._volume) + chain - self._ramp_work

    def state_dict(self) -> dict[str, Any]:
        """Thermostats, cell, and the work of ramps; the virial follows from the positions."""
        return {
            "chain": None if self.chain is None else self.chain.state_dict(),
            "barostat": self.barostat.state_dict(),
            "ramp_work": self._ramp_work,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes up from a `state_dict`."""
        if self.chain is not None:
            self.chain.load_state_dict(state["chain"])
        self.barostat.load_state_dict(state["barostat"])
        self._ramp_work = state["ramp_work"]

    @property
    def _chains(self) -> list[NoseHooverChain]:
        return [chain for chain in (self.chain, self.barostat.chain) if chain is not None]

    def _set_targets(self, end: float) -> None:
        self._ramp_work += self.barostat.follow_ramp(end, self._volume)
        if self.target is not None:
            kT = BOLTZMANN * self.target(end)
            for chain in self._chains:
                self._ramp_work += (kT - chain.kT) * chain.winding
                chain.kT = kT

    def _take(self, state: AtomState, evaluation: Evaluation) -> None:
        assert evaluation.virial is not None
        self._virial, self._volume = self._collective.reduce(evaluation.virial), state.cell.volume

    def _driving(self, state: AtomState) -> CellForces:
        kinetic = self._collective.reduce(kinetic_tensor(state))
        return CellForces(tensor_of(kinetic), tensor_of(self._virial), self._volume)

    def _first_half(self, driving: CellForces, dt: float) -> Half:
        """Chains, then the push of the cell, and its motion in this step; on rank 0."""
        factor, chains, rate = self._thermostatted(driving.twice_kinetic, self.barostat.rate, 0.5 * dt)
        rate = self.barostat.pushed(rate, driving.scaled(factor), 0.5 * dt)
        return Half(factor, rate, chains, self.barostat.propagators(rate, driving, dt))

    def _second_half(self, driving: CellForces, dt: float) -> Half:
        """The push of the cell, then chains; on rank 0."""
        pushed = self.barostat.pushed(self.barostat.rate, driving, 0.5 * dt)
        factor, chains, rate = self._thermostatted(driving.twice_kinetic, pushed, 0.5 * dt)
        return Half(factor, rate, chains)

    def _thermostatted(
        self, twice_kinetic: float, rate: Matrix, time: float
    ) -> tuple[float, list[tuple[list[float], list[float]]], Matrix]:
        """Both chains over a time (fs): factor for the atoms, the chains, and the strain rate (3, 3)."""
        if self.chain is None or self.barostat.chain is None:
            return 1.0, [], rate
        factor, *atoms = self.chain.propagated(0.5 * twice_kinetic, time)
        damping, *cell = self.barostat.chain.propagated(self.barostat.kinetic_energy(rate), time)
        return factor, [(atoms[0], atoms[1]), (cell[0], cell[1])], np.asarray(damping * rate)

    def _take_up(self, half: Half) -> None:
        self.barostat.rate = half.rate
        for chain, (positions, velocities) in zip(self._chains, half.chains, strict=True):
            chain.positions, chain.velocities = positions, velocities


def build(table: NptMtkConfig, setting: Setting) -> MartynaTobiasKlein:
    """Builds the integrator of a ``[dynamics]`` table."""
    integrator = MartynaTobiasKlein(table, setting, BOLTZMANN * max(table.ramp))
    integrator.thermalize(table)
    return integrator
