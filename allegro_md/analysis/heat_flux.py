"""The heat flux of a system of strictly local energies, J = Σ_i v_i (E_i + K_i) + Σ_j W_j v_j.

It is d/dt Σ_i x_i (E_i + K_i) written with relative positions. W_j = −Σ_i d_ij ⊗ ∂E_i/∂d_ij is the virial of atom j in
the centroid form. For pair energies shared equally this is the flux of Irving and Kirkwood. Z. Fan et al., Phys. Rev.
B 92, 094301 (2015); D. Surblys et al., Phys. Rev. E 99, 051301 (2019).
"""

from __future__ import annotations

import numpy as np

from allegro_md.analysis.base import Sample
from allegro_md.analysis.result import Array
from allegro_md.exact import ExactSum
from allegro_md.units import AMU_A2_PER_FS2


def heat_flux(sample: Sample, zero: Array) -> Array:
    """Heat flux relative to the center of mass (collective).

    Args:
        sample: with velocities, energies and centroid virials.
        zero: (n_species,) eV, from which the energy of an atom of each species is counted.

    Returns:
        (2, 3) eV·Å/fs, the convective part Σ v (E + K) and the part Σ W v of the forces.

    Raises:
        PhysicsError: a term is not finite or out of range.
    """
    assert sample.energy is not None and sample.centroid_virial is not None
    v, w = _relative_velocities(sample), sample.centroid_virial
    energy = sample.energy + _kinetic_energies(sample, v) - zero[sample.species]
    carried = v * energy[:, None]
    pushed = [w[:, a, 0] * v[:, 0] + w[:, a, 1] * v[:, 1] + w[:, a, 2] * v[:, 2] for a in range(3)]
    terms = np.concatenate([carried, np.stack(pushed, axis=1)], axis=1)
    return np.asarray(sample.comm.reduce(ExactSum.of(terms, "heat flux", sample.ids))).reshape(2, 3)


def mean_energies(sample: Sample) -> Array:
    """(n_species,) eV, mean of E + K of the atoms of each species; 0 of one without atoms (collective)."""
    assert sample.energy is not None
    count = len(sample.species_table.symbols)
    energy = sample.energy + _kinetic_energies(sample, _relative_velocities(sample))
    of_species = np.where(sample.species[:, None] == np.arange(count), energy[:, None], 0.0)
    total = sample.comm.reduce(ExactSum.of(of_species, "energy", sample.ids))
    atoms = sample.comm.sum(np.bincount(sample.species, minlength=count).astype(np.int64))
    return np.asarray(total / np.maximum(atoms, 1))


def _masses(sample: Sample) -> Array:
    """(n, 1) amu."""
    return np.asarray(sample.species_table.masses[sample.species][:, None])


def _relative_velocities(sample: Sample) -> Array:
    """(n, 3) Å/fs, relative to the center of mass of all atoms."""
    assert sample.velocity is not None
    mass = _masses(sample)
    momentum = sample.comm.reduce(ExactSum.of(mass * sample.velocity, "momentum", sample.ids))
    return np.asarray(sample.velocity - momentum / sample.comm.reduce(ExactSum.of(mass, "mass", sample.ids)))


def _kinetic_energies(sample: Sample, v: Array) -> Array:
    """(n,) eV, of velocities `v` (n, 3) Å/fs."""
    square = v[:, 0] * v[:, 0] + v[:, 1] * v[:, 1] + v[:, 2] * v[:, 2]
    return np.asarray(0.5 * AMU_A2_PER_FS2 * _masses(sample)[:, 0] * square)
