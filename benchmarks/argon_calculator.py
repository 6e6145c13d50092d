"""Our Lennard-Jones potential as a calculator of ASE."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes

from allegro_md.cell import Cell
from allegro_md.comm import Comm
from allegro_md.exact import FORCE_SCALE
from allegro_md.observables import summed
from allegro_md.potentials.lj import LennardJones
from allegro_md.simulation.forces import ForceEvaluator
from allegro_md.state import AtomState, SpeciesTable
from allegro_md.timers import Timers


class LennardJonesCalculator(Calculator):
    """Energy (eV), forces (eV/Å) and stress (eV/Å³) of one element in a periodic cell."""

    implemented_properties = ["energy", "free_energy", "forces", "stress"]  # noqa: RUF012  ASE's own form

    def __init__(self, epsilon: float, sigma: float, cutoff: float) -> None:
        """Takes the depth (eV), the diameter (Å) and the cutoff (Å), where the energy is shifted to zero."""
        super().__init__()
        one = np.ones((1, 1))
        self._forces = ForceEvaluator(
            LennardJones(epsilon * one, sigma * one, cutoff), Comm.serial(), 1.0, None, Timers()
        )
        self._state: AtomState | None = None

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = all_changes,
    ) -> None:
        """Evaluates `atoms`; called by ASE."""
        super().calculate(atoms, properties, system_changes)
        state, found = self._evaluated(self.atoms)
        order = np.argsort(state.local("id").numpy())
        energy = float(summed(found.energy, "energy", state).value()[0])
        self.results = {
            "energy": energy,
            "free_energy": energy,
            "forces": state.local("force").numpy()[order] / FORCE_SCALE,
            "stress": -found.virial.value() / state.cell.volume,
        }

    def _evaluated(self, atoms: Atoms) -> tuple[AtomState, Any]:
        cell = Cell.from_rows(atoms.cell.array, (True, True, True))
        if self._state is None:
            table = SpeciesTable(("Ar",), np.array([18]), np.array([39.948]))
            species = np.zeros(len(atoms), dtype=int)
            self._state = AtomState.from_arrays(cell, table, np.zeros((len(atoms), 3)), species=species)
        state = self._state
        state.cell = cell
        ids = state.local("id").numpy()
        state.local("position")[:] = torch.from_numpy(atoms.positions[ids])
        return state, self._forces(state, frozenset({"virial"}))
