"""Lattice constant, elastic constants, vacancy and phonons of silver: a model beside its reference potential."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from ase import Atoms
from ase.build import bulk
from data import Array, Frame, static

from allegro_md.units import AMU_A2_PER_FS2, EV_PER_A3_IN_GPA

Potential = Callable[[Atoms], Frame]


def properties(section: str) -> dict[str, Any]:
    """What a potential makes of silver; `section` is the inside of [potential] in an input.

    Returns:
        Lattice constant (Å), cohesive energy (eV), elastic constants (GPa), energy of an unrelaxed vacancy (eV), and
        phonons (THz) at X and L and the lowest acoustic one on a mesh without Γ, negative where it is imaginary.
    """

    def evaluate(atoms: Atoms) -> Frame:
        return static(atoms, section)

    a, energy = lattice_constant(evaluate)
    c11, c12, c44 = elastic_constants(evaluate, a)
    return {
        "lattice_constant_A": a, "cohesive_energy_eV": -energy, "C11_GPa": c11, "C12_GPa": c12, "C44_GPa": c44,
        "vacancy_eV": vacancy(evaluate, a), **phonons(evaluate, a),
    }


def crystal(a: float, cells: int = 1) -> Atoms:
    """fcc silver in cubic cells."""
    return bulk("Ag", "fcc", a=a, cubic=True) * (cells, cells, cells)


def lattice_constant(evaluate: Potential) -> tuple[float, float]:
    """Where the energy is lowest, Å, and that energy, eV per atom."""
    a = np.linspace(4.03, 4.15, 25)
    energies = np.array([evaluate(crystal(x)).energy / 4.0 for x in a])
    k = int(np.clip(np.argmin(energies), 2, len(a) - 3))
    fit = np.polynomial.Polynomial.fit(a[k - 2 : k + 3], energies[k - 2 : k + 3], 4)
    roots = fit.deriv().roots()
    best = min(roots[np.abs(roots.imag) < 1e-9].real, key=lambda x: abs(x - a[k]))
    return float(best), float(fit(best))


def elastic_constants(evaluate: Potential, a: float, size: float = 2e-3) -> tuple[float, float, float]:
    """C11, C12, C44 in GPa from stresses of strained cells; one atom per cell, so nothing relaxes."""

    def slope(strain: Array) -> Array:
        stresses = []
        for sign in (1.0, -1.0):
            atoms = crystal(a)
            atoms.set_cell(atoms.cell.array @ (np.eye(3) + sign * size * strain), scale_atoms=True)
            stresses.append(evaluate(atoms).stress)
        return (stresses[0] - stresses[1]) / (2.0 * size) * EV_PER_A3_IN_GPA

    stretched, sheared = slope(np.diag([1.0, 0.0, 0.0])), slope(np.array([[0, 0.5, 0], [0.5, 0, 0], [0, 0, 0]]))
    return float(stretched[0, 0]), float(stretched[1, 1]), float(sheared[0, 1])


def vacancy(evaluate: Potential, a: float) -> float:
    """Energy of an empty site, other atoms left in place, eV."""
    whole = crystal(a, 4)
    n = len(whole)
    return evaluate(whole[1:]).energy - (n - 1) / n * evaluate(whole).energy


def phonons(evaluate: Potential, a: float, cells: int = 4, step: float = 0.01) -> dict[str, Any]:
    """Frequencies (THz) at X and L, and the lowest on a mesh of wave vectors without Γ."""
    atoms = crystal(a, cells)
    vectors = atoms.get_distances(0, np.arange(len(atoms)), mic=True, vector=True)
    constants = np.empty((3, len(atoms), 3))
    for axis in range(3):
        forces = []
        for sign in (1.0, -1.0):
            moved = atoms.copy()
            moved.positions[0, axis] += sign * step
            forces.append(evaluate(moved).force)
        constants[axis] = -(forces[0] - forces[1]) / (2.0 * step)

    def frequencies(q: Array) -> Array:
        phase = np.cos(2.0 * np.pi / a * vectors @ q)  # the crystal looks the same from both sides
        dynamical = np.einsum("aib,i->ab", constants, phase) / (atoms.get_masses()[0] * AMU_A2_PER_FS2)
        squared = np.linalg.eigvalsh(0.5 * (dynamical + dynamical.T))
        return np.sign(squared) * np.sqrt(np.abs(squared)) * 1e3 / (2.0 * np.pi)

    mesh = np.stack(np.meshgrid(*[np.arange(cells)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)[1:] / cells
    lowest = min(float(frequencies(q).min()) for q in mesh)
    x, l = frequencies(np.array([1.0, 0.0, 0.0])), frequencies(np.array([0.5, 0.5, 0.5]))  # noqa: E741
    return {"X_THz": x.tolist(), "L_THz": l.tolist(), "lowest_THz": lowest}
