"""Atoms of a sample with the ghosts around them, out to any distance."""

from __future__ import annotations

from allegro_md.analysis.base import Sample
from allegro_md.backends import backend_for
from allegro_md.cell import Cell
from allegro_md.domain.halo import HaloExchange
from allegro_md.domain.migrate import migrate
from allegro_md.domain.planes import decompose
from allegro_md.errors import InputError
from allegro_md.state import FIELDS, AtomState


def with_ghosts(sample: Sample, distance: float) -> AtomState:
    """Brings all atoms within a distance of this rank's atoms to it (collective over `sample.comm`).

    It is a state of its own, cut into bricks for this distance, so that neither the cutoff of the potential nor the
    bricks of the simulation matter. Its positions are those of `Sample.wrapped`.

    Args:
        sample: atoms that this rank holds.
        distance: Å, of pairs; it may be larger than the cell.

    Returns:
        Local atoms (not those that the rank held: they may have migrated), in the order of cells, and ghosts.
    """
    wrapped, _ = sample.wrapped
    state = AtomState.from_arrays(
        sample.cell, sample.species_table, wrapped, species=sample.species, ids=sample.ids, n_total=sample.n_total
    )
    decomposition = decompose(state, sample.comm, None)
    migrate(state, decomposition, sample.comm)
    order = backend_for(state.device).lists.sort_order(state, distance)
    if order is not None:
        state.permute(order)
    HaloExchange.build(state, decomposition, sample.comm, distance)
    return state


def bytes_of_ghosts(n_local: int, distance: float, density: float) -> float:
    """Bytes of `with_ghosts` on a rank with `n_local` atoms in a cubic brick, at a `density` (atoms/Å³)."""
    edge = (max(n_local, 1) / max(density, 1e-12)) ** (1.0 / 3.0)
    atoms = max(float(n_local), density * (edge + 2.0 * distance) ** 3)
    return 1.1 * atoms * sum(field.row_bytes for field in FIELDS.values())


def require_volume(cell: Cell, where: str) -> None:
    """Refuses a cell without volume, which has no density.

    Raises:
        InputError: an axis has no lattice vector.
    """
    if not cell.bounded:
        raise InputError("the system has no box, and so no density", where, "give it a cell, also along free axes")
