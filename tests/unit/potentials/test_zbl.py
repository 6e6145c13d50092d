"""ZBL against its formula (mpmath, with derivatives by mpmath) and difference quotients."""

from __future__ import annotations

from typing import Any

import mpmath
import numpy as np
import pytest
from scipy import constants

from allegro_md.cell import Cell
from allegro_md.errors import PhysicsError
from allegro_md.potentials.zbl import Zbl

TERMS = [("0.02817", "0.20162"), ("0.28022", "0.40290"), ("0.50986", "0.94229"), ("0.18175", "3.19980")]


def phi(z1: Any, z2: Any, r: Any, cutoff: Any) -> Any:
    """The whole pair energy, eV."""
    coulomb = constants.e / (4 * mpmath.pi * constants.epsilon_0) * 1e10
    x = (mpmath.mpf(z1) ** mpmath.mpf("0.23") + mpmath.mpf(z2) ** mpmath.mpf("0.23")) * r / mpmath.mpf("0.46850")
    psi = sum(mpmath.mpf(a) * mpmath.exp(-mpmath.mpf(b) * x) for a, b in TERMS)
    t, p = r / cutoff, mpmath.mpf(6)
    u = 1 - (p + 1) * (p + 2) / 2 * t**p + p * (p + 2) * t ** (p + 1) - p * (p + 1) / 2 * t ** (p + 2)
    return coulomb * z1 * z2 / r * psi * u


@pytest.mark.parametrize("r", [0.3, 0.6, 1.1, 1.9, 1.9999, 2.0, 2.1])
@pytest.mark.parametrize("symbols", [("C", "C"), ("C", "Cu"), ("U", "C")])
def test_formula(lab: Any, r: float, symbols: Any) -> None:
    direction = np.array([0.48, -0.6, 0.64])
    x = np.array([[0.1, 0.2, 0.3], [0.1, 0.2, 0.3] + r * direction])
    species = tuple(dict.fromkeys(symbols))
    kind = np.array([0, len(species) - 1], np.int16)
    system = lab.System(x, Cell(np.eye(3) * 20.0), species, kind)
    numbers = system.species.numbers[kind]
    potential = Zbl(system.species.numbers, 2.0)
    result = lab.run(potential, system)
    pair: Any = [int(number) for number in numbers]
    distance = mpmath.mpf(float(np.linalg.norm(x[1] - x[0])))
    inside = r < 2.0
    energy = phi(pair[0], pair[1], distance, 2) if inside else 0
    slope = mpmath.diff(lambda s: phi(pair[0], pair[1], s, 2), distance) if inside else 0
    assert result.energy == pytest.approx([float(energy) / 2] * 2, rel=1e-12, abs=1e-12)
    assert result.force[0] == pytest.approx(float(slope) * direction, rel=1e-11, abs=1e-12)
    assert (result.fixed.sum(axis=0) == 0).all()


def test_close_approach_is_an_error(lab: Any) -> None:
    system = lab.System(np.array([[0.0, 0, 0], [0.01, 0, 0]]), Cell(np.eye(3) * 20), ("U",), np.zeros(2, np.int16))
    with pytest.raises(PhysicsError, match="atom 0 .* atom 1, is 0.01 Å away"):
        lab.run(Zbl(system.species.numbers, 2.0), system)


def test_many_atoms(lab: Any) -> None:
    system = lab.liquid(("Cu", "C"), 1.5)
    cutoff = 2.6

    def energy(s: Any) -> Any:
        i, j, d = lab.pairs(s, cutoff)
        r = np.linalg.norm(d, axis=1)
        z = s.species.numbers[s.kind]
        x = (z[i] ** 0.23 + z[j] ** 0.23) * r / 0.46850
        psi = sum(float(a) * np.exp(-float(b) * x) for a, b in TERMS)
        t = r / cutoff
        return (7.199822739 * z[i] * z[j] / r * psi * (1 - 28 * t**6 + 48 * t**7 - 21 * t**8)).sum()

    result = lab.run(Zbl(system.species.numbers, cutoff), system)
    force, virial = lab.differences(energy, system)
    assert result.energy.sum() == pytest.approx(energy(system), rel=1e-9)
    assert np.abs(result.force - force).max() < 1e-7 * np.abs(force).max()
    assert np.abs(result.virial.sum(axis=0) - virial).max() < 1e-7 * np.abs(virial).max()
    split = lab.run(Zbl(system.species.numbers, cutoff), system, np.array_split(np.arange(27), 3), 0.9)
    assert (split.fixed == result.fixed).all() and (split.energy == result.energy).all()
