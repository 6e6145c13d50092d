"""The test vector of a model file, through the engine: species table, state, neighbor list, potential."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from allegro_md.cell import Cell
from allegro_md.exact import FORCE_SCALE
from allegro_md.neighbors.list import NeighborList
from allegro_md.potentials.base import Potential, Virial
from allegro_md.state import AtomState, SpeciesTable
from allegro_md.verify.result import Tally

TOLERANCE = {"double": 1e-8, "mixed": 1e-4}
"""Relative to the largest force (1 Å of it, for energies)."""


def extended(table: SpeciesTable, symbols: list[str], numbers: Mapping[str, int]) -> SpeciesTable:
    """The species of a system in its order, followed by those it lacks."""
    missing = [s for s in dict.fromkeys(symbols) if s not in table.symbols]
    return SpeciesTable(
        (*table.symbols, *missing),
        np.append(table.numbers, [numbers[s] for s in missing]).astype(np.int64),
        np.append(table.masses, np.ones(len(missing))),
    )


def check_vector(
    tally: Tally, vector: Mapping[str, Any], table: SpeciesTable, make: Callable[[SpeciesTable, str], Potential],
    numbers: Mapping[str, int],
) -> None:
    """Evaluates the stored cluster in both precisions.

    Args:
        tally: of the check.
        vector: "positions" (n, 3), "symbols", "energies", "forces", "virial" (3, 3) as stored in the model file.
        table: species of the system, whose order is what is tested.
        make: builds the potential for a species table in a precision, as the run does.
        numbers: atomic number by symbol.
    """
    symbols = list(vector["symbols"])
    full = extended(table, symbols, numbers)
    species = np.array([full.symbols.index(s) for s in symbols])
    energies, forces = np.array(vector["energies"]), np.array(vector["forces"])
    tensor = np.array(vector["virial"])
    virial = np.array([tensor[k] for k in ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))])
    scale = max(float(np.abs(forces).max()), 1e-6)
    for precision, relative in TOLERANCE.items():
        potential = make(full, precision)
        energy, force, stress = _evaluate(potential, np.array(vector["positions"]), species, full)
        allowed = relative * scale
        said = f"in {precision} precision"
        tally.add(f"the energy {said}", energy - energies, allowed + 2e-15 * float(np.abs(energies).max()), "eV")
        tally.add(f"the force {said}", force - forces, allowed, "eV/Å")
        if stress is not None:
            tally.add(f"the virial {said}", stress - virial, allowed * potential.cutoff * len(symbols), "eV")


def _evaluate(
    potential: Potential, position: NDArray[np.float64], species: NDArray[np.int64], table: SpeciesTable
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64] | None]:
    """Energies (n,), forces (n, 3) and virial (6,) of a free cluster."""
    n = len(position)
    state = AtomState(Cell(np.eye(3), (False, False, False)), table, n)
    state.set_local(
        {
            "id": torch.arange(n), "species": torch.from_numpy(species.astype(np.int16)),
            "position": torch.from_numpy(position), "velocity": torch.zeros(n, 3, dtype=torch.float64),
        }
    )  # fmt: skip
    state.local("shift").zero_()
    state.local("force").zero_()
    lists = NeighborList(potential.cutoff, 0.0)
    lists.build(state)
    result = potential(state, lists, Virial.PER_ATOM)
    virial = None if result.virials is None else result.virials.cpu().numpy().sum(axis=0)
    return result.energy.cpu().numpy(), state.local("force").cpu().numpy() / FORCE_SCALE, virial
