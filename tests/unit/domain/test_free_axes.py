"""Cut planes on free axes follow the atoms, not the space between the outermost ones."""

from __future__ import annotations

import numpy as np

from allegro_md.cell import Cell
from allegro_md.comm import Comm
from allegro_md.domain.planes import decompose
from allegro_md.state import AtomState, SpeciesTable


def test_each_brick_gets_its_share_of_a_lopsided_droplet() -> None:
    rng = np.random.default_rng(0)
    n = 4000
    positions = rng.exponential(10.0, size=(n, 3))
    positions[0] = 2000.0  # one that has left
    table = SpeciesTable(("Ar",), np.array([18]), np.array([39.948]))
    state = AtomState.from_arrays(Cell.from_rows(np.zeros((3, 3)), (False, False, False)), table, positions)
    planes = decompose(state, Comm.serial(), (4, 1, 1)).planes
    counts, _ = np.histogram(positions[:, 0], bins=planes[0])
    assert counts.min() > 0.8 * n / 4 and counts.max() < 1.2 * n / 4
