"""Profiles are numpy's histograms of fractional coordinates; temperatures are those of the velocities given."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from periodic_reference import TRICLINIC, Frames, column
from scipy import constants

from allegro_md.analysis.profile import Profile, ProfileTable, build
from allegro_md.cell import Cell
from allegro_md.errors import InputError, PhysicsError
from allegro_md.units import AMU_A2_PER_FS2, BOLTZMANN

BOX = np.diag([6.0, 7.0, 20.0])


def quantity(frames: Frames, **keys: Any) -> Profile:
    return build(ProfileTable(kind="profile", every=1, **keys), frames.system(), "observe")


@pytest.mark.parametrize(("matrix", "axis"), [(BOX, "z"), (BOX, "x"), (3.0 * TRICLINIC, "b"), (3.0 * TRICLINIC, "c")])
def test_densities_of_a_changing_cell(matrix: np.ndarray, axis: str) -> None:
    frames = Frames(matrix, "O" * 80 + "Si" * 40, n_frames=4, changing=True)
    result = frames.fed(quantity(frames, axis=axis, bins=10))
    k = "xyzabc".index(axis) % 3
    volumes = [cell.volume for cell in frames.cells]
    fractions = [(p @ np.linalg.inv(c.matrix))[:, k] % 1.0 for p, c in zip(frames.positions, frames.cells, strict=True)]
    for name, mass, rows in (("O", 15.999, slice(0, 80)), ("Si", 28.085, slice(80, 120))):
        counts = sum(np.histogram(f[rows], 10, (0.0, 1.0))[0] for f in fractions)
        density = counts / (sum(volumes) / 10.0)
        np.testing.assert_allclose(column(result.columns, f"n_{name}_A-3"), density, rtol=1e-13)
        grams = density * mass * constants.atomic_mass * 1e3 / 1e-24
        np.testing.assert_allclose(column(result.columns, f"rho_{name}_g_cm3"), grams, rtol=1e-12)
    heights = [volume / np.linalg.norm(np.cross(*np.delete(c.matrix, k, axis=0))) for volume, c in
               zip(volumes, frames.cells, strict=True)]  # fmt: skip
    along = column(result.columns, f"{axis}_A")
    np.testing.assert_allclose(along, np.mean(heights) * (np.arange(10) + 0.5) / 10.0)
    assert not any(c.name.startswith("T_") for c in result.columns) and len(result.panels) == 2


def test_errors_are_those_of_the_frames() -> None:
    frames = Frames(BOX, "O" * 200, n_frames=6)
    result = frames.fed(quantity(frames, bins=4))
    each = [np.histogram(p[:, 2] % 20.0, 4, (0.0, 20.0))[0] / (6.0 * 7.0 * 5.0) for p in frames.positions]
    error = np.std(each, axis=0, ddof=1) / np.sqrt(6)
    np.testing.assert_allclose(column(result.columns, "n_O_err_A-3"), error, rtol=1e-12)


def test_a_hot_bin_of_many_atoms() -> None:
    """m v² of 5·10⁵ eV each, together more than 2⁶³ of the units in which they are added up."""
    frames = Frames(BOX, "O" * 40, n_frames=1)
    frames.velocities[:] = np.sqrt(5e5 / (3.0 * 15.999 * AMU_A2_PER_FS2))
    result = frames.fed(quantity(frames, bins=1, temperature=True))
    assert column(result.columns, "T_O_K")[0] == pytest.approx(5e5 / (3.0 * BOLTZMANN), rel=1e-12)


def test_temperature() -> None:
    """Maxwell-Boltzmann velocities that are twice as hot in the upper half."""
    frames = Frames(BOX, "O" * 3000 + "Li" * 3000, n_frames=2)
    masses = np.repeat([15.999, 6.94], 3000) * constants.atomic_mass
    for k, positions in enumerate(frames.positions):
        kelvin = np.where(positions[:, 2] % 20.0 < 10.0, 300.0, 600.0)
        metres = np.random.default_rng(k).normal(size=(6000, 3)) * np.sqrt(constants.k * kelvin / masses)[:, None]
        frames.velocities[k] = metres * 1e-5
    result = frames.fed(quantity(frames, bins=4, temperature=True))
    for name in ("O", "Li"):
        found = column(result.columns, f"T_{name}_K")
        np.testing.assert_allclose(found, [300.0, 300.0, 600.0, 600.0], rtol=5.0 * np.sqrt(2.0 / (3 * 1500)))
    lower = frames.positions[:, :, 2] % 20.0 < 5.0
    squares = (frames.velocities * 1e5) ** 2
    oxygen = np.arange(6000) < 3000
    energy = (masses[None, :, None] * squares)[lower & oxygen].sum()
    exact = energy / (3.0 * constants.k * (lower & oxygen).sum())
    assert column(result.columns, "T_O_K")[0] == pytest.approx(exact, rel=1e-9)
    assert quantity(frames, temperature=True).fields == ("position", "velocity")
    assert quantity(frames).fields == ("position",)


def test_atoms_outside_a_free_axis_are_told() -> None:
    frames = Frames(BOX, "OOOO", n_frames=2, periodic=(True, True, False))
    frames.positions[:, 1, 2] = -3.0
    frames.positions[1, 2, 2] = 20.0
    result = frames.fed(quantity(frames, bins=5))
    assert result.notes == ["On average 1.5 atoms are outside the cell, which is not periodic along this axis."]
    assert column(result.columns, "n_O_A-3").sum() * 6.0 * 7.0 * 4.0 == pytest.approx(2.5)


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(InputError, match='perpendicular to the others — choose axis = "c"'):
        quantity(Frames(TRICLINIC), axis="z")
    frames = Frames(BOX)
    frames.cells[0] = Cell.from_rows(np.diag([5.0, 5.0, 0.0]), (True, True, False))
    with pytest.raises(InputError, match="the system has no box"):
        quantity(frames)
    frames = Frames(BOX)
    profile = quantity(frames)
    frames.cells[0] = Cell(BOX + 0.1)
    with pytest.raises(PhysicsError, match="turned away from z at step 0"):
        profile.add(frames.samples()[0])
    frames = Frames(BOX)
    frames.velocities[0, 3, 1] = np.nan
    with pytest.raises(PhysicsError, match="no possible velocity at step 0"):
        quantity(frames, temperature=True).add(frames.samples()[0])
