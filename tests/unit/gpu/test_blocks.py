"""Blocks of centers by kernels of GPUs: the edges, forces and virials of CPUs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from block_data import poison, run
from host_build import TURNS, on_host

from allegro_md.kernels.arguments import Atoms, Block, Lists
from allegro_md.kernels.blocks import LIMIT, fill_block, spread_block
from allegro_md.kernels.centroid import spread_virials
from allegro_md.kernels.fixed import FINE

FIRST, CENTERS, ROWS, NONE = 4, 20, 512, 2**62
CUTOFF2 = np.array([[9.0, 4.0], [6.0, 12.0]])


def block() -> tuple[Atoms, Lists, Block, int]:
    """Atoms, their lists, and the edges of some centers."""
    rng, n = np.random.default_rng(8), 40
    atoms = Atoms(
        rng.uniform(0.0, 5.0, (n, 3)), rng.integers(-1, 2, (n, 3)).astype(np.int32),
        rng.integers(0, 2, n).astype(np.int16),
        np.array([[0.5, 0.0, 0.0], [0.1, 0.5, 0.0], [0.0, -0.1, 0.5]]),
    )  # fmt: skip
    rows = [rng.permutation(np.delete(np.arange(n), i))[: rng.integers(0, 30)] for i in range(n)]
    rows[FIRST + 2] = rows[FIRST + 2][:0]
    lists = Lists(np.cumsum([0, *map(len, rows)]), np.concatenate(rows).astype(np.int32))
    edges = Block(np.zeros((ROWS, 3)), np.zeros(ROWS, np.int64), np.zeros(ROWS, np.int64))
    here = Lists(lists.offsets[: FIRST + CENTERS + 1], lists.neighbors)
    taken, count = fill_block(FIRST, atoms, here, CUTOFF2, edges)
    assert taken == CENTERS
    return atoms, lists, edges, count


def bounds(edges: Block, count: int) -> Any:
    return np.concatenate([[0], np.cumsum(np.bincount(edges.center[:count], minlength=CENTERS))])


def test_edges_of_a_block() -> None:
    atoms, lists, wanted, count = block()
    given = FIRST, CENTERS, atoms.position, atoms.shift, atoms.species, atoms.cell.tolist(), *lists, 2, CUTOFF2
    for turn in TURNS:
        counts, vector = np.full(CENTERS, -1), poison(wanted.vector)
        center, neighbor = (np.full(ROWS, -1, dtype=np.int32) for _ in range(2))
        with on_host(*turn):
            run("blocks.cuh", "count_edges", 8 * CENTERS, *given, counts)
            starts = np.concatenate([[0], np.cumsum(counts)])
            run("blocks.cuh", "fill_block", 8 * CENTERS, *given, starts, vector, center, neighbor)
        assert np.array_equal(starts, bounds(wanted, count))
        for got, right in zip((vector, center, neighbor), wanted, strict=True):
            assert np.array_equal(got[:count], right[:count])
        assert np.isnan(vector[count:]).all() and (center[count:] == -1).all()


@pytest.mark.parametrize("wrong", [None, LIMIT, -LIMIT, np.nan, np.inf])
def test_gradients_are_spread(wrong: float | None) -> None:
    atoms, _, edges, count = block()
    n, gradient = len(atoms.position), np.random.default_rng(9).normal(size=(ROWS, 3))
    if wrong is not None:
        gradient[[count // 2, count - 1], 1] = wrong
    center, neighbor, starts = edges.center.astype(np.int32), edges.neighbor.astype(np.int32), bounds(edges, count)
    force, virial, centroid = np.zeros((n, 3), np.int64), np.zeros((CENTERS, 6)), np.zeros((n, 9), np.int64)
    status = spread_block(FIRST, count, edges, gradient, force, virial)
    assert (status == FINE) == (wrong is None)
    spread_virials(FIRST, count, edges, gradient, centroid)
    for turn in TURNS:
        found, of_virials = np.array([NONE]), np.array([NONE])
        got = np.zeros_like(force), poison(virial), np.zeros_like(centroid)
        with on_host(*turn):
            run("blocks.cuh", "spread_block", 8 * CENTERS, FIRST, CENTERS, starts, neighbor, gradient, got[0], found)
            run("blocks.cuh", "sum_virials", CENTERS, CENTERS, starts, edges.vector, gradient, got[1])
            run("blocks.cuh", "spread_virials", ROWS, np.array([count]), FIRST, center, neighbor, edges.vector,
                gradient, got[2], of_virials)  # fmt: skip
        if wrong is None:
            assert found[0] == of_virials[0] == NONE
            assert all(np.array_equal(a, b) for a, b in zip(got, (force, virial, centroid), strict=True))
        else:
            assert found[0] == status


def test_sums_out_of_range_are_named() -> None:
    """No gradient is too large, and the sum on the center is."""
    gradient = np.full((4, 3), 0.4 * LIMIT)
    starts, neighbor = np.array([0, 1, 4]), np.array([5, 6, 7, 8], dtype=np.int32)
    for turn in TURNS:
        force, status = np.zeros((10, 3), np.int64), np.array([NONE])
        with on_host(*turn):
            run("blocks.cuh", "spread_block", 16, 2, 2, starts, neighbor, gradient, force, status)
        assert status[0] == 3
