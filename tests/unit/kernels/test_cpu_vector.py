"""Lanes against numpy, bit for bit."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import pytest

from allegro_md.kernels import cpu_vector as v


@numba.njit
def apply(a: Any, b: Any, count: Any, out: Any, whole: Any) -> Any:
    x, y = v.load(a, 0), v.load(b, 0)
    at, sums = 0, (x + y, x - y, x * y, v.divide(x, y), v.root(y))
    for result in (*sums, v.least(x, y), v.most(x, y), 2.5 * x, v.first_of(x, count)):
        v.store(out, at, result)
        at += v.LANES
    number = v.truncated(x)
    v.store(out, at, v.cast(number, x))
    v.store(whole, 0, v.rounded(x))
    return v.all_below(x, y)


@numba.njit
def cast(a: Any, out: Any) -> None:
    v.store(out, 0, v.cast(v.load(a, 0), v.load(out, 0)))


@numba.njit
def transpose(a: Any, out: Any) -> None:
    v.transpose(a, 3, a.shape[1], out, 0, v.LANES)


@numba.njit
def eight_sums(a: Any, out: Any) -> None:
    v.store(out, 0, v.sums_of_eight(a, 4))
    for k in range(v.LANES):
        out[v.LANES + k] = v.sum_of(v.load(a, 4 + k * v.LANES))


@numba.njit
def rows(x: Any, whole: Any, out: Any) -> Any:
    return v.difference(x, 6, 3, out, 1, 5), v.same_three(whole, 0, 3), v.same_three(whole, 3, 6)


@numba.njit
def first_ones(a: Any, count: Any, out: Any) -> None:
    v.store_first(out, 1, v.load_first(a, 2, count), count)
    v.store(out, 40, v.load_first(a, 2, count))
    v.store(out, 60, v.load_same(a, 3))


@pytest.fixture(params=[np.float32, np.float64])
def pair(request: pytest.FixtureRequest) -> Any:
    rng = np.random.default_rng(1)
    a, b = 7.0 * rng.normal(size=v.LANES), rng.exponential(size=v.LANES)
    a[:3] = 2.5, -3.5, 0.5
    return a.astype(request.param), b.astype(request.param)


@pytest.mark.parametrize("count", [0, 3, 8, 100])
def test_operations(pair: Any, count: int) -> None:
    a, b = pair
    out, whole = np.empty((10, v.LANES), a.dtype), np.empty(v.LANES, np.int64)
    assert not apply(a, b, count, out.reshape(-1), whole)
    wanted = [a + b, a - b, a * b, a / b, np.sqrt(b), np.minimum(a, b), np.maximum(a, b), a.dtype.type(2.5) * a,
              np.where(np.arange(v.LANES) < count, a, 0), np.trunc(a)]  # fmt: skip
    assert np.array_equal(out, np.stack(wanted))
    assert np.array_equal(whole, np.rint(a).astype(np.int64))


@pytest.mark.parametrize("count", [0, 3, 100])
def test_part_of_a_wide_vector(pair: Any, count: int) -> None:
    real = pair[0].dtype
    lanes = v.WIDE // real.itemsize
    a, out = np.arange(20, dtype=real), np.full(80, -1, dtype=real)
    first_ones(a, count, out)
    n = min(count, lanes)
    assert np.array_equal(out[1 : 1 + n], a[2 : 2 + n]) and out[0] == -1 and np.all(out[1 + n : 40] == -1)
    assert np.array_equal(out[40 : 40 + n], a[2 : 2 + n]) and not np.any(out[40 + n : 40 + lanes])
    assert np.all(out[60 : 60 + lanes] == 3) and np.all(out[60 + lanes :] == -1)


def test_comparisons_with_nan(pair: Any) -> None:
    a, b = pair
    out, whole = np.empty((10, v.LANES), a.dtype), np.empty(v.LANES, np.int64)
    small = np.full_like(b, -1.0)
    assert apply(small, b, 8, out.reshape(-1), whole)
    bad = np.where(np.arange(v.LANES) == 5, np.nan, small)
    assert not apply(bad.astype(b.dtype), b, 8, out.reshape(-1), whole)
    assert out[5, 5] == b[5] and out[6, 5] == b[5]


def test_conversions(pair: Any) -> None:
    a, _ = pair
    for real in (np.float32, np.float64):
        out = np.zeros(v.LANES, real)
        cast(a, out)
        assert np.array_equal(out, a.astype(real))


def test_transpose(pair: Any) -> None:
    a = np.arange(150.0).astype(pair[0].dtype).reshape(10, 15)
    out = np.zeros((v.LANES, v.LANES), a.dtype)
    transpose(a, out)
    assert np.array_equal(out, a[:8, 3:11].T)


def test_eight_sums(pair: Any) -> None:
    a = np.random.default_rng(3).normal(size=80).astype(pair[0].dtype)
    out = np.zeros(2 * v.LANES, a.dtype)
    eight_sums(a, out)
    assert np.array_equal(out[: v.LANES], out[v.LANES :])
    exact = a[4:68].reshape(8, 8).astype(np.longdouble).sum(axis=1)
    assert np.abs(out[: v.LANES] - exact).max() < 8 * np.finfo(a.dtype).eps


def test_rows_of_three() -> None:
    x, out = np.random.default_rng(2).normal(size=(4, 3)), np.zeros(20)
    whole = np.array([[1, -2, 3], [1, -2, 3], [1, -2, 3]], dtype=np.int32)
    for k in range(3):
        whole[2] = whole[0]
        whole[2, k] += 1
        square, same, unlike = rows(x, whole, out)
        assert same and not unlike
    d = x[2] - x[1]
    assert np.array_equal(out[[1, 6, 11]], d) and np.count_nonzero(out) == 3
    assert square == d[0] * d[0] + d[1] * d[1] + d[2] * d[2]
