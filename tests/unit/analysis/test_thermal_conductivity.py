"""Thermal conductivity by Green and Kubo against series of heat fluxes with a known correlation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from feeding import Array, Frames, columns, fed, made

from allegro_md.analysis.heat_flux import heat_flux, mean_energies
from allegro_md.cell import Cell
from allegro_md.cli import main
from allegro_md.comm import Comm
from allegro_md.config import load_input
from allegro_md.errors import InputError
from allegro_md.reporting import Thermo
from allegro_md.simulation.build import build_observers, build_parts
from allegro_md.units import AMU_A2_PER_FS2


def series(flux: Array, interval: float = 4.0, temperature: float = 100.0, volume: float = 8000.0) -> Frames:
    """Two atoms that pass each other and carry `flux` (samples, 3), eV·Å/fs, by their virials alone."""
    n, speed = len(flux), 0.01
    virial = np.zeros((n, 2, 3, 3))
    virial[:, 0, :, 0], virial[:, 1, :, 0] = flux / (2.0 * speed), -flux / (2.0 * speed)
    velocity = np.zeros((n, 2, 3))
    velocity[:, 0, 0], velocity[:, 1, 0] = speed, -speed
    thermo = [Thermo(0.0, 0.0, 0.0, 0.0, temperature, 0.0, volume, np.zeros(6)) for _ in flux]
    return Frames(np.zeros((n, 2, 3)), ["Ar", "Ar"], interval=interval, velocity=velocity, thermo=thermo,
                  energy=np.full((n, 2), -0.1), centroid_virial=virial)


def relaxing(rng: np.random.Generator, samples: int, keep: float, size: float) -> Array:
    """(samples, 3): each component relaxes by a factor `keep` per sample."""
    flux = np.empty((samples, 3))
    flux[0] = rng.normal(size=3)
    for k in range(1, samples):
        flux[k] = keep * flux[k - 1] + np.sqrt(1 - keep**2) * rng.normal(size=3)
    return size * flux


def test_a_relaxing_flux() -> None:
    """κ = ⟨J²⟩/(V kT²) Δt/2 · coth(Δt/2τ): in SI units by hand."""
    keep, size = np.exp(-4.0 / 50.0), 0.005
    flux = relaxing(np.random.default_rng(0), 12000, keep, size)
    value, *axes = fed(series(flux), kind="thermal-conductivity", window=500.0).result(Comm.serial()).values
    integral = (size * 1.602176634e-14) ** 2 * 2e-15 * (1 + keep) / (1 - keep)
    exact = integral / (8000e-30 * 1.380649e-23 * 100.0**2)
    assert abs(value.value - exact) < 3 * value.error < 0.5 * exact
    assert value.unit == "W/(m·K)" and [axis.name for axis in axes] == ["kappa_x", "kappa_y", "kappa_z"]
    assert np.mean([axis.value for axis in axes]) == pytest.approx(value.value, rel=1e-12)
    assert all(abs(axis.value - exact) < 4 * axis.error for axis in axes)


def test_correlation_against_all_pairs() -> None:
    flux = relaxing(np.random.default_rng(1), 300, 0.9, 0.005)
    found = columns(fed(series(flux), kind="thermal-conductivity", window=100.0))
    watts = flux * 1.602176634e-14 / 8000e-30 * 1e-9
    expected = [np.mean(watts[: 300 - lag] * watts[lag:]) for lag in range(26)]
    np.testing.assert_allclose(found["hfacf_GW2_m4"], expected, rtol=0, atol=1e-10 * float(expected[0]))


def test_the_flux_of_moving_atoms() -> None:
    """Written out for three atoms of two elements that move together, too: what all do does not count."""
    rng = np.random.default_rng(2)
    velocity, energy, virial = rng.normal(size=(1, 3, 3)), rng.normal(size=(1, 3)), rng.normal(size=(1, 3, 3, 3))
    frames = Frames(np.zeros((1, 3, 3)), ["Ar", "Kr", "Ar"], velocity=velocity, energy=energy, centroid_virial=virial)
    sample, mass = frames.sample(0, rng), frames.masses
    v = velocity[0] - mass @ velocity[0] / mass.sum()
    total = energy[0] + 0.5 * AMU_A2_PER_FS2 * mass * (v**2).sum(axis=1)
    zero = mean_energies(sample)
    np.testing.assert_allclose(zero, [0.5 * (total[0] + total[2]), total[1]], rtol=1e-12)
    carried = (total - zero[[0, 1, 0]]) @ v
    np.testing.assert_allclose(heat_flux(sample, zero), [carried, np.einsum("iab,ib->a", virial[0], v)], rtol=1e-10)


def test_doubts_are_told() -> None:
    rng = np.random.default_rng(3)
    coarse, short = series(relaxing(rng, 3000, 0.5, 0.01)), series(relaxing(rng, 200, 0.9, 0.01))
    result = fed(coarse, kind="thermal-conductivity", window=200.0).result(Comm.serial())
    assert any("take samples more often" in note for note in result.notes)
    result = fed(short, kind="thermal-conductivity", window=200.0).result(Comm.serial())
    assert np.isnan(result.values[0].value) and "Make it 4.08 ps long at least" in result.notes[0]


def test_what_cannot_be_is_refused() -> None:
    frames = series(np.zeros((10, 3)))
    with pytest.raises(InputError, match="holds fewer than 5 samples"):
        made(frames, kind="thermal-conductivity", window=10.0)
    frames.cells = (Cell(np.eye(3), (False,) * 3, absent=(True,) * 3),)
    with pytest.raises(InputError, match="no box"):
        made(frames, kind="thermal-conductivity", window=100.0)


COPPER = """
[system]
crystal = { symbol = "Cu", lattice = "fcc", a = 3.6, repeat = [2, 2, 2] }
[[potential]]
kind = "ase"
calculator = "emt"
range = 6.0
[dynamics]
ensemble = "nve"
timestep = 2.0
steps = 10
[output]
observe = [{ kind = "KIND", every = 5 }]
"""


@pytest.mark.parametrize("kind", ["thermal-conductivity", "heat-flux"])
def test_a_potential_that_cannot_give_it_is_refused_by_name(tmp_path: Path, kind: str) -> None:
    (tmp_path / "input.toml").write_text(COPPER.replace("KIND", kind))
    config = load_input(tmp_path / "input.toml")
    parts = build_parts(config, Comm.serial())
    with pytest.raises(InputError, match=f"'{kind}' is made of the heat flux, but the potential 'ase' gives forces on"):
        build_observers(config, parts.system, parts.potential, Comm.serial())


@pytest.mark.parametrize("kind", ["thermal-conductivity", "heat-flux"])
def test_nothing_stored_will_do(tmp_path: Path, kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "walk.extxyz").write_text("1\n\nAr 0 0 0\n")
    assert main(["analyze", kind, str(tmp_path / "walk.extxyz"), "--out", str(tmp_path)]) == 2
    assert f"'{kind}' cannot be computed afterwards: a trajectory holds neither energies" in capsys.readouterr().err
    assert main(["analyze", kind, "--keys"]) == 0
