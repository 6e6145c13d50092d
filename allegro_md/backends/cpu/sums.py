"""Exact sums over local atoms: see `base.SumFunctions`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce

import numba
import numpy as np
from numpy.typing import NDArray

from allegro_md.exact import ExactSum
from allegro_md.state import AtomState
from allegro_md.units import AMU_A2_PER_FS2

CHUNK = 1 << 14
"""Atoms whose terms are made at a time: they stay in the cache, and take no fresh pages from the system."""


def kinetic_energy(state: AtomState, within: int = 0) -> ExactSum:
    """Σ ½ m v² of the local atoms that are not held, with `within` of these groups' only, eV; one component."""
    masses = state.species_table.masses * AMU_A2_PER_FS2
    chosen = _free(state, within)
    return _in_chunks(state, "kinetic", lambda species, velocity: _kinetic_terms(velocity, species, masses), chosen)


def kinetic_tensor(state: AtomState) -> ExactSum:
    """Σ m v ⊗ v of the local atoms that are not held, eV; six components in Voigt order."""
    masses = state.species_table.masses * AMU_A2_PER_FS2
    return _in_chunks(
        state, "kinetic", lambda species, velocity: _kinetic_tensor_terms(velocity, species, masses), _free(state)
    )


def momentum(state: AtomState) -> ExactSum:
    """Σ m v of the local atoms, amu·Å/fs; three components."""
    masses = state.species_table.masses
    return _in_chunks(state, "momentum", lambda species, velocity: masses[species][:, None] * velocity)


def total_mass(state: AtomState) -> ExactSum:
    """Σ m of the local atoms, amu."""
    masses = state.species_table.masses
    return _in_chunks(state, "mass", lambda species, _: masses[species])


def summed(values: NDArray[np.float64], kind: str, state: AtomState) -> ExactSum:
    """Exact sum of a quantity of the local atoms: `values` (n_local,) or (n_local, k), in the unit of `kind`."""
    return ExactSum.of(values, kind, _ids(state))


def products(rows: NDArray[np.float64], chosen: Sequence[int], state: AtomState) -> ExactSum:
    """Σ of the scalar products of the chosen of k vectors of each local atom with all k: `rows` (n_local, k, 3)."""
    ids, vectors, indices, parts = _ids(state), rows, np.array(chosen), []
    chunk = max(1, CHUNK // (len(indices) * vectors.shape[1]))
    for start in range(0, max(1, state.n_local), chunk):
        part = slice(start, start + chunk)
        parts.append(ExactSum.of(_product_terms(vectors[part], indices), "product", ids[part]))
    return reduce(ExactSum.plus, parts)


def _ids(state: AtomState) -> NDArray[np.int64]:
    ids: NDArray[np.int64] = state.host_local("id")
    return ids


def _free(state: AtomState, within: int = 0) -> Callable[[slice], NDArray[np.bool_]] | None:
    """Tells which rows take part in a sum of atoms that are not held (and are in groups `within`); None: all do."""
    if not state.held and not within:
        return None
    group, held = state.host_local("group"), state.held
    return lambda rows: ((group[rows] & held) == 0) & ((group[rows] & within != 0) | (within == 0))


def _in_chunks(
    state: AtomState,
    kind: str,
    terms: Callable[[NDArray[np.int16], NDArray[np.float64]], NDArray[np.float64]],
    chosen: Callable[[slice], NDArray[np.bool_]] | None = None,
) -> ExactSum:
    """Exact sum of the terms that a function makes of species and velocities of some local atoms; None: of all."""
    ids, species, velocity = _ids(state), state.host_local("species"), state.host_local("velocity")
    parts = []
    for start in range(0, max(1, state.n_local), CHUNK):
        rows = slice(start, start + CHUNK)
        here = terms(species[rows], velocity[rows])
        if chosen is not None:  # an exact sum does not change where zeros are added
            here[~chosen(rows)] = 0.0
        parts.append(ExactSum.of(here, kind, ids[rows]))
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
        x, y, z = velocity[i, 0], velocity[i, 1], velocity[i, 2]
        px, py, pz = masses[species[i]] * x, masses[species[i]] * y, masses[species[i]] * z
        out[i, 0], out[i, 1], out[i, 2] = px * x, py * y, pz * z
        out[i, 3], out[i, 4], out[i, 5] = py * z, px * z, px * y
    return out


@numba.njit(cache=True)
def _product_terms(rows: NDArray[np.float64], chosen: NDArray[np.int64]) -> NDArray[np.float64]:
    """Scalar products of the vectors `chosen` (m,) of each atom with all k, (n, m k), from `rows` (n, k, 3)."""
    n, k = rows.shape[0], rows.shape[1]
    out = np.empty((n, len(chosen) * k))
    for i in range(n):
        for m in range(len(chosen)):
            a = chosen[m]
            x, y, z = rows[i, a, 0], rows[i, a, 1], rows[i, a, 2]
            for b in range(k):
                out[i, m * k + b] = x * rows[i, b, 0] + y * rows[i, b, 1] + z * rows[i, b, 2]
    return out
