"""S(q) is that of plain sums of exponentials, of dynasor, and of ideal lattices."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from periodic_reference import TRICLINIC, Frames, column
from pydantic import ValidationError

from allegro_md.analysis.structure_factor import StructureFactor, StructureFactorTable, build
from allegro_md.analysis.wave_vectors import amplitudes, bits_for, wave_vectors
from allegro_md.cell import Cell
from allegro_md.errors import InputError


def quantity(frames: Frames, **keys: Any) -> StructureFactor:
    return build(StructureFactorTable(kind="structure-factor", every=1, **keys), frames.system(), "observe")


def all_vectors(cell: Cell, qmax: float) -> np.ndarray:
    """(n, 3) 1/Å, all wave vectors of both signs except 0."""
    indices = np.array(list(product(range(-40, 41), repeat=3)))
    vectors = 2.0 * np.pi * indices @ np.linalg.inv(cell.matrix).T
    lengths = np.linalg.norm(vectors, axis=1)
    return np.asarray(vectors[(lengths > 0.0) & (lengths < qmax)])


def test_plain_sums_in_a_changing_cell() -> None:
    frames = Frames(2.0 * TRICLINIC, "OOOOOOPPPPLiLi", changing=True)
    result = frames.fed(quantity(frames, qmax=5.0, dq=0.5, vectors=0))
    symbols, sums, number = np.array(frames.symbols), np.zeros((3, 10)), np.zeros(10)
    for positions, cell in zip(frames.positions, frames.cells, strict=True):
        vectors = all_vectors(cell, 5.0)
        shells = (np.linalg.norm(vectors, axis=1) / 0.5).astype(int)
        amplitude = {a: np.exp(1j * vectors @ positions[symbols == a].T).sum(axis=1) for a in ("O", "P", "Li")}
        total = abs(sum(amplitude.values())) ** 2 / len(symbols)
        partial = (amplitude["O"] * amplitude["P"].conj()).real / np.sqrt(6.0 * 4.0)
        number += np.bincount(shells, minlength=10)
        for row, terms in zip(sums, (np.linalg.norm(vectors, axis=1), partial, total), strict=True):
            row += np.bincount(shells, terms, 10)
    expected = sums[:, number > 0] / number[number > 0]
    for name, values in zip(("q_A-1", "s_O-P", "s_total"), expected, strict=True):
        np.testing.assert_allclose(column(result.columns, name), values, atol=1e-9)
    np.testing.assert_allclose(column(result.columns, "vectors") * 2 * 3, number[number > 0])
    assert not result.notes


def test_as_dynasor(tmp_path: Path) -> None:
    dynasor = pytest.importorskip("dynasor")
    from ase import Atoms
    from ase.io import write

    frames = Frames(4.0 * TRICLINIC, "O" * 60 + "Si" * 30, n_frames=2)
    for positions in frames.positions:
        atoms = Atoms(frames.symbols, positions, cell=frames.cells[0].matrix, pbc=True)
        write(tmp_path / "frames.extxyz", atoms, append=True)
    types = {name: np.flatnonzero(np.array(frames.symbols) == name).tolist() for name in ("O", "Si")}
    traj = dynasor.Trajectory(str(tmp_path / "frames.extxyz"), "extxyz", atomic_indices=types)
    vectors = all_vectors(frames.cells[0], 3.0)
    sample = dynasor.compute_static_structure_factors(traj, vectors)
    result = frames.fed(quantity(frames, qmax=3.0, dq=0.25, vectors=0))
    shells = (np.linalg.norm(vectors, axis=1) / 0.25).astype(int)
    number = np.bincount(shells, minlength=12)
    scales = {"total": 1.0, "O-O": 90 / 60, "Si-Si": 90 / 30, "O-Si": 90 / (2.0 * np.sqrt(60 * 30))}
    for name, scale in scales.items():
        theirs = sample["Sq" if name == "total" else f"Sq_{name.replace('-', '_')}"][:, 0] * scale
        expected = np.bincount(shells, theirs, 12)[number > 0] / number[number > 0]
        np.testing.assert_allclose(column(result.columns, f"s_{name}"), expected, atol=1e-5)


def test_bragg_peaks_of_an_ideal_lattice() -> None:
    """S = N at the vectors of the reciprocal lattice, 0 at the others: fcc with a = 4 Å, 2³ cells."""
    frames = Frames(8.0 * np.eye(3), "Cu" * 32, n_frames=1)
    sites = np.array([[0, 0, 0], [0, 1, 1], [1, 0, 1], [1, 1, 0]]) * 2.0
    frames.positions = np.array([sites + 4.0 * np.array(n) for n in product(range(2), repeat=3)]).reshape(1, 32, 3)
    result = frames.fed(quantity(frames, qmax=3.3, dq=0.01, vectors=0))
    values = {value.name: value.value for value in result.values}
    first = 2.0 * np.pi / 4.0 * np.sqrt(3.0)
    assert values["q_peak"] == pytest.approx(first, abs=1e-8) and values["s_peak"] == pytest.approx(32.0, abs=1e-8)
    s, q = column(result.columns, "s_total"), column(result.columns, "q_A-1")
    shorter = s[q < first - 0.1]
    assert len(shorter) > 5 and np.abs(shorter).max() < 1e-8


def test_random_atoms_have_no_structure() -> None:
    frames = Frames(20.0 * np.eye(3), "O" * 300 + "P" * 100, n_frames=8)
    result = frames.fed(quantity(frames, qmax=4.0, dq=0.5))
    s, error = (column(result.columns, name)[2:] for name in ("s_P-P", "s_P-P_err"))
    assert (np.abs(s - 1.0) < 5.0 * error).all() and (error < 0.1).all()
    np.testing.assert_allclose(column(result.columns, "s_O-P")[2:], 0.0, atol=0.1)
    assert column(result.columns, "vectors").max() == 50.0
    (note,) = result.notes
    assert "at most 50 vectors" in note and "'vectors = 0' uses all" in note


def test_vectors_are_chosen_evenly_and_always_alike() -> None:
    cell = Cell(10.0 * TRICLINIC)
    chosen, everything = wave_vectors(cell, 10, 0.3, 100), wave_vectors(cell, 10, 0.3, 0)
    assert np.bincount(everything.shells).tolist() == everything.available.tolist() == chosen.available.tolist()
    assert 2 * len(everything.indices) == len(all_vectors(cell, 3.0))
    np.testing.assert_array_equal(np.bincount(chosen.shells), np.minimum(everything.available, 100))
    assert set(map(tuple, chosen.indices)) <= set(map(tuple, everything.indices))
    directions = chosen.indices @ (2.0 * np.pi * np.linalg.inv(cell.matrix).T) / chosen.lengths[:, None]
    tensor = directions.T @ directions / len(directions)
    np.testing.assert_allclose(tensor, np.eye(3) / 3.0, atol=0.05)
    np.testing.assert_array_equal(chosen.indices, wave_vectors(cell, 10, 0.3, 100).indices)


def test_parts_of_the_atoms_add_up_to_the_last_bit() -> None:
    """However they are divided over ranks, and up to high orders of the recursion."""
    rng = np.random.default_rng(3)
    fractions, indices = rng.random((1000, 3)), rng.integers(-60, 61, (200, 3))
    bits = bits_for(1000)
    order = rng.permutation(1000)
    parts = [amplitudes(fractions[rows], indices, bits) for rows in np.split(order, [17, 300, 301])]
    whole = amplitudes(fractions, indices, bits)
    np.testing.assert_array_equal(sum(parts), whole)
    expected = np.exp(2j * np.pi * indices @ fractions.T).sum(axis=1)
    np.testing.assert_allclose(whole[0] + 1j * whole[1], expected * 2.0**bits, atol=1e-9 * 2.0**bits)
    assert bits_for(2**22) == 40 and bits_for(2**22 + 1) == 39


def test_a_free_axis_is_refused() -> None:
    with pytest.raises(InputError, match="the cell is not periodic along z"):
        quantity(Frames(periodic=(True, True, False)))


@pytest.mark.parametrize(
    ("keys", "message"), [({"qmax": "10 nm"}, "in Å⁻¹"), ({"dq": 20.0}, "shells of"), ({"qmax": -1.0}, "positive")]
)
def test_what_cannot_be_read_is_refused(keys: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        quantity(Frames(), **keys)
