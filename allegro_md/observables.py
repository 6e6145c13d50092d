"""Global observables as local exact sums; the caller reduces them over ranks."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from allegro_md.backends import backend_for
from allegro_md.exact import ExactSum
from allegro_md.reporting import Thermo
from allegro_md.state import AtomState, DeviceArray
from allegro_md.units import AMU_PER_A3_IN_G_PER_CM3, BOLTZMANN, EV_PER_A3_IN_GPA

VOIGT = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))
"""Component order of symmetric tensors: xx yy zz yz xz xy."""


def kinetic_energy(state: AtomState, within: int = 0) -> ExactSum:
    """Σ ½ m v² of the local atoms that are not held, with bits `within` of these groups' only, eV; one component."""
    return backend_for(state.device).sums.kinetic_energy(state, within)


def kinetic_tensor(state: AtomState) -> ExactSum:
    """Σ m v ⊗ v of the local atoms that are not held, eV; six components in Voigt order."""
    return backend_for(state.device).sums.kinetic_tensor(state)


def momentum(state: AtomState) -> ExactSum:
    """Σ m v of the local atoms, amu·Å/fs; three components."""
    return backend_for(state.device).sums.momentum(state)


def total_mass(state: AtomState) -> ExactSum:
    """Σ m of the local atoms, amu."""
    return backend_for(state.device).sums.total_mass(state)


def summed(values: DeviceArray, kind: str, state: AtomState) -> ExactSum:
    """Exact sum over local atoms: `values` (n_local,) or (n_local, k) float64, in the unit of the sum's `kind`."""
    return backend_for(state.device).sums.summed(values, kind, state)


def temperature(kinetic: float, degrees_of_freedom: int) -> float:
    """2K/(f k_B), K; zero without degrees of freedom."""
    return 2.0 * kinetic / (degrees_of_freedom * BOLTZMANN) if degrees_of_freedom > 0 else 0.0


def thermo(
    potential: float,
    kinetic: NDArray[np.float64],
    virial: NDArray[np.float64],
    volume: float,
    extended_energy: float,
    degrees_of_freedom: int,
    mass: float,
) -> Thermo:
    """Puts the reduced sums of one step together.

    Args:
        potential: eV.
        kinetic: (6,) Σ m v ⊗ v, eV.
        virial: (6,) −dE/dstrain, eV.
        volume: Å³, NaN where the cell has none.
        extended_energy: energy that the ensemble adds to the total energy to make it conserved, eV.
        degrees_of_freedom: of the kinetic energy.
        mass: of all atoms, amu; NaN where no density is wanted.
    """
    kinetic_total = 0.5 * float(kinetic[0] + kinetic[1] + kinetic[2])
    stress = -(virial + kinetic) / volume * EV_PER_A3_IN_GPA
    total = potential + kinetic_total
    return Thermo(
        potential=potential,
        kinetic=kinetic_total,
        total=total,
        conserved=total + extended_energy,
        temperature=temperature(kinetic_total, degrees_of_freedom),
        pressure=-float(stress[0] + stress[1] + stress[2]) / 3.0,
        volume=volume,
        stress=stress,
        density=mass / volume * AMU_PER_A3_IN_G_PER_CM3,
    )
