"""Activations and their slopes against mpmath and scipy."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import mpmath
import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import expit, ndtr

from allegro_md.kernels.cpu_activation import CODES, activate
from allegro_md.kernels.cpu_vector import WIDE

NAMES = ["silu", "gelu", "mish"]
REALS = [np.float32, np.float64]


def applied(name: str, z: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    value, slope = np.empty_like(z), np.empty_like(z)
    activate(CODES[name], z, value, slope)
    return value, slope


def by_mpmath(name: str) -> Callable[[Any], Any]:
    forms: dict[str, Callable[[Any], Any]] = {
        "silu": lambda x: x / (1 + mpmath.exp(-x)),
        "gelu": lambda x: x * mpmath.ncdf(x),
        "mish": lambda x: x * mpmath.tanh(mpmath.log1p(mpmath.exp(x))),
    }
    return forms[name]


def by_scipy(name: str, x: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Value and analytic derivative in float64."""
    if name == "silu":
        return x * expit(x), expit(x) * (1.0 + x * expit(-x))
    if name == "gelu":
        return x * ndtr(x), ndtr(x) + x * np.exp(-0.5 * x * x) / math.sqrt(2.0 * math.pi)
    softplus = np.logaddexp(0.0, x)
    return x * np.tanh(softplus), np.tanh(softplus) + x * expit(x) / np.cosh(np.minimum(softplus, 300.0)) ** 2


def covering(real: Any) -> NDArray[Any]:
    """Dense where the functions bend, and out to where nothing is left of one side."""
    rng = np.random.default_rng(2)
    small = rng.choice([-1.0, 1.0], 1024) * 10.0 ** rng.uniform(-30.0, 0.0, 1024)
    far = rng.choice([-1.0, 1.0], 1024) * 10.0 ** rng.uniform(1.0, 4.0, 1024)
    return np.concatenate([np.linspace(-15.0, 15.0, 30720), np.linspace(-100.0, 100.0, 4096), small, far]).astype(real)


@pytest.mark.parametrize("real", REALS)
@pytest.mark.parametrize("name", NAMES)
def test_values_and_slopes(name: str, real: Any) -> None:
    z = covering(real)
    value, slope = applied(name, z)
    right, steep = by_scipy(name, z.astype(np.float64))
    unit = np.finfo(real).eps
    assert (np.abs(value - right) <= 3.0 * unit * np.maximum(1.0, np.abs(right))).all()
    assert (np.abs(slope - steep) <= 3.0 * unit).all()


@pytest.mark.parametrize("name", NAMES)
def test_formula(name: str) -> None:
    """At some places, against forty digits."""
    z = np.concatenate([np.linspace(-12.0, 12.0, 48), [-40.0, -1e-9, 1e-9, 1e-3, 40.0, 0.0, -0.7, 5.5]])
    form = by_mpmath(name)
    with mpmath.workdps(40):
        points = [mpmath.mpf(float(x)) for x in z]
        wanted = np.array([[float(form(x)), float(mpmath.diff(form, x))] for x in points]).T
    for found, right in zip(applied(name, z), wanted, strict=True):
        assert (np.abs(found - right) <= 4e-16 * np.maximum(1.0, np.abs(right))).all()


@pytest.mark.parametrize("real", REALS)
@pytest.mark.parametrize("name", NAMES)
def test_small_arguments_keep_their_digits(name: str, real: Any) -> None:
    z = np.array([-1e-3, -1e-10, -1e-30, 1e-30, 1e-20, 1e-10, 1e-5, 1e-3] * 2).astype(real)
    value, _ = applied(name, z)
    assert np.allclose(value, by_scipy(name, z.astype(np.float64))[0], rtol=5 * np.finfo(real).eps, atol=0.0)
    assert not applied(name, np.zeros_like(z))[0].any()


@pytest.mark.parametrize("real", REALS)
@pytest.mark.parametrize("name", ["gelu", "mish"])
def test_ends(name: str, real: Any) -> None:
    largest = float(np.finfo(real).max)
    z = np.array([-largest, -1e30, -1e4, -200.0, 200.0, 1e4, 1e30, largest] * 2).astype(real)
    value, slope = applied(name, z)
    assert np.allclose(value[4:8], z[4:8], rtol=np.finfo(real).eps, atol=0.0) and np.abs(value[:4]).max() < 1e-31
    assert np.allclose(slope[:8], [0.0] * 4 + [1.0] * 4, rtol=0.0, atol=np.finfo(real).eps)
    z[3], z[9] = np.nan, np.inf
    value, slope = applied(name, z)
    assert list(np.flatnonzero(np.isnan(value))) == [3] == list(np.flatnonzero(np.isnan(slope)))
    assert np.isposinf(value[9]) and abs(slope[9] - 1.0) <= np.finfo(real).eps


def test_the_left_side_of_gelu_keeps_digits() -> None:
    """To the rounding of z²/2."""
    z = np.linspace(-12.0, -1.0, 64)
    value, _ = applied("gelu", z)
    assert np.allclose(value, z * ndtr(z), rtol=2e-14, atol=0.0)


@pytest.mark.parametrize("real", REALS)
@pytest.mark.parametrize("name", NAMES)
def test_lanes_are_equal(name: str, real: Any) -> None:
    z = np.random.default_rng(3).normal(scale=4.0, size=1024).astype(real)
    once = applied(name, z)
    for step in range(1, WIDE // z.itemsize):
        for a, b in zip(applied(name, np.roll(z, step)), once, strict=True):
            assert np.array_equal(a, np.roll(b, step))
