"""Operations on the rows of a block by kernels of GPUs: the bits of those of CPUs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from block_data import REALS, run
from host_build import TURNS, on_host

from allegro_md.kernels import cpu_rows
from allegro_md.kernels.cpu_aligned import aligned, aligned_zeros

EDGES, ROWS, WIDTH, COLUMNS = 41, 64, 48, 80


def rows(name: str) -> dict[str, Any]:
    rng, lanes = np.random.default_rng(4), 64 // np.dtype(REALS[name]).itemsize
    shapes = {"slopes": (ROWS, WIDTH), "gradient": (ROWS, WIDTH), "row": (ROWS, COLUMNS), "row_slope": (ROWS, COLUMNS),
              "partial": (ROWS, 1, lanes)}  # fmt: skip
    return {key: aligned(rng.normal(size=shape).astype(REALS[name])) for key, shape in shapes.items()}


@pytest.mark.parametrize("start", [-1, 32])
@pytest.mark.parametrize("fresh", [False, True])
@pytest.mark.parametrize("name", REALS)
def test_activations_backward(name: str, fresh: bool, start: int) -> None:
    wanted, edges = rows(name), np.array([EDGES])
    if fresh:
        wanted["partial"][:EDGES] = 0.0
    flat = (wanted[key].reshape(-1) for key in ("slopes", "gradient"))
    cpu_rows.activation_backward((0, EDGES), WIDTH, *flat, wanted["row_slope"], start, wanted["partial"])
    for turn in TURNS:
        found = rows(name)
        if fresh:
            found["partial"][:EDGES] = np.nan
        slopes, gradient, row_slope, partial = (found[key] for key in ("slopes", "gradient", "row_slope", "partial"))
        with on_host(*turn):
            run("rows.cuh", f"activation_backward<{name}>", partial.size, edges, WIDTH, slopes, gradient, row_slope,
                COLUMNS, start, fresh, partial)  # fmt: skip
        assert all(np.array_equal(found[key], wanted[key]) for key in wanted)


@pytest.mark.parametrize("name", REALS)
def test_cuts_backward(name: str) -> None:
    wanted, column, edges = rows(name), 37, np.array([EDGES])
    of_edges, by_fraction = np.linspace(-1.0, 1.0, ROWS), np.linspace(-1.0, 1.0, ROWS)
    lanes, product = aligned_zeros((ROWS * 16,), REALS[name]), aligned_zeros((ROWS,), REALS[name])
    gradient, given = wanted["gradient"].reshape(-1), wanted["slopes"].reshape(-1)
    cpu_rows.dots(EDGES, gradient, given, WIDTH, lanes, product)
    by_fraction[:EDGES] += (product * wanted["row_slope"][:, column])[:EDGES]
    cpu_rows.scale(EDGES, WIDTH, gradient, wanted["row"], column)
    for turn in TURNS:
        found, got = rows(name), of_edges.copy()
        with on_host(*turn):
            run("rows.cuh", f"cut_backward<{name}>", 8 * ROWS, edges, WIDTH, found["slopes"], found["row"],
                found["row_slope"], COLUMNS, column, found["gradient"], got)  # fmt: skip
        assert all(np.array_equal(found[key], wanted[key]) for key in wanted) and np.array_equal(got, by_fraction)
