"""The test vector of a model file, through the engine: species table, state, neighbor list, potential."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from allegro_md.cell import Cell
from allegro_md.exact import FORCE_SCALE
from allegro_md.neighbors.list import NeighborList
from allegro_md.potentials.base import Potential
from allegro_md.state import AtomState, SpeciesTable, on_host
from allegro_md.verify.local import Tolerance
from allegro_md.verify.result import CheckStats

EXACT = Tolerance(1e-8)
"""Of the network in float64, by which test vectors were made."""


@dataclass(frozen=True)
class Maker:
    """One way to evaluate a model.

    Attributes:
        said: of it, a phrase.
        closeness: to the test vector.
        make: builds the potential for a species table, as the run does.
        share: of the model's energies that this potential gives.
    """

    said: str
    closeness: Tolerance
    make: Callable[[SpeciesTable], Potential]
    weight: float = 1.0


def extended(table: SpeciesTable, symbols: list[str], numbers: Mapping[str, int]) -> SpeciesTable:
    """The species of a system in its order, followed by those it lacks."""
    missing = [s for s in dict.fromkeys(symbols) if s not in table.symbols]
    return SpeciesTable(
        (*table.symbols, *missing),
        np.append(table.numbers, [numbers[s] for s in missing]).astype(np.int64),
        np.append(table.masses, np.ones(len(missing))),
    )


def check_vector(
    stats: CheckStats, vector: Mapping[str, Any], table: SpeciesTable, makers: Sequence[Maker],
    numbers: Mapping[str, int]
) -> None:
    """Evaluates the stored cluster in several ways.

    Args:
        stats: of the check.
        vector: "positions" (n, 3), "symbols", "energies", "forces", "virial" (3, 3) as stored in the model file.
        table: species of the system, whose order is what is tested.
        makers: the ways.
        numbers: atomic number by symbol.
    """
    symbols = list(vector["symbols"])
    full = extended(table, symbols, numbers)
    species = np.array([full.symbols.index(s) for s in symbols])
    energies, forces = np.array(vector["energies"]), np.array(vector["forces"])
    tensor = np.array(vector["virial"])
    virial = np.array([tensor[k] for k in ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))])
    scale = max(float(np.abs(forces).max()), 1e-6)
    for way in makers:
        potential = way.make(full)
        energy, force, stress = _evaluate(potential, np.array(vector["positions"]), species, full, way.weight)
        allowed = way.closeness.allowed(scale)
        stats.add(f"the energy {way.said}", energy - energies, allowed + 2e-15 * float(np.abs(energies).max()), "eV")
        stats.add(f"the force {way.said}", force - forces, allowed, "eV/Å")
        if stress is not None:
            stats.add(f"the virial {way.said}", stress - virial, allowed * potential.info.cutoff * len(symbols), "eV")


def _evaluate(
    potential: Potential,
    position: NDArray[np.float64],
    species: NDArray[np.int64],
    table: SpeciesTable,
    weight: float,
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64] | None]:
    """Energies (n,), forces (n, 3) and virial (6,) of a free cluster; `potential` gives them times `weight`.

    Args:
        potential: a potential for the species of `table`.
        position: (n, 3) Å.
        species: (n,) indices.
        table: species of the cluster.
        weight: factor of the energies.
    """
    state = AtomState.from_arrays(Cell(np.eye(3), (False, False, False)), table, position, species=species)
    lists = NeighborList(potential.info.cutoff, 0.0, hops=potential.info.hops)
    lists.build(state)
    result = potential(state, lists, frozenset({"virial", "virial_per_atom"}))
    assert result.energy is not None  # of a network
    virials = result.virial_per_atom
    virial = None if virials is None else on_host(virials).sum(axis=0) / weight
    return on_host(result.energy) / weight, state.host_local("force") / FORCE_SCALE / weight, virial
