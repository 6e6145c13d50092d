"""The unit of a total energy of all electrons, from its magnitude."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from allegro_md.units import DIMENSIONS

CANDIDATES = ("eV", "kcal/mol", "kJ/mol", "hartree", "Ry", "meV")

CLOSE = 0.025
"""Relative; organic molecules come within 0.02 of the estimate, the units differ by a factor of two and more."""


def unit_of_total(numbers: NDArray[np.int64], energy: float) -> str | None:
    """The unit in which an energy is the total energy of all electrons of some atoms; None if in no one.

    Energies of pseudopotentials, of formation and of atomization are none in any unit.

    Args:
        numbers: (n,) atomic numbers.
        energy: in an unknown unit.
    """
    estimate = estimate_of_total(numbers)
    for unit in CANDIDATES:
        if abs(energy * DIMENSIONS["energy"][unit] / estimate - 1.0) < CLOSE:
            return unit
    return None


def estimate_of_total(numbers: NDArray[np.int64]) -> float:
    """Estimates the total energy of neutral atoms, eV: Thomas–Fermi with the corrections of Scott and Schwinger.

    `numbers` (n,) are atomic numbers. Schwinger, Phys. Rev. A 24, 2353 (1981), doi:10.1103/PhysRevA.24.2353.
    """
    z = np.asarray(numbers, dtype=np.float64)
    hartree = -0.768745 * z ** (7 / 3) + 0.5 * z**2 - 0.269900 * z ** (5 / 3)
    return float(hartree.sum()) * DIMENSIONS["energy"]["hartree"]
