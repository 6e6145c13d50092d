"""Edges with what belongs to their centers, and sums of lanes, against numpy; centers without edges among them."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import pytest
from numpy.typing import NDArray

from allegro_md.kernels import cpu_vector as v
from allegro_md.kernels.cpu_centers import components_backward, multiply_edges, sum_edges
from allegro_md.kernels.cpu_matrix import ROWS

DEGREES, CHANNELS = 4, 16
COUNTS = [0, 5, 17, 0, 1, 30]
L_OF = np.repeat(np.arange(DEGREES), 2 * np.arange(DEGREES) + 1)
"""Degree of each component lm."""


@pytest.mark.parametrize("degrees", range(1, DEGREES + 1))
def test_edges_of_centers(degrees: int) -> None:
    rng, edges, centers = np.random.default_rng(degrees), sum(COUNTS), len(COUNTS)
    bounds = np.concatenate([[0], np.cumsum(COUNTS)])
    center, degree, lanes = np.repeat(np.arange(centers), COUNTS), L_OF[: degrees**2], v.WIDE // 8
    y = rng.normal(size=(edges + ROWS, degrees**2))
    env, other = rng.normal(size=(2, edges + ROWS, degrees, CHANNELS))
    a, b = rng.normal(size=(2, centers, degrees**2, CHANNELS))

    total, product = np.full_like(a, np.nan), np.full_like(env, np.nan)
    sum_edges(degrees, y, env, bounds, centers, total)
    expected = np.zeros_like(a)
    np.add.at(expected, center, y[:edges, :, None] * env[:edges, degree])
    np.testing.assert_allclose(total, expected, rtol=1e-13, atol=1e-13)

    multiply_edges(degrees, y, a, bounds, centers, product)
    terms = y[:edges, :, None] * a[center]
    by_degree = np.stack([terms[:, degree == k].sum(axis=1) for k in range(degrees)], axis=1)
    np.testing.assert_allclose(product[:edges], by_degree, rtol=1e-13, atol=1e-13)

    out = np.zeros((edges, degrees**2, lanes))
    components_backward(degrees, env, other, a, b, bounds, centers, out)
    expected = (env[:edges, degree] * a[center] + other[:edges, degree] * b[center]).sum(axis=2)
    np.testing.assert_allclose(out.sum(axis=2)[:, 1:], expected[:, 1:], rtol=1e-13, atol=1e-13)


@numba.njit
def wide_sums(a: Any, out: Any) -> int:
    v.store(out, 0, v.sums_of_wide(a, 3))
    for k in range(v.lanes_of(a)):
        out[v.lanes_of(a) + k] = v.sum_of(v.load_wide(a, 3 + k * v.lanes_of(a)))
    return int(v.lanes_of(a))


@pytest.mark.parametrize("real", [np.float32, np.float64])
def test_lanes_are_added_up_as_one_by_one(real: type) -> None:
    lanes = v.WIDE // np.dtype(real).itemsize
    a: NDArray[Any] = np.random.default_rng(2).normal(size=lanes**2 + 3).astype(real)
    out: NDArray[Any] = np.zeros(2 * lanes, dtype=real)
    assert wide_sums(a, out) == lanes
    assert (out[:lanes] == out[lanes:]).all()
    np.testing.assert_allclose(out[:lanes], a[3:].reshape(lanes, lanes).sum(axis=1), rtol=1e-4)
