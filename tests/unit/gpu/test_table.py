"""Rows of radial tables by kernels of GPUs: the bits of those of CPUs."""

from __future__ import annotations

import numpy as np
import pytest
from block_data import REALS, poison, run
from host_build import TURNS, on_host

from allegro_md.kernels.cpu_aligned import aligned, aligned_zeros
from allegro_md.kernels.cpu_table import evaluate


@pytest.mark.parametrize("name", REALS)
def test_rows_of_tables(name: str) -> None:
    rng, real, edges, rows = np.random.default_rng(3), REALS[name], 77, 100
    table = aligned(rng.normal(size=(4, 9, 4, 80)).astype(real))
    interval, fraction = rng.integers(0, 36, rows) * 320, rng.uniform(0.0, 1.0, rows)
    fraction[:2] = 0.0, 1.0
    for first, last in ((0, 32), (32, 80), (16, 32)):
        wanted = [aligned_zeros((rows, last - first), real) for _ in range(2)]
        evaluate(table, (first, last), (0, edges), interval, fraction, *wanted)
        for turn in TURNS:
            found = [aligned(poison(each)) for each in wanted]
            with on_host(*turn):
                threads = rows * (last - first) * table.itemsize // 16
                run("table.cuh", f"evaluate<{name}>", threads, np.array([edges]), table, 80, first, last - first,
                    interval, fraction, *found)  # fmt: skip
            for got, right in zip(found, wanted, strict=True):
                assert np.array_equal(got[:edges], right[:edges]) and np.isnan(got[edges:]).all()
