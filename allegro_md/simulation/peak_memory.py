"""A first evaluation on a few atoms: loads the kernels, and shows what the potential takes for a system of any size."""

from __future__ import annotations

from contextlib import suppress

import numpy as np
from numpy.typing import NDArray

from allegro_md.cell import Cell
from allegro_md.errors import PhysicsError
from allegro_md.io.structure import SystemBuilder
from allegro_md.kernels.blocks import BLOCK_ROWS, TILES
from allegro_md.neighbors.list import NeighborList
from allegro_md.potentials import Potential
from allegro_md.simulation.host_info import resident_memory
from allegro_md.state import AtomState


def measure_peak_memory(system: SystemBuilder, potential: Potential, skin: float, neighbors: float) -> tuple[int, int]:
    """Evaluates the potential on some atoms of the system and their surroundings, as many as fill a block of edges.

    Args:
        system: where the atoms come from.
        potential: evaluated once; a fault of the physics is the run's to find.
        skin: of the neighbor list, Å.
        neighbors: length of an atom's list.

    Returns:
        Bytes of this process after it, and the most there ever were.
    """
    centers = min(system.n_total, 2 + int(2 * TILES * BLOCK_ROWS / max(1.0, neighbors)))
    distance = potential.info.cutoff + skin
    radius = distance * (centers / (neighbors + 1.0)) ** (1.0 / 3.0)  # of a ball with so many atoms
    state = _cluster(system, centers, radius + potential.info.halo + skin)
    pairs = NeighborList(potential.info.cutoff, skin, hops=potential.info.hops)
    pairs.build(state)
    with suppress(PhysicsError):
        potential(state, pairs, frozenset({"virial"}))
    del pairs, state
    return resident_memory()


def _cluster(system: SystemBuilder, centers: int, half: float) -> AtomState:
    """The atoms of a box with edges 2·half (Å): the innermost local atoms of a free cluster, the others ghosts."""
    cell, middle = system.cell, system.middle
    width = np.where(cell.periodic, np.minimum(half / cell.heights, 0.5), half / cell.heights)
    part = system.select(middle - width, middle + width)
    fraction = (part["position"] - cell.origin) @ cell.inverse - middle
    fraction -= np.where(cell.periodic, np.round(fraction), 0.0)
    place: NDArray[np.float64] = fraction @ cell.matrix
    order = np.argsort(np.linalg.norm(place, axis=1), kind="stable")
    n = len(order)
    state = AtomState(Cell.from_rows(np.zeros((3, 3)), (False, False, False)), system.species_table, n)
    state.set_local({name: rows[order[:centers]] for name, rows in part.items()})
    state.resize(min(centers, n), max(0, n - centers))
    for name, rows in (("id", part["id"]), ("species", part["species"]), ("position", place)):
        state.array_all(name)[...] = state.device_array(rows[order])
    state.array_all("shift")[...] = 0
    state.array_all("force")[...] = 0
    return state
