"""Bond-order parameters are those of freud, of ideal lattices, and of scipy's spherical harmonics."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from periodic_reference import TRICLINIC, Frames, column, neighbors
from pydantic import ValidationError
from scipy.special import sph_harm_y

from allegro_md.analysis.steinhardt import Steinhardt, SteinhardtTable, build
from allegro_md.cell import Cell
from allegro_md.errors import InputError


def quantity(frames: Frames, **keys: Any) -> Steinhardt:
    return build(SteinhardtTable(kind="steinhardt", every=1, **keys), frames.system(), "observe")


def of_atoms(frames: Frames, **keys: Any) -> np.ndarray:
    """(n, degrees) of the first frame, in the order of ids."""
    ids, _, q = quantity(frames, **keys).of_atoms(frames.samples()[0])
    return np.asarray(q[np.argsort(ids)])


@pytest.mark.parametrize("averaged", [False, True])
@pytest.mark.parametrize("bonds", [{"cutoff": 3.4}, {"neighbors": 12}], ids=["cutoff", "nearest"])
def test_as_freud(bonds: dict[str, Any], averaged: bool) -> None:
    freud = pytest.importorskip("freud")
    matrix = np.array([[14.0, 0.0, 0.0], [3.0, 13.0, 0.0], [-2.0, 1.5, 15.0]])
    frames = Frames(matrix, "Ag" * 200, n_frames=1)
    box = freud.box.Box.from_matrix(matrix.T)
    inside = box.wrap(frames.positions[0])
    degrees = [2, 3, 4, 6, 9]
    found = of_atoms(frames, l=degrees, averaged=averaged, **bonds)
    query = {"r_max": 3.4} if "cutoff" in bonds else {"num_neighbors": 12}
    for k, degree in enumerate(degrees):
        order = freud.order.Steinhardt(degree, average=averaged)
        order.compute((box, inside), neighbors=query | {"exclude_ii": True})
        np.testing.assert_allclose(found[:, k], order.particle_order, atol=1e-5)


def test_beyond_the_first_images_as_scipy() -> None:
    frames = Frames(TRICLINIC, n_frames=1)
    found = of_atoms(frames, l=[1, 6, 12], cutoff=4.8)
    for atom, (_, vectors) in enumerate(neighbors(frames.positions[0], frames.cells[0], 4.8)):
        theta = np.arccos(vectors[:, 2] / np.linalg.norm(vectors, axis=1))
        phi = np.arctan2(vectors[:, 1], vectors[:, 0])
        for k, degree in enumerate((1, 6, 12)):
            means = np.array([sph_harm_y(degree, m, theta, phi).mean() for m in range(-degree, degree + 1)])
            expected = np.sqrt(4.0 * np.pi / (2 * degree + 1) * (np.abs(means) ** 2).sum())
            assert found[atom, k] == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("averaged", [False, True])
def test_nearest_atoms_are_also_images(averaged: bool) -> None:
    """12 atoms in a cell, 20 neighbors each, by brute force."""
    frames = Frames(TRICLINIC, n_frames=1)
    found = of_atoms(frames, l=[4], neighbors=20, averaged=averaged)[:, 0]
    moments, bonded = np.zeros((12, 9), complex), []
    for atom, (atoms, vectors) in enumerate(neighbors(frames.positions[0], frames.cells[0], 8.0)):
        nearest = np.argsort(np.linalg.norm(vectors, axis=1))[:20]
        x, y, z = vectors[nearest].T
        theta, phi = np.arctan2(np.hypot(x, y), z), np.arctan2(y, x)
        moments[atom] = [sph_harm_y(4, m, theta, phi).mean() for m in range(-4, 5)]
        bonded.append(atoms[nearest])
    if averaged:
        moments = (moments + np.array([moments[others].sum(axis=0) for others in bonded])) / 21.0
    expected = np.sqrt(4.0 * np.pi / 9.0 * (np.abs(moments) ** 2).sum(axis=1))
    np.testing.assert_allclose(found, expected, atol=1e-12)


@pytest.mark.parametrize(
    ("sites", "n", "q4", "q6"),
    [
        ([[0, 0, 0], [0, 1, 1], [1, 0, 1], [1, 1, 0]], 12, 0.190941, 0.574524),
        ([[0, 0, 0], [1, 1, 1]], 14, 0.036370, 0.510688),
        ([[0, 0, 0]], 6, 0.763763, 0.353553),
    ],
    ids=["fcc", "bcc", "sc"],
)
@pytest.mark.parametrize("averaged", [False, True])
def test_ideal_lattices(sites: list[list[int]], n: int, q4: float, q6: float, averaged: bool) -> None:
    """Values of Steinhardt et al.; averaging changes nothing where all atoms are alike."""
    frames = Frames(4.0 * np.eye(3), "Cu" * len(sites), n_frames=1)
    frames.positions = 2.0 * np.array([sites], dtype=np.float64)
    result = frames.fed(quantity(frames, neighbors=n, averaged=averaged))
    assert [value.name for value in result.values] == ["q4_Cu", "q6_Cu"]
    assert [value.value for value in result.values] == pytest.approx([q4, q6], abs=1e-6)
    assert column(result.columns, "p_q6_Cu").nonzero()[0].tolist() == [int(100 * q6)]


def test_groups_and_their_histograms() -> None:
    """Neighbors are the atoms of the groups; the histogram is numpy's, and its integral is 1."""
    frames = Frames(2.0 * TRICLINIC, "OOOOOOPPPPPPLiLi", n_frames=4)
    found = quantity(frames, species=["O", "P"], cutoff=4.5, bins=20)
    result = frames.fed(found)
    each = []
    for sample in frames.samples():
        ids, bits, q = found.of_atoms(sample)
        each.append(q[bits == 2])
    expected = np.concatenate(each)[:, 1]
    histogram = np.histogram(expected, 20, (0.0, 1.0), density=True)[0]
    np.testing.assert_allclose(column(result.columns, "p_q6_P"), histogram)
    values = {value.name: value.value for value in result.values}
    assert values["q6_P"] == pytest.approx(expected.mean(), abs=1e-9)
    assert "q6_Li" not in values


def test_atoms_without_neighbors_are_left_out() -> None:
    frames = Frames(30.0 * np.eye(3), "CuCuCuCu", n_frames=1)
    frames.positions = np.array([[[1, 1, 1], [3, 1, 1], [15, 15, 15], [1, 3, 1]]], dtype=np.float64)
    result = frames.fed(quantity(frames, cutoff=2.5))
    assert result.notes == ["A fraction 0.25 of the atoms of Cu, over all samples, has no neighbor and is left out."]


def test_too_few_atoms_are_refused() -> None:
    frames = Frames(30.0 * np.eye(3), "CuCuCuCu", n_frames=1)
    frames.cells = [Cell.from_rows(np.zeros((3, 3)), (False, False, False))]
    with pytest.raises(InputError, match="4 atoms are too few for 12 neighbors of each"):
        quantity(frames, neighbors=12)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({}, "no neighbors are defined"),
        ({"cutoff": 3.0, "neighbors": 12}, "both a cutoff and a number"),
        ({"cutoff": 3.0, "l": [4, 4]}, "listed twice"),
        ({"cutoff": 3.0, "l": [0]}, "at least 1"),
        ({"cutoff": 3.0, "l": [40]}, "too high"),
    ],
)
def test_what_cannot_be_read_is_refused(keys: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        quantity(Frames(), **keys)
