"""Pairs at distances beyond the halo of the forces, for what is observed now and then."""

from __future__ import annotations

from typing import NamedTuple

from allegro_md.comm import Comm
from allegro_md.domain.decomposition import Decomposition
from allegro_md.domain.halo import HaloExchange
from allegro_md.neighbors.list import NeighborList
from allegro_md.state import FIELDS, AtomState, DeviceArray


class Pairs(NamedTuple):
    """Neighbors of local atoms within a distance.

    Attributes:
        state: the atoms that indices refer to; local ones as in the state that was searched. Ghosts may be others.
        offsets: (n_local + 1,) int64, on the state's device; those of i are ``neighbors[offsets[i]:offsets[i + 1]]``.
        neighbors: (offsets[-1],) int32, in ascending (id, S) order.
    """

    state: AtomState
    offsets: DeviceArray
    neighbors: DeviceArray


def find_pairs(
    state: AtomState, lists: NeighborList, decomposition: Decomposition, comm: Comm, distance: float
) -> Pairs:
    """Finds all pairs of local atoms with others within a distance, whatever the cutoff (collective).

    Where the halo of the forces is too narrow, ghosts from farther away are brought to a copy of the local atoms: the
    state and its lists stay as they are, and no step costs more.

    Args:
        state: local atoms and ghosts.
        lists: of this state, not stale.
        decomposition: by which atoms were last given to ranks.
        comm: all ranks.
        distance: Å, the same on all ranks.
    """
    if distance <= lists.reach:
        return Pairs(state, *lists.pairs(state, distance))
    moved = comm.max(lists.displacement)  # so far outside of their bricks may atoms be, on either side of a face
    wide = AtomState(state.cell, state.species_table, state.n_total, state.device)
    wide.resize(state.n_local, 0)
    for name, field in FIELDS.items():
        if field.halo:
            wide.array_local(name)[...] = state.array_local(name)
    HaloExchange.build(wide, decomposition, comm, distance + 2.0 * moved)
    return Pairs(wide, *NeighborList(distance, 0.0).pairs(wide, distance))
