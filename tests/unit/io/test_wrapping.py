"""Written positions lie inside the box, whatever rounding does at its faces, and lose nothing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from ase import Atoms

from allegro_md.cell import Cell
from allegro_md.errors import PhysicsError
from allegro_md.io.wrapping import wrap

CELLS = [
    np.diag([10.0, 12.0, 9.0]),
    np.array([[9.0, 0.0, 0.0], [4.0, 8.0, 0.0], [-3.0, 2.0, 10.0]]),
    np.array([[0.0, 2.05, 2.05], [2.05, 0.0, 2.05], [2.05, 2.05, 0.0]]),
    np.array([[300.1, 7.0, -90.0], [-120.0, 280.0, 33.0], [100.0, 100.0, 1000.0]]),
]


def faces(h: Any, random: Any) -> Any:
    """Atoms inside, and on and beside faces, edges and corners of many images of the cell."""
    fraction = random.uniform(-3, 3, (400, 3))
    whole = random.integers(-5, 6, (4000, 3)).astype(float)
    near = whole + random.choice([0, 1e-17, -1e-17, 1e-9, -1e-9, 5e-8, -5e-8, 0.3], (4000, 3))
    return np.concatenate([fraction, near]) @ h


@pytest.mark.parametrize("h", CELLS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_inside_and_complete(h: Any, dtype: Any) -> None:
    x = faces(h, np.random.default_rng(0))
    wrapped, image = wrap(x, Cell(h), dtype)
    assert wrapped.dtype == dtype and image.dtype == np.int32
    fraction = np.linalg.solve(h.T, wrapped.astype(float).T).T
    # 2 ulp of float64 for the solver of this test itself
    assert fraction.min() >= -5e-16 and fraction.max() < 1
    away = np.abs(wrapped + image @ h - x).max()
    assert away < 16 * np.finfo(dtype).eps * np.abs(h).sum()


@pytest.mark.parametrize("h", CELLS)
def test_agrees_with_ase(h: Any) -> None:
    x = np.random.default_rng(1).uniform(-50, 50, (300, 3))
    expected = Atoms(positions=x, cell=h, pbc=True).get_positions(wrap=True, eps=0)
    assert np.allclose(wrap(x, Cell(h), np.float64)[0], expected, atol=1e-10)


def test_free_axes_are_left_alone() -> None:
    x = np.random.default_rng(2).uniform(-50, 50, (100, 3))
    wrapped, image = wrap(x, Cell(CELLS[0], (True, False, True)), np.float64)
    assert np.array_equal(wrapped[:, 1], x[:, 1]) and not image[:, 1].any() and image[:, 0].any()


def test_the_bits_of_an_atom_do_not_depend_on_its_neighbors_in_the_array() -> None:
    x = faces(CELLS[3], np.random.default_rng(3))
    wrapped, image = wrap(x, Cell(CELLS[3]), np.float64)
    for part in (slice(0, 1), slice(7, 20), slice(1, None, 3)):
        again = wrap(np.ascontiguousarray(x[part]), Cell(CELLS[3]), np.float64)
        assert np.array_equal(again[0], wrapped[part]) and np.array_equal(again[1], image[part])


@pytest.mark.parametrize("away", [3e10, -3e10, np.nan])
def test_an_image_that_32_bits_cannot_hold_is_an_error(away: Any) -> None:
    x = np.array([[1.0, 2.0, 3.0], [1.0, 12.0 * away, 3.0]])
    with pytest.raises(PhysicsError, match="an atom at .1.0, "):
        wrap(x, Cell(CELLS[0]), np.float32)
    far = np.array([[10.0 * (2**31 - 1) + 5.0, 2.0, 3.0]])  # the last one that it can
    assert wrap(far, Cell(CELLS[0]), np.float64)[1].tolist() == [[2**31 - 1, 0, 0]]
