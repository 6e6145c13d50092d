"""Global observables as local exact sums; the caller reduces them over ranks."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce

import numba
import numpy as np
import torch
from numpy.typing import NDArray

from allegro_md.exact import ExactSum
from allegro_md.reporting import Thermo
from allegro_md.state import AtomState
from allegro_md.units import AMU_A2_PER_FS2, BOLTZMANN, EV_PER_A3_IN_GPA

VOIGT = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))
"""Component order of symmetric tensors: xx yy zz yz xz xy."""


CHUNK = 1 << 16
"""Atoms whose terms are made at a time: none of these sums takes memory that grows with the system."""


def kinetic_energy(state: AtomState) -> ExactSum:
    """Σ ½ m v² of the local atoms, eV; one component."""
    masses = state.species_table.masses * AMU_A2_PER_FS2
    return _in_chunks(state, "kinetic", lambda species, velocity: _kinetic_terms(velocity, species, masses))


def kinetic_tensor(state: AtomState) -> ExactSum:
    """Σ m v ⊗ v of the local atoms, eV; six components in Voigt order."""
    masses = state.species_table.masses * AMU_A2_PER_FS2
    return _in_chunks(state, "kinetic", lambda species, velocity: _kinetic_tensor_terms(velocity, species, masses))


def momentum(state: AtomState) -> ExactSum:
    """Σ m v of the local atoms, amu·Å/fs; three components."""
    masses = state.species_table.masses
    return _in_chunks(state, "momentum", lambda species, velocity: masses[species][:, None] * velocity)


def total_mass(state: AtomState) -> ExactSum:
    """Σ m of the local atoms, amu."""
    masses = state.species_table.masses
    return _in_chunks(state, "mass", lambda species, _: masses[species])


def summed(values: torch.Tensor, kind: str, state: AtomState) -> ExactSum:
    """Exact sum of a quantity of the local atoms: `values` (n_local,) or (n_local, k), in the unit of `kind`."""
    return ExactSum.of(values.cpu().numpy(), kind, _ids(state))


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
) -> Thermo:
    """Puts the reduced sums of one step together.

    Args:
        potential: eV.
        kinetic: (6,) Σ m v ⊗ v, eV.
        virial: (6,) −dE/dstrain, eV.
        volume: Å³, NaN where the cell has none.
        extended_energy: energy that the ensemble adds to the total energy to make it conserved, eV.
        degrees_of_freedom: of the kinetic energy.
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
    )


def _ids(state: AtomState) -> NDArray[np.int64]:
    ids: NDArray[np.int64] = state.local("id").cpu().numpy()
    return ids


def _in_chunks(
    state: AtomState,
    kind: str,
    terms: Callable[[NDArray[np.int16], NDArray[np.float64]], NDArray[np.float64]],
) -> ExactSum:
    """Exact sum of the terms that a function makes of species and velocities of some local atoms."""
    ids, species, velocity = _ids(state), state.local("species").cpu().numpy(), state.local("velocity").cpu().numpy()
    parts = []
    for start in range(0, max(1, state.n_local), CHUNK):
        rows = slice(start, start + CHUNK)
        parts.append(ExactSum.of(terms(species[rows], velocity[rows]), kind, ids[rows]))
    return reduce(ExactSum.plus, parts)


@numba.njit(cache=True)
def _kinetic_terms(
    velocity: NDArray[np.float64], species: NDArray[np.int16], masses: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Kinetic energy of each atom (n,), from `velocity` (n, 3) Å/fs, `species` (n,) and `masses` (n_species,)."""
    out = np.empty(len(velocity))
    for i in range(len(velocity)):
        x, y, z = velocity[i, 0], velocity[i, 1], velocity[i, 2]
        out[i] = 0.5 * masses[species[i]] * (x * x + y * y + z * z)
    return out


@numba.njit(cache=True)
def _kinetic_tensor_terms(
    velocity: NDArray[np.float64], species: NDArray[np.int16], masses: NDArray[np.float64]
) -> NDArray[np.float64]:
    """m v ⊗ v of each atom (n, 6) in Voigt order; `velocity` (n, 3) Å/fs, `species` (n,), `masses` (n_species,)."""
    out = np.empty((len(velocity), 6))
    for i in range(len(velocity)):
        mass = masses[species[i]]
        for component in range(6):
            a, b = VOIGT[component]
            out[i, component] = mass * velocity[i, a] * velocity[i, b]
    return out
