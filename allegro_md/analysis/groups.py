"""Groups of atoms: by element, index or region."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from allegro_md.analysis.table import MOST_GROUPS, GroupedTable
from allegro_md.config.fields import quoted
from allegro_md.config.groups import GroupSelection
from allegro_md.errors import InputError
from allegro_md.state import SpeciesTable


class Groups:
    """Named groups, which may overlap; an atom's groups are the bits of a number.

    Attributes:
        names: in order; group k is bit k.
    """

    def __init__(self, table: GroupedTable, species_table: SpeciesTable, n_total: int, where: str) -> None:
        """Groups of a table of the input; one per element unless it names others.

        Raises:
            InputError: an element is not in the system, an index is beyond its atoms, or there are too many groups.
        """
        symbols = tuple(dict.fromkeys(species_table.symbols))
        for symbol in table.species:
            if symbol not in symbols:
                raise InputError(f"there is no {symbol} in the system", where, f"its elements are {quoted(symbols)}")
        settings: Mapping[str, GroupSelection] = table.groups or {
            symbol: GroupSelection(species=(symbol,)) for symbol in table.species or symbols
        }
        for name, setting in settings.items():
            setting.require_present(name, symbols, n_total, where)
        if len(settings) > MOST_GROUPS:
            what = f"{len(settings)} elements are as many groups, and {MOST_GROUPS} are possible"
            raise InputError(what, where, "choose some with 'species'")
        self.names = tuple(settings)
        self._settings, self._where = settings, where
        self._symbols = np.array(species_table.symbols)
        self._allowed = np.isin(self._symbols, table.species) | (len(table.species) == 0)

    def bits(
        self, ids: NDArray[np.int64], species: NDArray[np.integer[Any]], wrapped: NDArray[np.float64]
    ) -> NDArray[np.uint64]:
        """Bit k of an atom's number: it is in group k.

        Args:
            ids: (n,) int64.
            species: (n,) index into the species table.
            wrapped: (n, 3) float64, Å, positions in the cell.

        Returns:
            (n,) uint64.
        """
        found, allowed = np.zeros(len(ids), np.uint64), self._allowed[species]
        for k, setting in enumerate(self._settings.values()):
            member = allowed & setting.members(ids, species, self._symbols, wrapped)
            found |= member.astype(np.uint64) << np.uint64(k)
        return found

    def members(self, bits: NDArray[np.uint64]) -> NDArray[np.int64]:
        """(groups,) int64, number of members of each group, of atoms with `bits` (n,)."""
        return np.array([np.count_nonzero(bits & (np.uint64(1) << np.uint64(k))) for k in range(len(self.names))])

    def require_members(self, counts: NDArray[np.int64], number: int = 0) -> None:
        """Refuses an empty group at the first sample; atoms may leave a region later on.

        Args:
            counts: (groups,) int64, atoms of each group, of all ranks.
            number: of the sample.

        Raises:
            InputError: a group has no atom.
        """
        for name, count in zip(self.names, counts.tolist(), strict=True):
            if count == 0 and number == 0:
                raise InputError(f"group '{name}' holds no atom", self._where, "choose other atoms, or leave it out")
