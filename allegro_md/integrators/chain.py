"""A Nosé–Hoover chain as a part of integrators: its own equations over half a time step.

Martyna, Klein, Tuckerman, J. Chem. Phys. 97, 2635 (1992), doi:10.1063/1.463940; propagated as in Martyna, Tuckerman,
Tobias, Klein, Mol. Phys. 87, 1117 (1996), doi:10.1080/00268979600100761, with Suzuki–Yoshida factors.

| symbol | code |
|---|---|
| f, degrees of freedom | `degrees_of_freedom` |
| ξ_k, v_k, Q_k | `positions[k]`, `velocities[k]` (1/fs), `masses[k]` (eV·fs²) |
| τ, Q_1 = f k_B T τ², Q_k = k_B T τ² | `time` (fs) |
| G_k, (Q_{k−1} v_{k−1}² − k_B T)/Q_k | `_push` |
"""

from __future__ import annotations

import math
from typing import Any

from allegro_md.errors import PhysicsError
from allegro_md.observables import temperature
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
    """Thermostats, each of which drives the one before it; the first drives the atoms.

    Attributes:
        masses: Q_k, eV·fs².
        positions: ξ_k.
        velocities: v_k, 1/fs.
        kT: target, eV.
    """

    def __init__(self, degrees_of_freedom: int, kT: float, time: float, length: int, factors: int) -> None:
        """Makes a chain at rest.

        Args:
            degrees_of_freedom: f, of what the first thermostat drives.
            kT: k_B T that sets the masses, eV.
            time: τ, fs.
            length: number of thermostats.
            factors: key of `SUZUKI_YOSHIDA`.
        """
        self.degrees_of_freedom = degrees_of_freedom
        self.kT = kT
        self._time = time
        self.masses = [0.0] * length
        self.set_masses(kT)
        self.positions = [0.0] * length
        self.velocities = [0.0] * length
        self._weights = SUZUKI_YOSHIDA[factors]

    def set_masses(self, kT: float) -> None:
        """Makes the relaxation time of all thermostats τ at a k_B T in eV."""
        freedom = self.degrees_of_freedom
        self.masses = [kT * self._time**2 * (freedom if k == 0 else 1) for k in range(len(self.masses))]

    @property
    def winding(self) -> float:
        """f ξ_1 + Σ_{k>1} ξ_k: the derivative of the chain's energy by k_B T."""
        return self.degrees_of_freedom * self.positions[0] + sum(self.positions[1:])

    def energy(self) -> float:
        """Σ_k ½ Q_k v_k² + f k_B T ξ_1 + Σ_{k>1} k_B T ξ_k, eV."""
        kinetic = sum(0.5 * q * v * v for q, v in zip(self.masses, self.velocities, strict=True))
        return kinetic + self.kT * self.winding

    def propagated(self, kinetic: float, time: float) -> tuple[float, list[float], list[float]]:
        """The chain after a time (fs), driven by a kinetic energy (eV); changes nothing.

        Returns:
            The factor for the velocities of what is driven, and the chain's new positions and velocities.

        Raises:
            PhysicsError: the kinetic energy is too far from the target.
        """
        try:
            return self._propagated(kinetic, time)
        except OverflowError:
            now = temperature(kinetic, self.degrees_of_freedom)
            raise PhysicsError(
                f"the thermostat cannot follow: {now:.3g} K where {self.kT / BOLTZMANN:.3g} K are asked for "
                "(do atoms overlap at the start? is the timestep too long?)"
            ) from None

    def state_dict(self) -> dict[str, Any]:
        """Positions, velocities and the present k_B T."""
        return {"positions": list(self.positions), "velocities": list(self.velocities), "kT": self.kT}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes up from a `state_dict`."""
        self.positions, self.velocities, self.kT = list(state["positions"]), list(state["velocities"]), state["kT"]

    def _propagated(self, kinetic: float, time: float) -> tuple[float, list[float], list[float]]:
        """The same as `propagated`, without its message.

        Raises:
            OverflowError: the kinetic energy is too far from the target.
        """
        x, v = list(self.positions), list(self.velocities)
        twice_kinetic, factor = 2.0 * kinetic, 1.0
        upwards = range(len(v))
        for weight in self._weights:
            part = weight * time
            self._push(v, upwards[::-1], twice_kinetic, part)
            scale = math.exp(-v[0] * part)
            factor *= scale
            twice_kinetic *= scale * scale
            for k in upwards:
                x[k] += v[k] * part
            self._push(v, upwards, twice_kinetic, part)
        return factor, x, v

    def _push(self, v: list[float], order: range, twice_kinetic: float, time: float) -> None:
        """Half a factor's time on thermostats in an order: damped by the next one, driven by the one before.

        The first is driven by the atoms. Twice for each factor, in every step: a loop over plain numbers.
        """
        masses, kT, last, damp, half = self.masses, self.kT, len(v) - 1, -0.25 * time, 0.5 * time
        for k in order:
            drive = masses[k - 1] * v[k - 1] ** 2 - kT if k else twice_kinetic - self.degrees_of_freedom * kT
            damping = math.exp(damp * v[k + 1]) if k < last else 1.0
            v[k] = (v[k] * damping + half * drive / masses[k]) * damping
