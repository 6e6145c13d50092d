"""Check of an integrator's conserved energy: its error must fall with the order of the method."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from allegro_md.errors import PhysicsError
from allegro_md.verify.result import CheckStats

MARGIN = 1.6
"""Largest ratio of the errors with half and with the whole timestep, in units of 2^−order."""


def check_drift(
    stats: CheckStats, what: str, conserved: Callable[[int], NDArray[np.float64]], noise: float, order: int
) -> None:
    """Runs the same steps whole and halved.

    Args:
        stats: of the check.
        what: the integrator.
        conserved: number of equal parts in which each step is made → the conserved energy before the first step and
            after each (steps + 1,), eV.
        noise: effect of rounding on it, eV.
        order: power of the timestep with which its error must fall; 0: nothing is conserved.
    """
    if order == 0:
        stats.leave_out(f"{what} conserves nothing")
        return
    try:
        whole, halved = conserved(1), conserved(2)
    except PhysicsError as fault:  # on all ranks together
        stats.add(f"{what}: {fault}", np.inf, noise, "eV", fault.atoms[0] if fault.atoms else None)
        return
    error = float(np.abs(whole - whole[0]).max())
    finer = float(np.abs(halved - halved[0]).max())
    stats.add(f"the error of {what} with half the timestep", finer, MARGIN * 0.5**order * error + noise, "eV")
