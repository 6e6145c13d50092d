"""Constant temperature: a Nosé–Hoover chain.

Martyna, Klein, Tuckerman, J. Chem. Phys. 97, 2635 (1992), doi:10.1063/1.463940; integrator of Martyna, Tuckerman,
Tobias, Klein, Mol. Phys. 87, 1117 (1996), doi:10.1080/00268979600100761, with Suzuki–Yoshida factors for the chain:

    thermostat(dt/2)  kick(dt/2)  drift(dt)  forces  kick(dt/2)  thermostat(dt/2)

Conserved: K + U + Σ_k ½ Q_k v_k² + f k_B T ξ_1 + Σ_{k>1} k_B T ξ_k.

| symbol | code |
|---|---|
| f, degrees of freedom | `degrees_of_freedom` |
| ξ_k, v_k, Q_k | `positions[k]`, `velocities[k]` (1/fs), `masses[k]` (eV·fs²) |
| τ, Q_1 = f k_B T τ², Q_k = k_B T τ² | `thermostat_time` (fs) |
| G_k, (Q_{k−1} v_{k−1}² − k_B T)/Q_k | `_push` |
"""

from __future__ import annotations

import math
from typing import Any

from allegro_md.errors import InputError, PhysicsError
from allegro_md.integrators.base import Collective, EvaluateForces
from allegro_md.integrators.steps import drift, kick, scale_velocities
from allegro_md.observables import kinetic_energy, temperature
from allegro_md.state import AtomState
from allegro_md.units import BOLTZMANN


def _symmetric(*outer: float) -> tuple[float, ...]:
    """The given weights, the middle one that makes the sum 1, and the given ones mirrored."""
    return (*outer, 1.0 - 2.0 * sum(outer), *reversed(outer))


_W3, _W5 = 1.0 / (2.0 - 2.0 ** (1 / 3)), 1.0 / (4.0 - 4.0 ** (1 / 3))

SUZUKI_YOSHIDA: dict[int, tuple[float, ...]] = {
    1: (1.0,),
    3: _symmetric(_W3),
    5: _symmetric(_W5, _W5),
    7: _symmetric(0.784513610477560, 0.235573213359357, -1.17767998417887),
}
"""Number of factors → weights: fourth order with 3 and 5, sixth with 7 (Yoshida, Phys. Lett. A 150, 262 (1990))."""


class NoseHooverChain:
    """Canonical ensemble.

    Args:
        timestep: fs.
        temperatures: K at the first and the last step; linear in between.
        steps: length of the run, for the ramp.
        thermostat_time: τ, fs.
        chain: number of thermostats.
        suzuki_yoshida: key of `SUZUKI_YOSHIDA`.
        degrees_of_freedom: f.
        collective: for the kinetic energy and for decisions.
    """

    needs_virial = False

    def __init__(
        self,
        timestep: float,
        temperatures: tuple[float, float],
        steps: int,
        thermostat_time: float,
        chain: int,
        suzuki_yoshida: int,
        degrees_of_freedom: int,
        collective: Collective,
    ) -> None:
        if degrees_of_freedom < 1:
            raise InputError(
                "a thermostat needs at least one degree of freedom; total momentum is conserved, so one atom has none",
                "[dynamics] ensemble",
                'use ensemble = "nve"',
            )
        self.timestep = timestep
        self.degrees_of_freedom = degrees_of_freedom
        self._temperatures = temperatures
        self._steps = steps
        self._weights = SUZUKI_YOSHIDA[suzuki_yoshida]
        self._collective = collective
        # The masses belong to the hotter end of a ramp and stay: a change would put work into the chain.
        inertia = BOLTZMANN * max(temperatures) * thermostat_time**2
        self.masses = [inertia * (degrees_of_freedom if k == 0 else 1) for k in range(chain)]
        self.positions = [0.0] * chain
        self.velocities = [0.0] * chain
        self._kT = BOLTZMANN * temperatures[0]
        self._ramp_work = 0.0

    def step(self, state: AtomState, forces: EvaluateForces, index: int) -> None:
        """One step; see the module."""
        self._set_target(index)
        self._thermostat(state)
        kick(state, 0.5 * self.timestep)
        drift(state, self.timestep)
        forces(state)
        kick(state, 0.5 * self.timestep)
        self._thermostat(state)

    def target(self, index: int) -> float:
        """Temperature of step `index`, K."""
        first, last = self._temperatures
        return first + (last - first) * min(1.0, index / max(1, self._steps))

    def thermostat_energy(self) -> float:
        """Energy of the chain less the work the ramp has done on it, eV."""
        kinetic = sum(0.5 * q * v * v for q, v in zip(self.masses, self.velocities, strict=True))
        return kinetic + self._kT * self._winding() - self._ramp_work

    def state_dict(self) -> dict[str, Any]:
        """Chain positions and velocities, the present k_B T and the ramp's work."""
        return {
            "positions": list(self.positions),
            "velocities": list(self.velocities),
            "kT": self._kT,
            "ramp_work": self._ramp_work,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes up from a `state_dict`."""
        self.positions, self.velocities = list(state["positions"]), list(state["velocities"])
        self._kT, self._ramp_work = state["kT"], state["ramp_work"]

    def _winding(self) -> float:
        return self.degrees_of_freedom * self.positions[0] + sum(self.positions[1:])

    def _set_target(self, index: int) -> None:
        kT = BOLTZMANN * self.target(index)
        self._ramp_work += (kT - self._kT) * self._winding()
        self._kT = kT

    def _thermostat(self, state: AtomState) -> None:
        kinetic = float(self._collective.reduce(kinetic_energy(state))[0])
        factor, self.positions, self.velocities = self._collective.on_root(lambda: self._follow(kinetic))
        scale_velocities(state, factor)

    def _follow(self, kinetic: float) -> tuple[float, list[float], list[float]]:
        """`_propagate`, or the reason why it cannot be."""
        try:
            return self._propagate(kinetic)
        except OverflowError:
            now = temperature(kinetic, self.degrees_of_freedom)
            raise PhysicsError(
                f"the thermostat cannot follow: {now:.3g} K where {self._kT / BOLTZMANN:.3g} K are asked for "
                "(do atoms overlap at the start? is the timestep too long?)"
            ) from None

    def _propagate(self, kinetic: float) -> tuple[float, list[float], list[float]]:
        """The chain over dt/2.

        Returns:
            The factor for all particle velocities, and the chain's new positions and velocities.
        """
        x, v = list(self.positions), list(self.velocities)
        twice_kinetic, factor = 2.0 * kinetic, 1.0
        last = len(v) - 1
        for weight in self._weights:
            time = 0.5 * weight * self.timestep
            for k in range(last, -1, -1):
                self._push(v, k, twice_kinetic, time)
            scale = math.exp(-v[0] * time)
            factor *= scale
            twice_kinetic *= scale * scale
            for k in range(last + 1):
                x[k] += v[k] * time
            for k in range(last + 1):
                self._push(v, k, twice_kinetic, time)
        return factor, x, v

    def _push(self, v: list[float], k: int, twice_kinetic: float, time: float) -> None:
        """Half a factor's time on thermostat k: damped by the next one, driven by the one before (or the atoms)."""
        if k == 0:
            drive = twice_kinetic - self.degrees_of_freedom * self._kT
        else:
            drive = self.masses[k - 1] * v[k - 1] ** 2 - self._kT
        damping = math.exp(-0.25 * time * v[k + 1]) if k + 1 < len(v) else 1.0
        v[k] = (v[k] * damping + 0.5 * time * drive / self.masses[k]) * damping
