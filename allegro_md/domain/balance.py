"""Balancing: an object that moves the planes between ranks at rebuilds, so that all of them are busy alike.

No bit of a result depends on where the planes are. A new way to balance is one class and one line in the registry
`allegro_md.config.output.BALANCERS`; its name is the value of ``parallel.balance``.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from allegro_md.config.output import BALANCERS
from allegro_md.config.registry import load
from allegro_md.domain.decomposition import Decomposition


class Balancer(Protocol):
    """Chooses the planes between ranks; called on rank 0, its answer is sent to all ranks."""

    def planes(self, decomposition: Decomposition, loads: NDArray[np.float64]) -> Decomposition:
        """Returns the decomposition to use from this rebuild on, with the same grid.

        Args:
            decomposition: in use since the rebuild before.
            loads: (n_ranks,) float64, seconds each rank has spent in the potential since then.
        """


def build_balancer(name: str) -> Balancer | None:
    """Makes the balancer that ``parallel.balance`` names; None where planes stay ("auto")."""
    if name not in BALANCERS:
        return None
    balancer: Balancer = load(BALANCERS[name])()
    return balancer
