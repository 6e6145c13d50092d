"""What the engine asks of an integrator, and what it offers it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from allegro_md.exact import ExactSum
from allegro_md.state import AtomState

T = TypeVar("T")

EvaluateForces = Callable[[AtomState], None]
"""Evaluates forces at the present positions into ``state.local("force")``; own atoms may be others afterwards."""


class Collective(Protocol):
    """The only ways in which an integrator may learn of other ranks."""

    def reduce(self, total: ExactSum) -> NDArray[np.float64]:
        """Sum over ranks, the same float64 on all of them."""

    def on_root(self, compute: Callable[[], T]) -> T:
        """The result of `compute` on rank 0, on all ranks (libm differs between machines)."""


class Integrator(Protocol):
    """Moves the atoms by one time step; keeps global numbers only, never a per-atom array.

    Attributes:
        timestep: fs.
        needs_virial: whether `step` uses the virial (barostats).
    """

    timestep: float
    needs_virial: bool

    def step(self, state: AtomState, forces: EvaluateForces, index: int) -> None:
        """Makes step number `index` (the first is 1). `state.force` holds the forces on entry and on return."""

    def thermostat_energy(self) -> float:
        """What the total energy lacks to be conserved, eV."""

    def state_dict(self) -> dict[str, Any]:
        """The global numbers (JSON-like)."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes up from a `state_dict`."""
