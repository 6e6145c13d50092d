"""Atoms and lists for pair kernels, and parameters of each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from allegro_md.kernels.arguments import Atoms, Lists, Out
from allegro_md.kernels.eam import Functions, eam
from allegro_md.kernels.fixed import FINE
from allegro_md.kernels.lj import Parameters, lj, near2
from allegro_md.kernels.pair import pack
from allegro_md.kernels.zbl import zbl
from allegro_md.potentials.eam import hermite

CUTOFF, SKIN, LOCAL = 4.0, 0.7, 60


def system(seed: int) -> tuple[Atoms, Lists]:
    """Two species in a triclinic box with ghosts, unwrapped by some lattice vectors; neighbors in random order."""
    rng = np.random.default_rng(seed)
    h = np.array([[9.0, 0.0, 0.0], [1.0, 8.5, 0.0], [-0.5, 0.7, 9.5]])
    corners = np.array([[a, b, c] for a in range(4) for b in range(4) for c in range(4)][:LOCAL]) / 4.0
    place = (corners + rng.uniform(-0.05, 0.05, (LOCAL, 3))) @ h
    unwrapped = rng.integers(-2, 3, (LOCAL, 3))
    images = np.array([[a, b, c] for a in (-1, 0, 1) for b in (-1, 0, 1) for c in (-1, 0, 1) if (a, b, c) != (0, 0, 0)])
    position = np.tile(place - unwrapped @ h, (27, 1))
    shift = np.concatenate([unwrapped, *(unwrapped + image for image in images)]).astype(np.int32)
    species = np.tile(rng.integers(0, 2, LOCAL), 27).astype(np.int16)
    seen = position + shift @ h
    near = [np.flatnonzero(np.linalg.norm(seen - seen[i], axis=1) < CUTOFF + SKIN) for i in range(LOCAL)]
    near = [rng.permutation(row[row != i]).astype(np.int32) for i, row in enumerate(near)]
    offsets = np.concatenate([[0], np.cumsum([len(row) for row in near])])
    return Atoms(position, shift, species, h), Lists(offsets, np.concatenate(near))


def lj_parameters() -> tuple[Any, ...]:
    sigma = np.array([[2.0, 2.2], [2.2, 2.4]])
    columns = 0.04 * sigma**12, 0.04 * sigma**6, 1e-4 * sigma
    return (Parameters(CUTOFF**2, np.stack([*columns, near2(*columns)], axis=-1)),)


def large_shift(parameters: tuple[Any, ...]) -> tuple[Any, ...]:
    """Lennard-Jones whose energy is 100 eV less for pairs of the second species: no such pair is far enough apart."""
    a, b, c, _ = np.moveaxis(parameters[0].table, -1, 0)
    c = c + [[0.0, 0.0], [0.0, 100.0]]
    return (parameters[0]._replace(table=np.stack([a, b, c, near2(a, b, c)], axis=-1)),)


def zbl_parameters() -> tuple[Any, ...]:
    return CUTOFF, np.array([[[14.4, 30.0], [30.0, 60.0]], [[4.0, 4.5], [4.5, 5.0]]])


def eam_parameters() -> tuple[Any, ...]:
    r, rho = np.linspace(0.0, CUTOFF, 200), np.linspace(0.0, 30.0, 150)
    density = np.array([[a * (CUTOFF - r) ** 3 for a in (1.0, 0.7)]] * 2)
    r_phi = np.array([[a * (CUTOFF - r) ** 2 for a in (3.0, 2.0)], [a * (CUTOFF - r) ** 2 for a in (2.0, 2.5)]])
    embedding = np.array([-np.sqrt(rho), -1.2 * np.sqrt(rho)])
    pairs = np.concatenate([hermite(density), hermite(r_phi)], axis=-1)
    return (Functions(CUTOFF, rho[1], hermite(embedding), r[1], pairs),)


KERNELS: dict[str, tuple[Any, Callable[[], tuple[Any, ...]]]] = {
    "lj": (lj, lj_parameters), "zbl": (zbl, zbl_parameters), "eam": (eam, eam_parameters),
}  # fmt: skip


def evaluate(name: str, atoms: Atoms, lists: Lists, ends: Sequence[int] = (LOCAL,)) -> list[NDArray[Any]]:
    """Force, energy, virial and centroid virial; the ranges of centers end at `ends`."""
    kernel, parameters = KERNELS[name]
    force, centroid = np.zeros(atoms.position.shape, np.int64), np.zeros((len(atoms.position), 9), np.int64)
    rows, energy, virial = np.full((len(force), 4), np.nan), [], []
    for copies in ((LOCAL, len(rows)), (0, LOCAL)):
        pack(atoms, copies, rows)
    for first, last in zip([0, *ends[:-1]], ends, strict=True):
        out = Out(force, np.empty(last - first), np.empty((last - first, 6)), centroid)
        assert kernel(atoms, lists, rows, (first, last), *parameters(), out) == FINE
        energy.append(out.energy)
        virial.append(out.virial)
    return [force, np.concatenate(energy), np.concatenate(virial), centroid]


def with_a_near_pair(atoms: Atoms, share: float = 0.6) -> Atoms:
    """Atom 1, with all its copies, at a share of its distance from atom 0, of the larger species both."""
    position, species = atoms.position.copy(), atoms.species.copy()
    d = position[0] + atoms.shift[0] @ atoms.cell - position[1] - atoms.shift[1] @ atoms.cell
    position[1::LOCAL] += (1.0 - share) * d
    species[0::LOCAL] = species[1::LOCAL] = 1
    return atoms._replace(position=position, species=species)
