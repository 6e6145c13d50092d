"""Exponentials against mpmath."""

from __future__ import annotations

import math
from typing import Any

import mpmath
import numba
import numpy as np
import pytest
from numpy.typing import NDArray

from allegro_md.kernels.cpu_vector import LANES, lanes_of, load, load_wide, store
from allegro_md.kernels.exponential import LN2, exponential, falling


@numba.njit
def apply(x: Any, out: Any) -> None:
    for k in range(0, len(x), LANES):
        store(out, k, exponential(load(x, k)))


@numba.njit
def apply_falling(x: Any, out: Any) -> None:
    for k in range(0, len(x), lanes_of(x)):
        store(out, k, falling(load_wide(x, k)))


def exponentials(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of (n,) numbers, any n."""
    padded = np.zeros(-(-len(x) // LANES) * LANES)
    padded[: len(x)] = x
    out = np.empty_like(padded)
    apply(padded, out)
    return out[: len(x)]


def numbers() -> NDArray[np.float64]:
    """Between the ends, near 0, and halfway between multiples of ln 2, where the series is longest."""
    rng = np.random.default_rng(1)
    small = rng.choice([-1.0, 1.0], 500) * 10.0 ** rng.uniform(-20.0, 0.0, 500)
    halfway = (rng.integers(-1000, 1000, 500) + 0.5) * math.log(2.0) + rng.uniform(-1e-9, 1e-9, 500)
    return np.concatenate([rng.uniform(-708.0, 708.0, 3000), rng.uniform(-3.0, 0.0, 1000), small, halfway])


def test_to_a_unit_in_the_last_place() -> None:
    x = numbers()
    with mpmath.workdps(40):
        wanted = [mpmath.exp(mpmath.mpf(float(number))) for number in x]
        missed = np.array([float(mpmath.mpf(float(y)) - w) for y, w in zip(exponentials(x), wanted, strict=True)])
        assert abs(mpmath.mpf(LN2[0]) + mpmath.mpf(LN2[1]) - mpmath.log(2)) < 1e-32
    assert (np.abs(missed) / np.spacing(np.array(wanted, dtype=np.float64))).max() < 1.0


def test_ends() -> None:
    x = np.array([0.0, -0.0, -708.7, -708.75, -709.0, -745.0, -1e300, -np.inf, 709.0, 1e300, np.inf, np.nan, 5e-324])
    found = exponentials(x)
    assert np.array_equal(found[[0, 1, 12]], [1.0, 1.0, 1.0])
    assert found[2] == pytest.approx(math.exp(-708.7), rel=1e-15) and not found[3:8].any()
    assert found[8:11] == pytest.approx([math.exp(709.0)] * 3, rel=1e-15) and np.isnan(found[11])


def test_lanes_are_equal() -> None:
    x = numbers()[: LANES * 400]
    for step in range(1, LANES):
        assert np.array_equal(exponentials(np.roll(x, step)), np.roll(exponentials(x), step))


ENDS = [(np.float32, 87.0, 2e-7, 3e-6), (np.float64, 708.0, 3e-16, 1e-13)]


@pytest.mark.parametrize(("real", "bound", "near", "far"), ENDS)
def test_falling(real: Any, bound: float, near: float, far: float) -> None:
    """Errors are relative, `near` 0 and at the end."""
    x = np.linspace(-bound, bound, 4096).astype(real)
    out = np.empty_like(x)
    apply_falling(x, out)
    wanted = np.exp(-x.astype(np.longdouble))
    error = np.abs(out / wanted - 1.0)
    assert (error <= near + (far - near) * np.abs(x) / bound).all()
