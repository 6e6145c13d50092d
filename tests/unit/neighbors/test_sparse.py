"""Mostly empty space: the cost stays that of the atoms, and no pair is lost."""

from __future__ import annotations

import numpy as np

from allegro_md.backends.cpu.cell_list import build_pairs
from allegro_md.backends.cpu.grid import cells_around, sorted_into
from allegro_md.cell import Cell

DISTANCE = 3.0


def droplet_and_strays(n: int) -> np.ndarray:
    rng = np.random.default_rng(4)
    droplet = rng.uniform(0.0, (n * 20.0) ** (1 / 3), size=(n, 3))
    strays = np.array([[1e4, 1e4, 1e4], [-3e7, 0.0, 5.0], [1e4 + 2.0, 1e4, 1e4]])
    return np.concatenate([droplet, strays])


def test_strays_do_not_crowd_the_droplet_into_one_bin() -> None:
    positions = droplet_and_strays(20_000)
    n = len(positions)
    shift, cell = np.zeros((n, 3), dtype=np.int32), Cell.from_rows(np.zeros((3, 3)), (False, False, False))
    grid = cells_around(positions, shift, cell, DISTANCE)
    assert grid.bins.prod() <= 2 * n
    starts, _ = sorted_into(grid, positions, shift, 0, n)
    assert np.diff(starts).max() < 40  # about 1.4 atoms per DISTANCE³: the work stays linear in the atoms


def test_pairs_are_those_of_brute_force() -> None:
    positions = droplet_and_strays(400)
    n = len(positions)
    shift, ids = np.zeros((n, 3), dtype=np.int32), np.arange(n)
    cell = Cell.from_rows(np.zeros((3, 3)), (False, False, False))
    offsets, neighbors = build_pairs(positions, shift, ids, cell, n, DISTANCE)
    squared = ((positions[:, None] - positions[None]) ** 2).sum(axis=-1)
    near = (squared < DISTANCE**2) & ~np.eye(n, dtype=bool)
    assert near[-1, -3] and near.sum() > 1000
    for i in range(n):
        assert neighbors[offsets[i] : offsets[i + 1]].tolist() == np.flatnonzero(near[i]).tolist()
