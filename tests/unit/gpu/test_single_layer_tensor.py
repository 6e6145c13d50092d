"""The tensor sum of a single-layer network by kernels of GPUs: the bits of those of CPUs."""

from __future__ import annotations

import numpy as np
import pytest
from block_data import CENTERS, EDGES, REALS, filled_workspace, poison, run, small_network
from host_build import TURNS, on_host

from allegro_md.kernels import cpu_single_layer_tensor as cpu

FILE = "single_layer_tensor.cuh"


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("channels", [16, 48])
@pytest.mark.parametrize("degrees", [1, 2, 3, 4])
@pytest.mark.parametrize("name", REALS)
def test_forwards_and_back(name: str, degrees: int, channels: int, shared: bool) -> None:
    network = small_network(degrees, channels, shared, REALS[name])
    wanted, stride = filled_workspace(network), int(network.widths[0])
    cpu.environments(CENTERS, network, wanted)
    cpu.make_scalars((0, EDGES), network, wanted, wanted.inputs[0])
    dots = wanted.dots[:EDGES].copy()
    cpu.scalars_backward((0, EDGES), network, wanted, wanted.gradient)
    by_scalars, on_dots = wanted.partial[:, 0].copy(), wanted.dots[:EDGES].copy()
    cpu.environments_backward(CENTERS, EDGES, network, wanted)

    w, (real, edges) = filled_workspace(network), (f"<{name},{degrees}>", np.array([EDGES]))
    columns, center, partial = w.row.shape[1], w.center.astype(np.int32), w.partial[:, 0].copy()
    lanes, pieces = partial.shape[1], len(w.vector) * channels * w.row.itemsize // 16
    sums_of_edges = "centers.cuh", f"sum_edges{real}", CENTERS * channels
    for turn in TURNS:
        a, back, sums, got = (poison(each) for each in (w.environment, w.environment, w.sums, w.dots[: len(center)]))
        scalars, added = np.full((len(center), stride), np.nan, w.row.dtype), partial.copy()
        with on_host(*turn):
            run(*sums_of_edges, CENTERS, channels, w.bounds, w.harmonics, w.env, a)
            run(FILE, f"make_scalars{real}", pieces, edges, channels, shared, center, w.harmonics, a, w.row, columns,
                stride, got, scalars)  # fmt: skip
            assert np.array_equal(a[:CENTERS], wanted.environment[:CENTERS]) and np.array_equal(got[:EDGES], dots)
            assert np.array_equal(scalars[:EDGES].reshape(-1), wanted.inputs[0][: EDGES * stride])
            run(FILE, f"scalars_backward{real}", len(center) * lanes, edges, channels, shared, w.row, w.row_slope,
                columns, w.gradient, stride, got, added)  # fmt: skip
            assert np.array_equal(got[:EDGES], on_dots) and np.array_equal(added, by_scalars)
            run(*sums_of_edges, CENTERS, channels, w.bounds, w.harmonics, got, back)
            run(FILE, f"environments_backward{real}", 8 * len(center), edges, channels, center, w.harmonics, w.env,
                w.env_slope, got, a, back, added, sums)  # fmt: skip
        assert np.array_equal(back[:CENTERS], wanted.grad_environment[:CENTERS])
        assert np.array_equal(sums[:EDGES], wanted.sums[:EDGES]) and np.isnan(sums[EDGES:]).all()
