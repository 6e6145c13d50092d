"""Angles are counted as numpy counts them pair by pair, to the last one, also beyond the first images."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
import pytest
from periodic_reference import TRICLINIC, Frames, column, neighbors
from pydantic import ValidationError

from allegro_md.analysis.adf import AdfTable, build
from allegro_md.cell import Cell
from allegro_md.errors import InputError


def table(**keys: Any) -> AdfTable:
    return AdfTable(kind="adf", every=1, **keys)


def reference(frames: Frames, a: str, b: str, c: str, cutoff: dict[str, float], bins: int) -> np.ndarray:
    """Counts of A-B-C (bins,) by going through all pairs of neighbors of all atoms B."""
    symbols, angles = np.array(frames.symbols), []
    for positions, cell in zip(frames.positions, frames.cells, strict=True):
        for center, (atoms, vectors) in zip(symbols, neighbors(positions, cell, max(cutoff.values())), strict=True):
            if center != b:
                continue
            length = np.linalg.norm(vectors, axis=1)
            near = [length < cutoff[end] for end in (a, c)]
            kinds = [near[k] & (symbols[atoms] == end) for k, end in enumerate((a, c))]
            for i, j in combinations(range(len(atoms)), 2):
                if (kinds[0][i] and kinds[1][j]) or (kinds[0][j] and kinds[1][i]):
                    cosine = vectors[i] @ vectors[j] / (length[i] * length[j])
                    angles.append(np.degrees(np.arccos(np.clip(cosine, -1.0, 1.0))))
    return np.histogram(angles, bins, (0.0, 180.0))[0]


@pytest.mark.parametrize(
    ("matrix", "cutoff"), [(TRICLINIC, 4.6), (2.0 * TRICLINIC, 3.2)], ids=["images beyond the first", "one image"]
)
def test_counts_are_those_of_all_pairs(matrix: np.ndarray, cutoff: float) -> None:
    frames = Frames(matrix, changing=True)
    result = frames.fed(build(table(cutoff=cutoff, bins=60), frames.system(), "observe"))
    names = [c.name.removeprefix("count_") for c in result.columns if c.name.startswith("count_")]
    assert len(names) == 3 * 6
    for name in names:
        a, b, c = name.split("-")
        counts = column(result.columns, f"count_{name}")
        np.testing.assert_array_equal(counts, reference(frames, a, b, c, {a: cutoff, c: cutoff}, 60))
        if counts.any():
            assert np.sum(column(result.columns, f"adf_{name}") * 3.0) == pytest.approx(1.0)


def test_each_bond_has_its_own_cutoff() -> None:
    frames = Frames(n_frames=2)
    result = frames.fed(build(table(cutoffs={"P-O": 4.2, "P-Li": 5.0}), frames.system(), "observe"))
    names = [c.name for c in result.columns if c.name.startswith("count_")]
    assert names == ["count_P-O-P", "count_O-P-O", "count_O-P-Li", "count_Li-P-Li", "count_P-Li-P"]
    found = column(result.columns, "count_O-P-Li")
    np.testing.assert_array_equal(found, reference(frames, "O", "P", "Li", {"O": 4.2, "Li": 5.0}, 180))
    assert found.sum() > 100


def test_an_ideal_lattice() -> None:
    """Rocksalt: six neighbors, twelve right angles and three straight ones per atom."""
    frames = Frames(5.0 * np.eye(3), "NaNaNaNaClClClCl", n_frames=1)
    sites = np.array([[0, 0, 0], [0, 1, 1], [1, 0, 1], [1, 1, 0]]) / 2.0
    frames.positions = 5.0 * np.concatenate([sites, sites + [0.5, 0.0, 0.0]])[None]
    result = frames.fed(build(table(cutoff=3.0, bins=36), frames.system(), "observe"))
    angle, counts = (column(result.columns, name) for name in ("angle_deg", "count_Cl-Na-Cl"))
    assert dict(zip(angle[counts > 0], counts[counts > 0], strict=True)) == {92.5: 48, 177.5: 12}
    values = {value.name: value.value for value in result.values}
    assert values["bonds_Na-Cl"] == 6.0 and values["angle_Cl-Na-Cl"] == pytest.approx(108.0)
    assert not any(value.name == "bonds_Na-Na" and value.value for value in result.values)
    assert any("no angle Na-Na-Na" in note for note in result.notes)


def test_random_directions_follow_the_sine() -> None:
    frames = Frames(30.0 * np.eye(3), "H" * 1000, n_frames=2)
    result = frames.fed(build(table(cutoff=5.0, bins=18), frames.system(), "observe"))
    edges = np.radians(np.linspace(0.0, 180.0, 19))
    expected = 0.5 * -np.diff(np.cos(edges))
    counts = column(result.columns, "count_H-H-H")
    np.testing.assert_allclose(counts / counts.sum(), expected, atol=0.004)


def test_atoms_without_a_box_and_a_group_by_index() -> None:
    """A water molecule."""
    frames = Frames(np.eye(3), "OHH", n_frames=1)
    frames.cells = [Cell.from_rows(np.zeros((3, 3)), (False, False, False))]
    half = np.radians(104.5) / 2.0
    frames.positions = 0.96 * np.array([[[0, 0, 0], [np.sin(half), np.cos(half), 0], [-np.sin(half), np.cos(half), 0]]])
    groups = {"acceptor": {"ids": [0]}, "donor": {"species": ["H"]}}
    chosen = table(cutoff=1.2, groups=groups, triplets=["donor-acceptor-donor"])
    result = frames.fed(build(chosen, frames.system(), "observe"))
    assert column(result.columns, "count_donor-acceptor-donor").nonzero()[0].tolist() == [104]
    assert result.values[0].value == pytest.approx(104.5, abs=1e-6)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({}, "no cutoff is given"),
        ({"cutoff": 3.0, "triplets": ["O-Ag-O"]}, "there is no group or element 'Ag'"),
        ({"cutoffs": {"P-Ag": 3.0}}, "there is no group or element 'Ag'"),
        ({"cutoffs": {"P-O": 3.0}, "triplets": ["O-P-Li"]}, "there is no cutoff of P-Li"),
        ({"cutoff": 3.0, "species": ["Ag"]}, "there is no Ag in the system"),
    ],
)
def test_what_cannot_be_is_refused(keys: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        build(table(**keys), Frames().system(), "observe")


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"triplets": ["O-P"]}, "is no triplet of elements or groups"),
        ({"cutoffs": {"P-O": 2.0, "O-P": 2.0}}, "is given twice"),
        ({"cutoffs": {"P-O": -1.0}}, "must be positive"),
    ],
)
def test_what_cannot_be_read_is_refused(keys: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        table(**keys)
