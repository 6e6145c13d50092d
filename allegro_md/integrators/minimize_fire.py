"""Minimization by FIRE: damped motion that stops when it runs uphill.

Bitzek, Koskinen, Gähler, Moseler, Gumbsch, Phys. Rev. Lett. 97, 170201 (2006), doi:10.1103/PhysRevLett.97.170201, in
the form of Guénolé, Nöhring, Vaid, Houllé, Xie, Prakash, Bitzek, Comput. Mater. Sci. 175, 109584 (2020),
doi:10.1016/j.commatsci.2020.109584, with semi-implicit Euler steps. All masses are 1, so that those of the atoms do not
matter, and time has the unit Å/eV^½. With v and F of atoms and cell together:

    F·v > 0:  after DELAY such steps Δt ← min(1.1 Δt, Δt_max), α ← 0.99 α
    F·v ≤ 0:  Δt ← max(0.5 Δt, Δt_min), α ← α₀, half of the last move is taken back, v ← 0
    v ← v + Δt F;   v ← (1 − α) v + α F |v|/|F|;   x ← x + Δt v

| symbol | code |
|---|---|
| v of the atoms, F of the atoms | rows 0 and 1 of the field "fire", in units of `_scale` and of `Relaxation.scale` |
| v of the cell | `_cell_velocity` |
| Δt, α | `_time`, `_mixing`; `_moved` is Δt of the last move, shorter where an atom would have moved too far |
"""

from __future__ import annotations

import math
from typing import Any, ClassVar

import numpy as np

from allegro_md.backends import backend_for
from allegro_md.integrators.base import Collective
from allegro_md.integrators.relaxation import Array, Relaxation, normalized, products
from allegro_md.state import AtomState, Field

START, LONGEST, SHORTEST = 0.1, 1.0, 0.002
"""Δt at the start, its largest and its smallest value, Å/eV^½."""

MIXING, DELAY = 0.25, 5
"""α₀, and steps downhill before Δt grows."""

BOTH = VELOCITY, FORCE = 0, 1


class Fire:
    """Damped motion: needs many steps, and copes with rough starts.

    Attributes:
        field: velocities and forces of the atoms.
        force_row: row of `field` that holds the forces.
    """

    field: ClassVar[Field] = Field(
        "fire", (2, 3), np.dtype(np.float64), "", migrates=True, halo=False, checkpoint=True, trajectory=False
    )
    force_row: ClassVar[int] = FORCE

    def __init__(self, relaxation: Relaxation, collective: Collective) -> None:
        """Begins at rest; `relaxation` says what is minimized."""
        self._relaxation, self._collective = relaxation, collective
        self._time, self._mixing, self._downhill = START, MIXING, 0
        self._moved, self._scale, self._cell_velocity = 0.0, 1.0, np.zeros((3, 3))

    def move(self, state: AtomState) -> None:
        """Makes one move; see the module."""
        relaxation, rows, backend = self._relaxation, state.array_local("fire"), backend_for(state.device)
        packed = self._collective.reduce(backend.sums.products(rows, BOTH, state))
        found = self._collective.on_root(lambda: self._decided(packed))
        uphill, keep, push, self._time, self._mixing, self._downhill, cell_velocity = found
        if uphill:
            half = 0.5 * self._moved
            relaxation.move_back(state, rows[:, VELOCITY], half * self._scale, half * self._cell_velocity)
        backend.steps.combine(rows, np.array([keep, push * relaxation.scale / self._scale]), VELOCITY)
        grown, longest = normalized(state, rows[:, VELOCITY], self._collective.max)
        self._scale, self._cell_velocity = self._scale * grown, cell_velocity
        part = relaxation.largest_part(self._time * longest * self._scale, self._time * cell_velocity)
        self._moved = part * self._time
        relaxation.move(state, rows[:, VELOCITY], self._moved * self._scale, self._moved * cell_velocity)

    def state_dict(self) -> dict[str, Any]:
        """Δt, α, steps downhill, Δt of the last move, the unit of the velocities, and that of the cell."""
        return {
            "time": self._time,
            "mixing": self._mixing,
            "downhill": self._downhill,
            "moved": self._moved,
            "scale": self._scale,
            "cell_velocity": self._cell_velocity.tolist(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes up from a `state_dict`."""
        self._time, self._mixing, self._downhill = state["time"], state["mixing"], state["downhill"]
        self._moved, self._scale, self._cell_velocity = state["moved"], state["scale"], np.array(state["cell_velocity"])

    def _decided(self, packed: Array) -> tuple[bool, float, float, float, float, int, Array]:
        """Looks at the products of v and F.

        Args:
            packed: (4,) sums over the atoms of the products v·v, v·F, F·v and F·F.

        Returns:
            Uphill; the factors of v and of F in the new v; Δt; α; steps downhill; the new v of the cell.
        """
        relaxation, time, mixing, downhill = self._relaxation, self._time, self._mixing, self._downhill + 1
        cells = np.array([self._cell_velocity.ravel(), relaxation.cell_force.ravel()])
        (vv, vf), (_, ff) = products(packed, BOTH, np.array([self._scale, relaxation.scale]), cells)
        uphill = vf < 0.0
        if uphill:
            time, mixing, downhill, vv, vf = max(0.5 * time, SHORTEST), MIXING, 0, 0.0, 0.0
        elif downhill > DELAY:
            time, mixing = min(1.1 * time, LONGEST), 0.99 * mixing
        speed = math.sqrt(max(0.0, vv + 2.0 * time * vf + time * time * ff))
        keep = 0.0 if uphill else 1.0 - mixing
        push = (1.0 - mixing) * time + (mixing * speed / math.sqrt(ff) if ff > 0.0 else 0.0)
        cell_velocity = keep * self._cell_velocity + push * relaxation.cell_force
        return bool(uphill), keep, push, time, mixing, downhill, cell_velocity
