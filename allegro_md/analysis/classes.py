"""Atoms by class: those of one class are in the same groups, as they were at the first sample."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from allegro_md.analysis.base import Sample, System
from allegro_md.analysis.groups import Groups
from allegro_md.analysis.table import MOST_GROUPS, GroupedTable
from allegro_md.io.wrapping import wrap


class Classes:
    """Disjoint classes of atoms that the groups of a quantity consist of; fixed by the first sample.

    Attributes:
        names: of the groups.
        members: for each group its classes.
    """

    def __init__(self, table: GroupedTable, system: System, where: str, by_species: bool = False) -> None:
        """Classes of the groups of a table, not known before `assign`.

        Args:
            table: of the groups.
            system: that they are of.
            where: for messages.
            by_species: the atoms of a class are also of one species.

        Raises:
            InputError: a group cannot be.
        """
        self._groups = Groups(table, system.species_table, system.n_total, where)
        self.names, self._by_species = self._groups.names, by_species
        self.members: list[list[int]] = []
        self._bits: NDArray[np.uint64] = np.zeros(0, np.uint64)

    @property
    def count(self) -> int:
        """Number of classes."""
        return len(self._bits)

    @property
    def species(self) -> NDArray[np.int64]:
        """(count,) int64, species of each class, where they are by species."""
        return (self._bits >> np.uint64(MOST_GROUPS)).astype(np.int64)

    def assign(
        self, sample: Sample, species: NDArray[np.integer[Any]], position: NDArray[np.float64]
    ) -> NDArray[np.int64]:
        """Finds the classes, and the one of each atom of this rank's range of ids (collective).

        Args:
            sample: the first one.
            species: (n_own,) index into the species table, in the order of ids.
            position: (n_own, 3) float64, Å, wrapped or not, in the order of ids.

        Returns:
            (n_own,) int64, class of each atom; `count`: it is in no group.

        Raises:
            InputError: a group is empty.
        """
        wrapped, _ = wrap(position, sample.cell, np.float64)
        bits = self._groups.bits(np.arange(sample.partition.start, sample.partition.stop), species, wrapped)
        self._groups.require_members(sample.comm.sum(self._groups.members(bits)))
        if self._by_species:
            bits = np.where(bits > 0, bits | species.astype(np.uint64) << np.uint64(MOST_GROUPS), bits)
        found = np.unique(np.concatenate(sample.comm.allgather(np.unique(bits))))
        self._set(found[found > 0])
        return np.where(bits == 0, self.count, np.searchsorted(self._bits, bits)).astype(np.int64)

    def state_dict(self) -> dict[str, Any]:
        """Returns the groups of each class, as a number."""
        return {"bits": self._bits.tolist()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes up the classes of a `state_dict`."""
        self._set(np.array(state["bits"], dtype=np.uint64))

    def _set(self, bits: NDArray[np.uint64]) -> None:
        """Takes the groups of each class: `bits` (classes,)."""
        self._bits = bits
        one = np.uint64(1)
        self.members = [np.flatnonzero((bits >> np.uint64(k)) & one).tolist() for k in range(len(self.names))]
