"""Partition of atoms by id for writing: each rank writes a contiguous range of ids, and receives those atoms' data."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from allegro_md.comm import Comm
from allegro_md.errors import PhysicsError

PIECE = 1 << 19
"""Atoms that a rank puts in order at a time: nothing of the size of the system is made on the way to the disk."""

ORDERING = 4
"""Bytes per local atom while its data are put in order: its place in the order of ids."""

Rows = Callable[[NDArray[np.int32]], NDArray[Any]]
"""Maps indices of local atoms to their rows."""


class IdPartition:
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

    def pieces(
        self, ids: NDArray[np.int64], fields: Mapping[str, Rows]
    ) -> Iterator[tuple[int, dict[str, NDArray[Any]], bool]]:
        """Per-atom rows in id order, each rank its range, piece by piece; collective, one field on the way at a time.

        Args:
            ids: (n,) of this rank's atoms, any order.
            fields: name → what makes the rows of given atoms.

        Yields:
            Id of the first row, name → rows of at most `PIECE` consecutive ids, whether it is the last piece: as
            often on every rank, at least once, without rows where a rank's range has ended.

        Raises:
            PhysicsError: an id is missing or there twice (on all ranks).
        """
        ranks = self._comm.size
        windows = max(1, -(-int(np.diff(self._bounds).max()) // PIECE))
        with self._comm.collective_errors():
            order, ends = _by_window(ids, self._bounds, windows, PIECE)
            if ends[-1] != len(ids):
                raise PhysicsError(f"rank {self._comm.rank} holds atoms with ids outside 0 … {self.n_total - 1}")
        for window in range(windows):
            first = min(self.start + window * PIECE, self.stop)
            part = ends[window * ranks : (window + 1) * ranks + 1]
            chosen, counts = order[part[0] : part[-1]], self._comm.count_rows(np.diff(part))
            arrived, _ = self._comm.exchange(ids[chosen], counts)
            place = arrived - first
            with self._comm.collective_errors():
                self.require_each_once(first, place, min(PIECE, self.stop - first))
            piece = {}
            for name, rows in fields.items():
                received, _ = self._comm.exchange(rows(chosen), counts)
                piece[name] = np.empty_like(received)
                piece[name][place] = received
            yield first, piece, window == windows - 1

    def require_each_once(self, first: int, place: NDArray[np.int64], count: int) -> None:
        """Raises unless every atom of a piece is there exactly once.

        Args:
            first: id of the first atom of the piece.
            place: (m,) index within the piece of each atom that is there.
            count: atoms of the piece.

        Raises:
            PhysicsError: an atom is missing or doubled.
        """
        held = np.bincount(place, minlength=count)
        if np.any(held != 1):
            bad = int(np.flatnonzero(held != 1)[0])
            atom = first + bad
            raise PhysicsError(f"atom {atom} exists {int(held[bad])} times: an atom was lost or doubled", [atom])


@numba.njit(cache=True)
def _by_window(
    ids: NDArray[np.int64], bounds: NDArray[np.int64], windows: int, width: int
) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Sorts atoms by the window of `width` ids within the range of their owner, then by owner.

    Args:
        ids: (n,) global ids.
        bounds: (owners + 1,) first id of every owner, and the number of ids.
        windows: number of windows.
        width: ids per window.

    Returns:
        Indices of the atoms, and (windows · owners + 1,) where those of each window and owner begin; atoms whose id is
        in no range are left out.
    """
    owners = len(bounds) - 1
    ends = np.zeros(windows * owners + 1, np.int64)
    for i in range(len(ids)):
        owner = np.searchsorted(bounds, ids[i], "right") - 1
        if 0 <= owner < owners:
            ends[(ids[i] - bounds[owner]) // width * owners + owner + 1] += 1
    for k in range(windows * owners):
        ends[k + 1] += ends[k]
    order, cursor = np.empty(len(ids), np.int32), ends[:-1].copy()
    for i in range(len(ids)):
        owner = np.searchsorted(bounds, ids[i], "right") - 1
        if 0 <= owner < owners:
            k = (ids[i] - bounds[owner]) // width * owners + owner
            order[cursor[k]] = i
            cursor[k] += 1
    return order, ends
