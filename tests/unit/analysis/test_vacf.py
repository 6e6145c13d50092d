"""Velocity autocorrelations, densities of states and Green-Kubo diffusion against closed forms."""

from __future__ import annotations

import numpy as np
import pytest
from feeding import Array, Frames, columns, fed, made
from scipy.integrate import trapezoid

from allegro_md.comm import Comm
from allegro_md.errors import InputError

SPEED = 3e-3


def oscillators(samples: int, n: int, frequency: float, interval: float, symbols: list[str]) -> Frames:
    """Pairs of atoms that swing against each other with a frequency in THz; pairs are spread evenly over the phase."""
    time = interval * np.arange(samples)[:, None]
    omega = 2e-3 * np.pi * frequency
    phase = np.repeat(2 * np.pi * np.arange(n // 2) / (n // 2), 2)
    sign = np.tile([1.0, -1.0], n // 2)
    velocity = np.zeros((samples, n, 3))
    velocity[:, :, 1] = SPEED * sign * np.cos(omega * time + phase)
    return Frames(np.zeros((samples, n, 3)), symbols, interval=interval, velocity=velocity)


def all_pairs(velocity: Array, lags: int, stride: int) -> Array:
    """(lags,) VACF of atoms (samples, n, 3), from origins at every so many samples."""
    found = []
    for lag in range(lags):
        products = [np.sum(velocity[t] * velocity[t + lag], axis=-1) for t in range(0, len(velocity) - lag, stride)]
        found.append(np.mean(products))
    return np.array(found)


def langevin_gas(rng: np.random.Generator, atoms: int, samples: int, friction: float, interval: float) -> Array:
    """(samples, atoms, 3) velocities with ⟨v²⟩ = 1 per component, sampled exactly."""
    keep = np.exp(-friction * interval)
    velocity = np.empty((samples, atoms, 3))
    velocity[0] = rng.normal(size=(atoms, 3))
    for k in range(1, samples):
        velocity[k] = keep * velocity[k - 1] + np.sqrt(1 - keep**2) * rng.normal(size=(atoms, 3))
    return velocity


def test_harmonic_oscillators() -> None:
    """VACF = ½ v² cos(ωτ) to 1e-10; all of the density of states at the frequency, its integral 3."""
    frames = oscillators(600, 20, 5.0, 4.0, ["Ar"] * 20)
    quantity = fed(frames, kind="vacf", window=1600.0, origin_every=3)
    found = columns(quantity)
    expected = np.cos(2e-3 * np.pi * 5.0 * found["time_fs"])
    assert len(expected) == 401
    np.testing.assert_allclose(found["vacf_Ar"], expected, atol=1e-10)
    np.testing.assert_allclose(found["vacf_Ar_A2_fs2"], 0.5 * SPEED**2 * expected, atol=1e-10 * SPEED**2)
    dos = columns(quantity, "dos")
    assert list(dos) == ["frequency_THz", "dos_Ar"]
    assert trapezoid(dos["dos_Ar"], dos["frequency_THz"]) == pytest.approx(3.0, rel=1e-10)
    assert dos["frequency_THz"][np.argmax(dos["dos_Ar"])] == pytest.approx(5.0, abs=0.32)
    near = np.abs(dos["frequency_THz"] - 5.0) < 1.0
    assert trapezoid(dos["dos_Ar"][near], dos["frequency_THz"][near]) == pytest.approx(3.0, rel=0.01)


def test_against_all_pairs() -> None:
    """Two elements, without the drift of the center of mass; a group of both weights them by mass."""
    rng = np.random.default_rng(1)
    velocity = 0.01 * langevin_gas(rng, 30, 120, 0.1, 2.0) + np.array([0.1, 0.0, -0.05])
    frames = Frames(rng.normal(size=(120, 30, 3)), ["Li" if k % 3 else "O" for k in range(30)], velocity=velocity)
    groups = {"Li": {"species": ["Li"]}, "all": {"species": ["Li", "O"]}, "some": {"ids": (0, 1, 5)}}
    quantity = fed(frames, kind="vacf", window=50.0, origin_every=4, groups=groups)
    found, dos = columns(quantity), columns(quantity, "dos")
    weights = frames.masses / frames.masses.sum()
    relative = velocity - np.einsum("i,tik->tk", weights, velocity)[:, None]
    lithium = np.array([name == "Li" for name in frames.symbols])
    for name, of in (("Li", lithium), ("all", np.arange(30)), ("some", [0, 1, 5])):
        expected = all_pairs(relative[:, of], 26, 4)
        np.testing.assert_allclose(found[f"vacf_{name}_A2_fs2"], expected, atol=1e-10 * expected[0])
    heavy = all_pairs(relative * np.sqrt(frames.masses)[:, None], 26, 4)
    damped = heavy / heavy[0] * np.cos(0.5 * np.pi * np.arange(26) / 25) ** 2
    transform = [
        12 * 0.002 * (damped @ np.cos(2 * np.pi * f * 0.002 * np.arange(26)) - 0.5 * damped[0])
        for f in dos["frequency_THz"][:-1]
    ]
    np.testing.assert_allclose(dos["dos_all"][:-1], transform, rtol=1e-9, atol=1e-12)


def test_green_kubo_and_einstein_agree_for_a_langevin_gas() -> None:
    """And both with kT/(m γ), the sampling of an exponential left aside: its trapezoidal sum is known."""
    rng = np.random.default_rng(2)
    friction, interval, n = 0.05, 4.0, 60
    velocity = 0.01 * langevin_gas(rng, n, 4000, friction, interval)
    position = np.cumsum(interval * velocity, axis=0)
    frames = Frames(position, ["Ar"] * n, interval=interval, velocity=velocity)
    value, = fed(frames, kind="vacf", window=400.0, origin_every=5).result(Comm.serial()).values
    exact = 0.1 * 1e-4 * interval / 2 / np.tanh(friction * interval / 2) * (1 - 1 / n)
    assert abs(value.value - exact) < 3 * value.error < 0.2 * exact
    einstein, = fed(frames, kind="msd").result(Comm.serial()).values
    assert abs(value.value - einstein.value) < 3 * np.hypot(value.error, einstein.error)


def test_too_coarse_sampling_is_told() -> None:
    coarse = oscillators(200, 10, 5.0, 95.0, ["Ar"] * 10)
    notes = fed(coarse, kind="vacf").result(Comm.serial()).notes
    assert any("take samples more often" in note for note in notes)
    fine = fed(oscillators(600, 10, 5.0, 10.0, ["Ar"] * 10), kind="vacf", window=1000.0).result(Comm.serial())
    assert not any("take samples more often" in note for note in fine.notes)


def test_too_short_a_run_has_no_diffusion_coefficient() -> None:
    result = fed(oscillators(60, 10, 5.0, 10.0, ["Ar"] * 10), kind="vacf", window=300.0).result(Comm.serial())
    assert np.isnan(result.values[0].value) and "Make it 6.2 ps long at least" in result.notes[0]


def test_memory_is_what_it_says() -> None:
    frames = oscillators(60, 2000, 5.0, 10.0, ["Ar"] * 2000)
    quantity = fed(frames, kind="vacf", window=300.0, origin_every=3)
    held = sum(rows.nbytes for rows in quantity.rows().values())
    assert held <= quantity.bytes_held(2000) - quantity.bytes_held(0) <= 1.1 * held


def test_what_cannot_be_is_refused() -> None:
    frames = oscillators(60, 10, 5.0, 10.0, ["Ar"] * 10)
    with pytest.raises(InputError, match="holds fewer than 3 samples"):
        made(frames, kind="vacf", window=15.0)
