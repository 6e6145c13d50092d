"""Pair kernels beside plain formulas; what must not change their bits: ranges of centers, pairs of the skin, frames."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from pair_systems import (
    CUTOFF,
    KERNELS,
    LOCAL,
    eam_parameters,
    evaluate,
    large_shift,
    lj_parameters,
    system,
    with_a_near_pair,
)

from allegro_md.exact import FORCE_SCALE
from allegro_md.kernels.arguments import Atoms, Lists, Out
from allegro_md.kernels.cpu_neighbors import SMALL
from allegro_md.kernels.eam import eam
from allegro_md.kernels.lj import NO_DISTANCE, lj, near2
from allegro_md.kernels.pair import pack


@pytest.mark.parametrize("name", KERNELS)
def test_ranges_of_centers_have_the_bits_of_all(name: str) -> None:
    atoms, lists = system(0)
    whole = evaluate(name, atoms, lists)
    parts = evaluate(name, atoms, lists, [7, 7, 31, LOCAL])
    for all_at_once, in_parts in zip(whole, parts, strict=True):
        assert np.any(all_at_once != 0) and np.array_equal(all_at_once, in_parts)


@pytest.mark.parametrize("name", [*KERNELS, "lj with a large shift"])
def test_pairs_beyond_the_cutoff_leave_no_trace(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor does the one pair whose center would be checked if it were within the cutoff."""
    monkeypatch.setitem(KERNELS, "lj with a large shift", (lj, lambda: large_shift(lj_parameters())))
    atoms, lists = system(2)
    seen, offsets, kept = atoms.position + atoms.shift @ atoms.cell, [0], []
    if name not in ("lj", "zbl", "eam"):
        row, species = lists.neighbors[: lists.offsets[1]], np.zeros_like(atoms.species)
        beyond = row[np.linalg.norm(seen[row] - seen[0], axis=1) > CUTOFF][0]
        species[0::LOCAL] = species[beyond % LOCAL :: LOCAL] = 1
        atoms = atoms._replace(species=species)
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
    atoms = with_a_near_pair(atoms)
    d = np.diff(atoms.position[:2] + atoms.shift[:2] @ atoms.cell, axis=0)
    assert 1 in lists.neighbors[: lists.offsets[1]]
    assert np.linalg.norm(d) ** 2 < lj_parameters()[0].table[1, 1, 3]
    force, energy, virial, _ = evaluate("lj", atoms, lists)
    wanted = plain_lj(atoms, lists)
    for found, right in zip((energy, force[:LOCAL] / FORCE_SCALE, virial), wanted, strict=True):
        assert np.allclose(found, right, rtol=1e-11, atol=1e-11)
    assert not force[:LOCAL].sum(axis=0).any()


def test_near_bounds_the_numbers_of_a_pair() -> None:
    a, b, c = np.array([1e5, 3.0, 0.0, 1e5]), np.array([60.0, 0.0, 0.0, 60.0]), np.array([1e-3, 0.0, 0.0, 64.0])
    found = near2(a, b, c)
    assert np.array_equal(found == NO_DISTANCE, [False, False, False, True])
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
