"""`AllegroCalculator` against the reference program's outputs, difference quotients, and itself after changes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from allegro_md.ase import AllegroCalculator
from allegro_md.errors import InputError

MODEL = Path(__file__).resolve().parents[2] / "inputs" / "models" / "cu.allegro"


@pytest.fixture(scope="module")
def calculator() -> AllegroCalculator:
    return AllegroCalculator(MODEL, precision="double")


def copper(calculator: AllegroCalculator) -> Atoms:
    atoms = bulk("Cu", cubic=True, a=3.64) * (2, 2, 1)
    atoms.rattle(0.1, seed=1)
    atoms.cell[1, 0] += 0.7  # tilted
    atoms.calc = calculator
    return atoms


def test_equation_of_state(calculator: AllegroCalculator) -> None:
    """Lattice constant and bulk modulus as stated by those who trained it (3.6384 Å, 125.5 GPa)."""
    lattice = np.linspace(3.58, 3.70, 9)
    energies = []
    for a in lattice:
        atoms = bulk("Cu", a=float(a))  # one atom: the cell is smaller than the cutoff
        atoms.calc = calculator
        energies.append(atoms.get_potential_energy())
    fit = np.polynomial.Polynomial.fit(lattice, energies, 4)
    minimum = next(float(r.real) for r in fit.deriv().roots() if abs(r.imag) < 1e-9 and 3.6 < float(r.real) < 3.68)
    bulk_modulus = 4.0 / (9.0 * minimum) * fit.deriv(2)(minimum) * 160.21766  # V = a³/4
    assert minimum == pytest.approx(3.6384, abs=5e-4)
    assert bulk_modulus == pytest.approx(125.5, rel=0.01)


def test_forces_and_stress_are_derivatives(calculator: AllegroCalculator) -> None:
    atoms = copper(calculator)
    assert atoms.get_potential_energies().sum() == pytest.approx(atoms.get_potential_energy(), abs=1e-10)
    forces, stress = atoms.get_forces(), atoms.get_stress()
    step = 1e-4
    for atom, axis in ((0, 0), (5, 1), (11, 2)):
        moved = []
        for sign in (1, -1):
            other = atoms.copy()
            other.calc = calculator
            other.positions[atom, axis] += sign * step
            moved.append(other.get_potential_energy())
        assert forces[atom, axis] == pytest.approx((moved[1] - moved[0]) / (2 * step), abs=1e-6)
    for index, (a, b) in enumerate(((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))):
        strained = []
        for sign in (1, -1):
            strain = np.eye(3)
            strain[a, b] += 0.5 * sign * step
            strain[b, a] += 0.5 * sign * step
            other = atoms.copy()
            other.calc = calculator
            other.set_cell(atoms.cell.array @ strain, scale_atoms=True)
            strained.append(other.get_potential_energy())
        assert stress[index] == pytest.approx(
            (strained[0] - strained[1]) / (2 * step) / atoms.get_volume(), abs=1e-7
        )


def test_reused_list_gives_the_same_bits(calculator: AllegroCalculator) -> None:
    atoms = copper(calculator)
    atoms.get_forces()
    atoms.positions += np.random.default_rng(0).normal(scale=0.02, size=atoms.positions.shape)
    fresh = copper(AllegroCalculator(MODEL, precision="double"))
    fresh.positions = atoms.positions
    np.testing.assert_array_equal(atoms.get_forces(), fresh.get_forces())
    atoms.wrap()
    np.testing.assert_allclose(atoms.get_forces(), fresh.get_forces(), atol=1e-10)


def test_free_molecule_has_no_stress(calculator: AllegroCalculator) -> None:
    atoms = Atoms("Cu2", positions=[[0, 0, 0], [2.2, 0, 0]], calculator=calculator)
    forces = atoms.get_forces()
    np.testing.assert_allclose(forces[0], -forces[1], atol=0)
    assert "stress" not in calculator.results


def test_unknown_element(calculator: AllegroCalculator) -> None:
    with pytest.raises(InputError, match="Au"):
        gold = bulk("Au")
        gold.calc = calculator
        gold.get_potential_energy()


@pytest.mark.parametrize(("precision", "allowed"), [("double", 1e-5), ("mixed", 1e-4)])
def test_fused_is_close_to_the_network(precision: str, allowed: float) -> None:
    """The default engine against the reference in float64: energies, forces, stress."""
    results = {}
    for engine, accuracy in (("auto", precision), ("fused", precision), ("reference", "double")):
        atoms = copper(AllegroCalculator(MODEL, engine=engine, precision=accuracy))
        results[engine] = atoms.get_potential_energies(), atoms.get_forces(), atoms.get_stress() * atoms.get_volume()
    for mine, fused, right in zip(*results.values(), strict=True):
        np.testing.assert_array_equal(mine, fused)
        assert 0.0 < np.abs(mine - right).max() < allowed * len(right)


def test_no_such_engine() -> None:
    with pytest.raises(InputError, match="fast"):
        AllegroCalculator(MODEL, engine="fast")
