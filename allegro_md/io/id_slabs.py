"""Who writes which atoms: every rank owns a contiguous range of ids, and atoms travel to the owner of their id."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from allegro_md.comm import Comm
from allegro_md.errors import PhysicsError


class IdSlabs:
    """Equal contiguous ranges of the ids 0 … n_total − 1, one per rank (empty where ranks outnumber atoms).

    Attributes:
        start, stop: this rank's range.
    """

    def __init__(self, n_total: int, comm: Comm, align: int = 1) -> None:
        """Ranges that start at multiples of `align`."""
        blocks = -(-n_total // align)
        bounds = (np.arange(comm.size + 1, dtype=np.int64) * blocks) // comm.size * align
        self._bounds = np.minimum(bounds, n_total)
        self._comm = comm
        self.n_total = n_total
        self.start, self.stop = int(self._bounds[comm.rank]), int(self._bounds[comm.rank + 1])

    def gather(self, ids: NDArray[np.int64], fields: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Per-atom rows in id order, each rank its range; collective, one field on the way at a time.

        Args:
            ids: (n,) of this rank's atoms, any order.
            fields: name → (n, …).

        Returns:
            name → (stop − start, …).

        Raises:
            PhysicsError: an id is missing or there twice (on all ranks).
        """
        order = np.argsort(ids, kind="stable")
        counts = np.diff(np.searchsorted(ids[order], self._bounds))
        with self._comm.together():
            if int(counts.sum()) != len(ids):
                raise PhysicsError(f"rank {self._comm.rank} holds atoms with ids outside 0 … {self.n_total - 1}")
        arrived, _ = self._comm.exchange(ids[order], counts)
        place = arrived - self.start
        with self._comm.together():
            held = np.bincount(place, minlength=self.stop - self.start)
            if np.any(held != 1):
                bad = int(np.flatnonzero(held != 1)[0])
                atom = self.start + bad
                raise PhysicsError(f"atom {atom} exists {int(held[bad])} times: an atom was lost or doubled", [atom])
        slab = {}
        for name, rows in fields.items():
            received, _ = self._comm.exchange(rows[order], counts)
            slab[name] = np.empty_like(received)
            slab[name][place] = received
        return slab
