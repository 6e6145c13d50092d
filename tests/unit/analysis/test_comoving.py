"""Displacements in a cell that is sheared through other cells of the same lattice."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from allegro_md.analysis.comoving import Comoving, unreduced
from allegro_md.cell import Cell
from allegro_md.comm import Comm
from allegro_md.errors import InputError
from allegro_md.integrators.steps import reduce_cell, strain
from allegro_md.state import AtomState, SpeciesTable

ROWS = np.array([[10.0, 0.0, 0.0], [3.0, 9.0, 0.0], [-2.0, 4.0, 11.0]])
GRADIENT = np.array([[0.01, 0.0, 0.0], [0.11, 0.02, 0.0], [-0.13, 0.09, -0.02]])


def moved_by_themselves(reduces: bool) -> tuple[NDArray[np.float64], int]:
    """Displacements that `Comoving` finds, 30 samples of a random walk in a flow, and how often the cell flipped."""
    rng = np.random.default_rng(5)
    cell = Cell(ROWS, (True,) * 3, np.array([1.0, -2.0, 0.5]))
    table = SpeciesTable(("Ar",), np.array([18]), np.array([40.0]))
    state = AtomState.from_arrays(cell, table, rng.uniform(-20.0, 20.0, (12, 3)))
    frame, masses, own = Comoving(cell), np.full(12, 40.0), state.local("position").numpy()
    first = last = frame.relative(own, masses, Comm.serial())
    for _ in range(30):
        strain(state, np.array(state.cell.matrix @ (np.eye(3) + GRADIENT)))
        own += rng.normal(scale=0.2, size=own.shape)
        if reduces:
            reduce_cell(state)
        at: Any = last
        frame.follow(state.cell, lambda: at)  # noqa: B023
        last = frame.relative(own.copy(), masses, Comm.serial())
    return last - first, state.lattices


def test_reductions_of_the_cell_cannot_be_seen() -> None:
    (kept, none), (reduced, flips) = moved_by_themselves(False), moved_by_themselves(True)
    assert none == 0 and flips > 5
    np.testing.assert_allclose(reduced, kept, rtol=0, atol=1e-9)
    rng = np.random.default_rng(5)
    rng.uniform(size=(12, 3))
    walk = rng.normal(scale=0.2, size=(30, 12, 3)).sum(axis=0)
    np.testing.assert_allclose(kept, walk - walk.mean(axis=0), rtol=0, atol=1e-9)


def test_too_much_shear_between_samples_is_refused() -> None:
    before = Cell(ROWS, (True,) * 3)
    with pytest.raises(InputError, match="take samples more often"):
        unreduced(before.with_matrix(ROWS + np.array([[0.0] * 3, [4.5, 0.0, 0.0], [0.0] * 3])), before)
    free = Cell(ROWS, (False, True, True))
    sheared = free.with_matrix(ROWS + np.array([[0.0] * 3, [4.5, 0.0, 0.0], [0.0] * 3]))
    assert np.array_equal(unreduced(sheared, free), sheared.matrix)  # no reduction adds the vector of a free axis
