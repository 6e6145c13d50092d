"""Atoms on top of each other are found in any cell, as a loop over all images finds them."""

from __future__ import annotations

import re
from itertools import product
from typing import Any

import numpy as np
import pytest

from allegro_md.cell import Cell
from allegro_md.errors import InputError
from allegro_md.io.overlap_check import CLOSEST, refuse_overlaps

TILTED = np.array([[3.0, 0.0, 0.0], [2.5, 2.0, 0.0], [-1.0, 1.9, 2.5]])


def nearest(position: Any, rows: Any, copied: Any) -> Any:
    """Smallest distance of two atoms or images, from all of them within five cells."""
    reach = [range(-5, 6) if c else range(1) for c in copied]
    best = np.inf
    for shift in product(*reach):
        d = np.linalg.norm(position[:, None] - position[None] + np.array(shift) @ rows, axis=-1)
        if not any(shift):
            d[np.diag_indices(len(d))] = np.inf
        best = min(best, d.min())
    return best


@pytest.mark.parametrize("copied", [(True, True, True), (True, False, True), (False, False, False)])
@pytest.mark.parametrize("scale", [1.0, 0.6])
def test_equals_all_images(copied: Any, scale: float) -> None:
    refused = 0
    for seed in range(120):
        rng = np.random.default_rng(seed)
        rows = TILTED * scale
        position = (rng.uniform(-0.7, 1.7, (2 + seed % 9, 3))) @ rows  # outside of the cell, too
        best = nearest(position, rows, copied)
        try:
            refuse_overlaps(position, Cell(rows, copied), copied, "here")
            assert best > CLOSEST
        except InputError as error:
            refused += 1
            assert best <= CLOSEST
            found = re.search(r"are (\S+) Å apart", str(error))
            assert found and float(found[1]) == pytest.approx(best, rel=0.01, abs=1e-9)
    assert 0 < refused < 120


def test_names_the_atoms() -> None:
    position = np.array([[0.0, 0, 0], [5, 5, 5], [0, 0, 9.9]])
    cell = Cell(np.eye(3) * 10.0)
    with pytest.raises(InputError, match=r"file.xyz: atoms 0 and 2 are 0.1 Å apart.*lengths are in Å"):
        refuse_overlaps(position, cell, (True, True, True), "file.xyz")
    refuse_overlaps(position, cell, (True, True, False), "file.xyz")


def test_a_vector_shorter_than_any_bond() -> None:
    with pytest.raises(InputError, match="atoms 0 and 0 are 0.05 Å apart"):
        refuse_overlaps(np.zeros((1, 3)), Cell(np.diag([9.0, 0.05, 9.0])), (True, True, True), "crystal")
