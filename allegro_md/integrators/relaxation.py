"""Parts of all minimizers: the function that is minimized, its gradient, moves of atoms and cell, criteria.

Minimized is the enthalpy H = E + P V. Its variables are the positions x_i and, where the cell may change, a symmetric
strain: a move (d, ε) takes x_i to (x_i + d_i)(1 + ε) and the lattice rows h to h (1 + ε). Strain counts as the length
q = w ε, so that positions and cell have one unit and, in a dense solid, about the same stiffness. Forces on both:

    F_i = −∂E/∂x_i        F_q = (W − P V)/w, restricted to the strains that are allowed

After a move all is measured from the new positions and the new cell; no reference cell is kept. The choice of strain as
further variables is that of Tadmor, Smith, Bernstein, Kaxiras, Phys. Rev. B 59, 235 (1999),
doi:10.1103/PhysRevB.59.235.

| symbol | code |
|---|---|
| E + P V, P | `enthalpy`, `_pressure` (eV, eV/Å³) |
| F_i | `scale` · the row of a field; zero for atoms that are held |
| W, virial; F_q | `cell_force` (eV/Å) |
| w | `weight` (Å), √N · 1.5 Å |
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from allegro_md.backends import backend_for
from allegro_md.errors import InputError
from allegro_md.evaluation import NOTHING_MORE, Evaluation, Needs
from allegro_md.exact import FORCE_SCALE
from allegro_md.integrators.base import Setting
from allegro_md.integrators.cell_strain import Strains, tensor_of
from allegro_md.integrators.steps import reduce_cell, strain
from allegro_md.observables import summed
from allegro_md.state import AtomState, DeviceArray
from allegro_md.units import EV_PER_A3_IN_GPA

Array = NDArray[np.float64]

MOST_STRAIN = 0.05
"""Largest component of the strain of one move."""

@dataclass(frozen=True)
class Criteria:
    """The end of a minimization, and what may move.

    Attributes:
        max_force: largest force on an atom, eV/Å.
        max_stress: largest component of the stress that the cell can relax, beyond the target, GPa.
        pressure: target, GPa.
        strains: of the cell that are allowed; none where it is fixed.
        max_move: farthest move of an atom in a step, Å.
    """

    max_force: float
    max_stress: float
    pressure: float
    strains: Strains
    max_move: float


class Relaxation:
    """Measures forces, stress and enthalpy, moves atoms and cell, and tells when a minimum is found.

    Attributes:
        criteria: the end, and what may move.
        enthalpy: E + P V at the present positions, eV; E where the cell is fixed.
        scale: power of two; the rows of forces are multiplied by it to get eV/Å.
        max_force: largest force on an atom that may move, eV/Å.
        cell_force: (3, 3) F_q, eV/Å; zero where the cell is fixed.
        max_stress: largest component of the stress beyond the target, GPa; 0 where the cell is fixed.
        weight: w, Å.
        changes_cell: the cell is among the variables.
    """

    def __init__(self, criteria: Criteria, setting: Setting) -> None:
        """Prepares for a system.

        Raises:
            InputError: the potential has no energies, or what the cell needs is missing.
        """
        require_minimizable(criteria, setting)
        self.criteria, self._collective = criteria, setting.collective
        self.changes_cell = criteria.strains.count > 0
        self._pressure = criteria.pressure / EV_PER_A3_IN_GPA
        self.weight = 1.5 * math.sqrt(setting.n_atoms)
        self.n_atoms = setting.n_atoms
        self.enthalpy = self.max_force = self.max_stress = math.inf
        self.scale, self.cell_force = 1.0, np.zeros((3, 3))

    @property
    def needs(self) -> Needs:
        """Quantities that an evaluation must hold."""
        return frozenset({"virial"}) if self.changes_cell else NOTHING_MORE

    @property
    def converged(self) -> bool:
        """All forces, and the stress that the cell can relax, are small enough."""
        return self.max_force <= self.criteria.max_force and self.max_stress <= self.criteria.max_stress

    def measure(self, state: AtomState, evaluation: Evaluation, row: DeviceArray) -> None:
        """Takes up an evaluation of the present positions (collective).

        Args:
            state: with forces.
            evaluation: with energies, and the virial where the cell may change.
            row: (n_local, 3) float64, gets the forces in units of `scale`.
        """
        assert evaluation.energy is not None
        self.enthalpy = float(self._collective.reduce(summed(evaluation.energy, "energy", state))[0])
        row[...] = state.array_local("force")
        if state.held:
            row[(state.host_local("group") & state.held) != 0] = 0.0
        self.scale, largest = normalized(state, row, self._collective.max)
        self.scale /= FORCE_SCALE
        self.max_force = largest * self.scale
        self.max_stress = 0.0
        if self.changes_cell:
            assert evaluation.virial is not None
            self._measure_cell(tensor_of(self._collective.reduce(evaluation.virial)), state.cell.volume)

    def _measure_cell(self, virial: Array, volume: float) -> None:
        """Adds P V to the energy, and finds the force on the cell: `virial` (3, 3) eV, `volume` Å³."""
        self.enthalpy += self._pressure * volume
        drive = self.criteria.strains.project(virial - self._pressure * volume * np.eye(3))
        self.cell_force = drive / self.weight
        self.max_stress = float(np.abs(drive).max()) / volume * EV_PER_A3_IN_GPA

    def move(self, state: AtomState, row: DeviceArray, factor: float, cell_move: Array) -> None:
        """Moves the atoms, then strains the cell with them (collective).

        Args:
            state: its positions and its cell are changed.
            row: (n_local, 3) float64, moves of atoms in units of 1/`factor` Å.
            factor: see `row`.
            cell_move: (3, 3) symmetric, w ε, Å.
        """
        position = state.array_local("position")
        position += row * factor
        self._strain(state, lambda matrix: matrix @ (np.eye(3) + cell_move / self.weight))

    def move_back(self, state: AtomState, row: DeviceArray, factor: float, cell_move: Array) -> None:
        """Takes a move back, but for rounding (collective).

        Args:
            state: its positions and its cell are changed.
            row: (n_local, 3) float64, moves of atoms in units of 1/`factor` Å.
            factor: see `row`.
            cell_move: (3, 3) symmetric, w ε, Å.
        """
        self._strain(state, lambda matrix: matrix @ np.linalg.inv(np.eye(3) + cell_move / self.weight))
        position = state.array_local("position")
        position -= row * factor

    def largest_part(self, longest: float, cell_move: Array) -> float:
        """The part of a move that may be made, at most 1.

        Args:
            longest: of the atoms' moves, Å.
            cell_move: (3, 3) w ε, Å.
        """
        most = float(np.abs(cell_move).max()) / self.weight
        return 1.0 / max(1.0, longest / self.criteria.max_move, most / MOST_STRAIN)

    def _strain(self, state: AtomState, changed: Callable[[Array], Array]) -> None:
        if self.changes_cell:
            strain(state, self._collective.on_root(lambda: changed(state.cell.matrix)))
            reduce_cell(state)


def products(packed: Array, chosen: Sequence[int], scales: Array, cells: Array) -> Array:
    """Scalar products of m of k vectors of atoms and cell with all k; a matrix product, so for one rank only.

    Args:
        packed: (m k,) reduced sums of `backends.base.SumFunctions.products` over the atoms.
        chosen: indices of the m vectors.
        scales: (k,) units of the atoms' vectors.
        cells: (k, 9) components of the vectors for the cell.

    Returns:
        (m, k).
    """
    atoms = packed.reshape(len(chosen), len(scales)) * scales[list(chosen), None] * scales
    return np.asarray(atoms + cells[list(chosen)] @ cells.T)


def normalized(
    state: AtomState, row: DeviceArray, largest_of_ranks: Callable[[float], float]
) -> tuple[float, float]:
    """Divides vectors, in place, by the power of two that makes the longest of them 0.5 to 1 long (collective).

    Args:
        state: of the atoms.
        row: (n_local, 3) float64, one vector of each atom.
        largest_of_ranks: see `Collective.max`.

    Returns:
        The power of two, 1 where all are zero, and the largest length after the division.
    """
    largest = largest_of_ranks(backend_for(state.device).limits.largest_length(row))
    fraction, exponent = math.frexp(largest)
    row *= math.ldexp(1.0, -exponent)
    return math.ldexp(1.0, exponent), fraction


def require_minimizable(criteria: Criteria, setting: Setting) -> None:
    """Refuses what cannot be minimized.

    Raises:
        InputError: says why.
    """
    provides = setting.info.provides
    if "energy" not in provides or not setting.info.conservative:
        raise InputError(
            "the forces of the potential are not the gradient of an energy, so there is nothing to minimize",
            "dynamics.ensemble",
            "choose a potential with energies",
        )
    if criteria.strains.count == 0:
        return
    criteria.strains.require_fit(setting, "the minimization of the cell")
    if setting.n_held:
        raise InputError(
            f"the cell cannot be minimized while {setting.n_held} atoms are held: a strain would move them",
            "dynamics.cell",
            'use cell = "fixed", or hold no atoms',
        )
