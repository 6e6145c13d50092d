"""Shear viscosity by Green and Kubo against series with a known correlation, and its invariance under rotation."""

from __future__ import annotations

import numpy as np
import pytest
from feeding import Array, Frames, columns, fed, made
from scipy.spatial.transform import Rotation

from allegro_md.analysis.viscosity import traceless
from allegro_md.cell import Cell
from allegro_md.comm import Comm
from allegro_md.errors import InputError
from allegro_md.reporting import Thermo


def series(stress: Array, interval: float = 4.0, temperature: float = 100.0, volume: float = 8000.0) -> Frames:
    """Global observables with `stress` (samples, 6), GPa."""
    thermo = [Thermo(0.0, 0.0, 0.0, 0.0, temperature, 0.0, volume, row) for row in stress]
    return Frames(np.zeros((len(stress), 1, 3)), ["Ar"], interval=interval, thermo=thermo)


def relaxing(rng: np.random.Generator, samples: int, keep: float, size: float) -> Array:
    """(samples, 6) GPa, of an isotropic fluid: each of the five components relaxes by a factor `keep` per sample."""
    parts = np.empty((samples, 5))
    parts[0] = rng.normal(size=5)
    for k in range(1, samples):
        parts[k] = keep * parts[k - 1] + np.sqrt(1 - keep**2) * rng.normal(size=5)
    xy, xz, yz, a, b = (size * parts).T
    zz = 2.0 * b / np.sqrt(3.0)
    return np.stack([a - 0.5 * zz, -a - 0.5 * zz, zz, yz, xz, xy], axis=1) - np.array([0.7, 0.7, 0.7, 0.0, 0.0, 0.0])


def test_a_relaxing_stress() -> None:
    """η = V/kT · σ² Δt/2 · coth(Δt/2τ): in SI units by hand."""
    keep, size = np.exp(-4.0 / 50.0), 0.03
    stress = relaxing(np.random.default_rng(0), 12000, keep, size)
    value, = fed(series(stress), kind="viscosity", window=800.0).result(Comm.serial()).values
    integral = (size * 1e9) ** 2 * 2e-15 * (1 + keep) / (1 - keep)
    exact = 8000e-30 / (1.380649e-23 * 100.0) * integral * 1e3
    assert abs(value.value - exact) < 3 * value.error < 0.25 * exact
    assert value.unit == "mPa·s"


def test_correlation_against_all_pairs() -> None:
    stress = relaxing(np.random.default_rng(1), 300, 0.9, 0.1)
    found = columns(fed(series(stress), kind="viscosity", window=100.0))
    parts = np.array([traceless(row) for row in stress])
    expected = [np.mean(parts[: 300 - lag] * parts[lag:]) for lag in range(26)]
    np.testing.assert_allclose(found["correlation_GPa2"], expected, atol=1e-14)


def test_the_components_do_not_depend_on_the_axes() -> None:
    """Their squares add up to half of the square of the traceless tensor, and so under any rotation."""
    rng = np.random.default_rng(2)
    tensor = rng.normal(size=(3, 3))
    tensor = tensor + tensor.T
    deviator = tensor - np.eye(3) * np.trace(tensor) / 3
    for turn in (np.eye(3), Rotation.random(rng=rng).as_matrix()):
        turned = turn @ tensor @ turn.T
        voigt = turned[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]]
        assert np.sum(traceless(voigt) ** 2) == pytest.approx(0.5 * np.sum(deviator**2), rel=1e-12)


def test_doubts_are_told() -> None:
    rng = np.random.default_rng(3)
    sheared = relaxing(rng, 3000, 0.9, 0.01)
    sheared[:, 5] += 0.05
    result = fed(series(sheared), kind="viscosity", window=200.0).result(Comm.serial())
    assert np.isnan(result.values[0].value) and any("mean shear stress is not zero" in note for note in result.notes)
    result = fed(series(relaxing(rng, 3000, 0.5, 0.01)), kind="viscosity", window=200.0).result(Comm.serial())
    assert any("take samples more often" in note for note in result.notes)
    result = fed(series(relaxing(rng, 200, 0.9, 0.01)), kind="viscosity", window=200.0).result(Comm.serial())
    assert np.isnan(result.values[0].value) and "Make it 4.08 ps long at least" in result.notes[0]


def test_what_cannot_be_is_refused() -> None:
    frames = series(np.zeros((10, 6)))
    with pytest.raises(InputError, match="holds fewer than 5 samples"):
        made(frames, kind="viscosity", window=10.0)
    frames.cells = [Cell(np.eye(3), (False, False, False), absent=(True, True, True))]
    with pytest.raises(InputError, match="the system has no box"):
        made(frames, kind="viscosity")
