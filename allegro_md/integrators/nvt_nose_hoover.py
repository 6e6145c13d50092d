"""Constant temperature: a Nosé–Hoover chain.

Martyna, Klein, Tuckerman, J. Chem. Phys. 97, 2635 (1992), doi:10.1063/1.463940; integrator of Martyna, Tuckerman,
Tobias, Klein, Mol. Phys. 87, 1117 (1996), doi:10.1080/00268979600100761:

    chain(dt/2)  kick(dt/2)  drift(dt)  forces  kick(dt/2)  chain(dt/2)

Conserved: K + U + Σ_k ½ Q_k v_k² + f k_B T ξ_1 + Σ_{k>1} k_B T ξ_k − W, where W is the work a temperature ramp has
done on the chain. Symbols: `integrators.chain`.
"""

from __future__ import annotations

from typing import Any, ClassVar

from allegro_md.config import NvtNoseHooverConfig
from allegro_md.evaluation import Evaluation
from allegro_md.integrators.base import (
    Clock,
    Collective,
    EvaluateForces,
    Integrator,
    Setting,
    require_degrees_of_freedom,
)
from allegro_md.integrators.chain import NoseHooverChain
from allegro_md.integrators.deformation import Deformable, Flow, build_flow
from allegro_md.integrators.schedule import Ramp
from allegro_md.integrators.separate import EVERYTHING, Part, nothing, separated
from allegro_md.integrators.steps import change_temperature, scale_velocities
from allegro_md.observables import kinetic_energy
from allegro_md.state import AtomState, Field
from allegro_md.units import BOLTZMANN


class NoseHoover(Deformable):
    """Canonical ensemble.

    Attributes:
        chain: the thermostats.
        target: temperature over the run, K.
        part: atoms that are thermostatted.
    """

    stochastic: ClassVar[bool] = False
    order: ClassVar[int] = 2
    heats_atoms_at_rest: ClassVar[bool] = False
    fields: ClassVar[tuple[Field, ...]] = ()

    def __init__(
        self,
        timestep: float,
        target: Ramp,
        thermostat_time: float,
        chain: int,
        suzuki_yoshida: int,
        degrees_of_freedom: int,
        collective: Collective,
        flow: Flow | None = None,
    ) -> None:
        """Prepares the integrator, the chain at rest.

        Args:
            timestep: fs.
            target: temperature, K.
            thermostat_time: τ, fs.
            chain: number of thermostats.
            suzuki_yoshida: key of `chain.SUZUKI_YOSHIDA`.
            degrees_of_freedom: f.
            collective: for the kinetic energy and for decisions.
            flow: deforms the cell.

        Raises:
            InputError: there is no degree of freedom.
        """
        require_degrees_of_freedom(degrees_of_freedom)
        super().__init__(flow or Flow())
        self.timestep = timestep
        self.degrees_of_freedom = degrees_of_freedom
        self.max_temperature = target.highest
        self.finished = False
        self.target = target
        self.part = EVERYTHING
        # The masses belong to the hotter end of a ramp and stay: a change would put work into the chain.
        kT = BOLTZMANN * target.highest
        self.chain = NoseHooverChain(degrees_of_freedom, kT, thermostat_time, chain, suzuki_yoshida)
        self.chain.kT = BOLTZMANN * target.first
        self._collective = collective
        self._ramp_work = 0.0

    def step(self, state: AtomState, forces: EvaluateForces, clock: Clock) -> Evaluation:
        """Makes one step; see the module."""
        self.begin(state, clock)
        evaluation = self._flow.verlet(state, forces, clock.dt)
        self.finish(state, clock)
        return evaluation

    between = nothing

    def begin(self, state: AtomState, clock: Clock) -> None:
        """Moves the target of a ramp, and the chain by half a step; see `separate.Thermostat`."""
        self._set_target(clock.end)
        self._thermostat(state, 0.5 * clock.dt)

    def finish(self, state: AtomState, clock: Clock) -> None:
        """Moves the chain by half a step; see `separate.Thermostat`."""
        self._thermostat(state, 0.5 * clock.dt)

    def extended_energy(self) -> float:
        """Energy of the chain, less the work of changes of the temperature on it and of a deformation, eV."""
        return self.chain.energy() - self._ramp_work - self._flow.work

    def state_dict(self) -> dict[str, Any]:
        """Chain positions and velocities, the present k_B T, the work of its changes, and the temperatures."""
        own = {"ramp_work": self._ramp_work, "target": self.target.ends}
        return {**self.chain.state_dict(), **own, **self._flow.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes up from a `state_dict`."""
        self.chain.load_state_dict(state)
        self._ramp_work = state["ramp_work"]
        self._flow.load_state_dict(state)
        self.target = self.target.resumed(state.get("target"))  # not in checkpoints of earlier versions
        self.chain.set_masses(BOLTZMANN * self.target.highest)

    def set_temperature(self, state: AtomState, kelvin: float) -> None:
        """Takes over a state of another temperature, see `base.Tempered`.

        The masses Q_k are proportional to the temperature, so that the velocities v_k of the chain have the same
        distribution at all temperatures: they stay.
        """
        before = self.chain.energy()
        self.chain.kT = BOLTZMANN * kelvin
        self.chain.set_masses(self.chain.kT)
        gained = change_temperature(state, self.target.first, kelvin, self._collective)
        self._ramp_work += gained + self.chain.energy() - before
        self.target = Ramp.constant(kelvin)

    def _set_target(self, end: float) -> None:
        kT = BOLTZMANN * self.target(end)
        if kT == self.chain.kT:
            return
        self._ramp_work += (kT - self.chain.kT) * self.chain.winding
        self.chain.kT = kT

    def _thermostat(self, state: AtomState, time: float) -> None:
        kinetic = float(self._collective.reduce(kinetic_energy(state, self.part.bit))[0])
        found = self._collective.agreed(lambda: self.chain.propagated(kinetic, time))
        factor, self.chain.positions, self.chain.velocities = found
        scale_velocities(state, factor, self.part.bit)


def build(table: NvtNoseHooverConfig, setting: Setting) -> Integrator:
    """Builds the integrator of a ``[dynamics]`` table."""
    return separated(_of_table, table, setting)


def _of_table(table: NvtNoseHooverConfig, setting: Setting, part: Part = EVERYTHING) -> NoseHoover:
    thermostat = NoseHoover(
        table.timestep,
        Ramp(*table.ramp, table.steps),
        table.thermostat_time,
        table.thermostat_chain,
        table.suzuki_yoshida,
        setting.degrees_of_freedom(table.remove_momentum),
        setting.collective,
        build_flow(table, setting),
    )
    thermostat.part = part
    return thermostat
