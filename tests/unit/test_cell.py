"""The cell: completion of absent vectors, heights, volume, errors."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from allegro_md.cell import Cell
from allegro_md.errors import InputError

TILTED = np.array([[4.0, 0.0, 0.0], [3.0, 5.0, 0.0], [-7.0, 2.0, 6.0]])


def test_volume_heights_inverse() -> None:
    cell = Cell.from_rows(TILTED, (True,) * 3)
    assert cell.volume == pytest.approx(120.0)
    a, b, c = TILTED
    areas = [np.linalg.norm(np.cross(p, q)) for p, q in ((b, c), (c, a), (a, b))]
    np.testing.assert_allclose(cell.heights, 120.0 / np.array(areas))
    np.testing.assert_allclose(cell.inverse @ TILTED, np.eye(3), atol=1e-14)
    assert Cell.from_rows(TILTED[[1, 0, 2]], (True,) * 3).volume == pytest.approx(120.0)


def test_immutable() -> None:
    rows = TILTED.copy()
    cell = Cell(rows)
    rows[0, 0] = 1.0
    assert cell.matrix[0, 0] == 4.0
    with pytest.raises(ValueError, match="read-only"):
        cell.matrix[0, 0] = 1.0
    with pytest.raises(AttributeError):
        cell.matrix = rows  # type: ignore[misc]


def test_with_matrix_keeps_the_rest() -> None:
    cell = Cell(TILTED, (True, False, True), np.array([1.0, 2.0, 3.0])).with_matrix(2 * TILTED)
    assert cell.periodic == (True, False, True) and cell.origin.tolist() == [1.0, 2.0, 3.0]
    assert cell.volume == pytest.approx(960.0)


def test_volume_and_inverse_are_plain_products_and_sums() -> None:
    """To the last bit what IEEE arithmetic gives in this order, on every machine; a library's solver gives others."""
    rng = np.random.default_rng(3)
    for rows in rng.normal(scale=7.0, size=(200, 3, 3)):
        a, b, c = rows.tolist()
        normals = [
            [p[1] * q[2] - p[2] * q[1], p[2] * q[0] - p[0] * q[2], p[0] * q[1] - p[1] * q[0]]
            for p, q in ((b, c), (c, a), (a, b))
        ]
        volume = a[0] * normals[0][0] + a[1] * normals[0][1] + a[2] * normals[0][2]
        cell = Cell(rows)
        assert cell.volume == abs(volume) == pytest.approx(abs(np.linalg.det(rows)))
        assert cell.inverse.T.tolist() == [[x / volume for x in normal] for normal in normals]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.booleans(), min_size=3, max_size=3), st.integers(0, 2**31))
def test_absent_vectors_are_completed(given_axes: list[bool], seed: int) -> None:
    rows = np.random.default_rng(seed).normal(size=(3, 3)) * np.array(given_axes)[:, None]
    cell = Cell.from_rows(rows, tuple(given_axes))  # type: ignore[arg-type]
    for axis in range(3):
        if given_axes[axis]:
            assert np.array_equal(cell.matrix[axis], rows[axis])
        else:  # of unit length, at right angles to all others
            np.testing.assert_allclose(np.delete(cell.matrix @ cell.matrix[axis], axis), 0.0, atol=1e-12)
            assert np.linalg.norm(cell.matrix[axis]) == pytest.approx(1.0)
    assert cell.bounded == all(given_axes)
    assert np.isnan(cell.volume) == (not all(given_axes))


@pytest.mark.parametrize(
    ("rows", "periodic", "message"),
    [
        (np.diag([1.0, 1.0, 0.0]), (True, True, True), "no vector"),
        (np.diag([1.0, np.nan, 1.0]), (True, True, True), "not finite"),
        (np.array([[1.0, 0, 0], [2.0, 0, 0], [0, 0, 1.0]]), (True, True, True), "dependent"),
        (np.array([[1.0, 0, 0], [2.0, 0, 0], [0, 0, 0]]), (True, True, False), "dependent"),
    ],
)
def test_faults(rows: np.ndarray, periodic: tuple[bool, bool, bool], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Cell.from_rows(rows, periodic)
