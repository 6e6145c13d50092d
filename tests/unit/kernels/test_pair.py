"""Pair kernels beside plain formulas; what must not change their bits: ranges of centers, pairs of the skin, frames."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from allegro_md.exact import FORCE_SCALE
from allegro_md.kernels.arguments import Atoms, Lists, Out
from allegro_md.kernels.cpu_neighbors import SMALL
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


@pytest.mark.parametrize("name", KERNELS)
def test_ranges_of_centers_have_the_bits_of_all(name: str) -> None:
    atoms, lists = system(0)
    whole = evaluate(name, atoms, lists)
    parts = evaluate(name, atoms, lists, [7, 7, 31, LOCAL])
    for all_at_once, in_parts in zip(whole, parts, strict=True):
        assert np.any(all_at_once != 0) and np.array_equal(all_at_once, in_parts)


@pytest.mark.parametrize("name", KERNELS)
def test_pairs_beyond_the_cutoff_leave_no_trace(name: str) -> None:
    atoms, lists = system(1)
    seen, offsets, kept = atoms.position + atoms.shift @ atoms.cell, [0], []
    for i in range(LOCAL):
        row = lists.neighbors[lists.offsets[i] : lists.offsets[i + 1]]
        kept.append(row[np.linalg.norm(seen[row] - seen[i], axis=1) < CUTOFF])
        offsets.append(offsets[-1] + len(kept[-1]))
    short = Lists(np.array(offsets), np.concatenate(kept))
    assert len(short.neighbors) < len(lists.neighbors)
    for a, b in zip(evaluate(name, atoms, lists), evaluate(name, atoms, short), strict=True):
        assert np.array_equal(a, b)


@pytest.mark.parametrize("name", KERNELS)
def test_a_frame_is_not_seen(name: str) -> None:
    """Shifts beyond what a code holds take another way to the same pair vectors."""
    atoms, lists = system(2)
    near, far = atoms.shift + np.int32(3), atoms.shift + np.array([2**20 - 1, 0, -(2**20)], np.int32)
    for shift in (near, far):
        moved = evaluate(name, atoms._replace(shift=shift), lists)
        for a, b in zip(evaluate(name, atoms, lists), moved, strict=True):
            assert np.array_equal(a, b)


def plain_lj(atoms: Atoms, lists: Lists) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Energies, forces and virials from the formula."""
    ((limit, table),), seen = lj_parameters(), atoms.position + atoms.shift @ atoms.cell
    energy, force, virial = np.zeros(LOCAL), np.zeros((LOCAL, 3)), np.zeros((LOCAL, 3, 3))
    for i in range(LOCAL):
        row = lists.neighbors[lists.offsets[i] : lists.offsets[i + 1]]
        d = seen[row] - seen[i]
        r2 = (d**2).sum(axis=1)
        d, row, r2 = d[r2 < limit], row[r2 < limit], r2[r2 < limit]
        a, b, c, _ = table[atoms.species[i], atoms.species[row]].T
        energy[i] = 0.5 * (a / r2**6 - b / r2**3 - c).sum()
        g = ((6.0 * b / r2**3 - 12.0 * a / r2**6) / r2)[:, None] * d
        force[i], virial[i] = g.sum(axis=0), -0.5 * d.T @ g
    return energy, force, virial.reshape(-1, 9)[:, [0, 4, 8, 5, 2, 1]]


def test_lennard_jones_is_the_formula() -> None:
    """With one atom that nearly sits on another: its center, and the other's, take the checked way."""
    atoms, lists = system(3)
    position, species = atoms.position.copy(), atoms.species.copy()
    d = position[0] + atoms.shift[0] @ atoms.cell - position[1] - atoms.shift[1] @ atoms.cell
    position[1::LOCAL] += 0.4 * d
    species[0::LOCAL] = species[1::LOCAL] = 1
    atoms = atoms._replace(position=position, species=species)
    assert 1 in lists.neighbors[: lists.offsets[1]]
    assert np.linalg.norm(0.6 * d) ** 2 < lj_parameters()[0].table[1, 1, 3]
    force, energy, virial, _ = evaluate("lj", atoms, lists)
    wanted = plain_lj(atoms, lists)
    for found, right in zip((energy, force[:LOCAL] / FORCE_SCALE, virial), wanted, strict=True):
        assert np.allclose(found, right, rtol=1e-11, atol=1e-11)
    assert not force[:LOCAL].sum(axis=0).any()


def test_near_bounds_the_numbers_of_a_pair() -> None:
    a, b, c = np.array([1e5, 3.0, 0.0, 1e5]), np.array([60.0, 0.0, 0.0, 60.0]), np.array([1e-3, 0.0, 0.0, 64.0])
    found = near2(a, b, c)
    assert np.array_equal(np.isinf(found), [False, False, False, True])
    r = np.sqrt(found[:3]) * np.linspace(1.0, 3.0, 50)[:, None]
    energy, slope = a[:3] / r**12 - b[:3] / r**6 - c[:3], -12.0 * a[:3] / r**13 + 6.0 * b[:3] / r**7
    for number in (energy, slope, r * slope):
        assert (np.abs(number) <= SMALL).all()


def test_large_gradients_of_the_embedding_are_added_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Functions 50 times as large, against the same ones: forces are rounded elsewhere."""
    atoms, lists = system(4)
    (functions,) = eam_parameters()
    once = evaluate("eam", atoms, lists)
    pairs = functions.pairs * ([1.0] * 4 + [50.0] * 4)
    large = functions._replace(embedding=50.0 * functions.embedding, pairs=pairs)
    monkeypatch.setitem(KERNELS, "eam", (eam, lambda: (large,)))
    force, energy, virial, centroid = evaluate("eam", atoms, lists)
    assert np.abs(force).max() / FORCE_SCALE > SMALL
    for a, b in ((force, once[0]), (energy, once[1]), (virial, once[2]), (centroid, once[3])):
        assert np.allclose(a, 50.0 * b, rtol=1e-11, atol=1e-11 * np.abs(a).max())
    assert not force.sum(axis=0).any()


@pytest.mark.parametrize("name", KERNELS)
def test_the_atom_with_no_force_is_named(name: str) -> None:
    atoms, lists = system(5)
    position = atoms.position.copy()
    position[20] = np.nan
    atoms = atoms._replace(position=position)
    kernel, parameters = KERNELS[name]
    rows = np.empty((len(position), 4))
    pack(atoms, (0, len(rows)), rows)
    out = Out(np.zeros(position.shape, np.int64), np.empty(LOCAL), np.empty((0, 6)), np.empty((0, 9), np.int64))
    first = next(i for i in range(LOCAL) if i == 20 or 20 in lists.neighbors[lists.offsets[i] : lists.offsets[i + 1]])
    assert kernel(atoms, lists, rows, (0, LOCAL), *parameters(), out) == first
