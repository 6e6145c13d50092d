"""Ghost atoms: who sends which atoms to whom, with which integer shift.

Every rank sends its atoms straight to all ranks whose bricks, or periodic images of them, are less than the width away:
one message to each, with all its images. Where bricks are thinner than the width these are not only its neighbors in
the grid. A rank's own images are copied without a message: an atom becomes its own neighbor's image as often as needed.
One path for all cases.

A ghost holds its owner's unwrapped position and the total integer shift; coordinates are never shifted on the way, so a
pair vector has the same bits wherever it is evaluated.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from allegro_md.backends import backend_for
from allegro_md.backends.base import DomainFunctions
from allegro_md.comm import Comm, Pending, SendRecv
from allegro_md.domain.decomposition import Decomposition
from allegro_md.state import AtomState, DeviceArray, on_host

_SLACK = 1e-6  # Å, far above rounding


@dataclass(frozen=True)
class _Partner:
    """A rank that atoms are exchanged with.

    Attributes:
        rank: it.
        outgoing: which of the rows that are sent go there.
        ghosts: which of the ghosts from other ranks come from there.
    """

    rank: int
    outgoing: slice
    ghosts: slice


class HaloExchange:
    """Exchange of per-atom data between owners and ghosts, valid until the next migration.

    Ghosts that are images of this rank's own atoms come first, then those of other ranks, rank by rank. `forward` and
    `reverse_add` are adjoint: ⟨forward(x), y⟩ = ⟨x, reverse_add(y)⟩. Both may be done in two parts, with work between
    that leaves alone the ghosts of other ranks; only one exchange may be under way at a time.

    Attributes:
        first_own: first row of a ghost, which is the number of local atoms.
        first_remote: first row of a ghost from another rank.
    """

    def __init__(
        self, comm: Comm, functions: DomainFunctions, own: DeviceArray, sent: DeviceArray, first: tuple[int, int],
        partners: list[_Partner],
    ) -> None:
        """Takes the routes; see `build`.

        Args:
            comm: all ranks.
            functions: of the backend.
            own: atoms whose images are ghosts here.
            sent: atoms that go to other ranks, in the order of `partners`.
            first: `first_own` and `first_remote`.
            partners: with whom atoms are exchanged, by rank.
        """
        self._comm, self._functions = comm, functions
        self._own, self._sent = own, sent
        self.first_own, self.first_remote = first
        self._partners = partners
        self._buffers: dict[tuple[int, tuple[int, ...]], Any] = {}
        self._under_way: tuple[Pending, DeviceArray, NDArray[Any]] | None = None

    @staticmethod
    def build(state: AtomState, decomposition: Decomposition, comm: Comm, width: float) -> HaloExchange:
        """Finds the atoms within `width` (Å) of each brick and brings them there as ghosts, with all halo fields.

        The state must hold local atoms only, with `shift` set by the migration.
        """
        functions = backend_for(state.device).domain
        fractional = (width + _SLACK) / state.cell.heights
        images = decomposition.images(comm.rank, fractional)
        images = images[np.argsort(images[:, 0] != comm.rank, kind="stable")]  # its own first
        bricks = decomposition.bricks(images[:, 0])
        margin = np.array([-fractional, fractional])
        inner = np.array(decomposition.brick(comm.rank)) - margin
        rows, counts = functions.within(state, inner, bricks + images[:, None, 1:] + margin)
        n_own = int((images[:, 0] == comm.rank).sum())
        n_copies = int(counts[:n_own].sum())
        first = state.n_local, state.n_local + n_copies
        partners = _agree(images[n_own:, 0], counts[n_own:], comm)
        state.resize(state.n_local, n_copies + sum(p.ghosts.stop - p.ghosts.start for p in partners))
        halo = HaloExchange(comm, functions, rows[:n_copies], rows[n_copies:], first, partners)
        translations = np.repeat(images[:, 1:].astype(np.int32), counts, axis=0)
        for name, field in state.fields.items():
            if field.halo:
                halo.begin_forward(state.array_all(name), translations if name == "shift" else None)
                halo.end_forward()
        halo._buffers.clear()
        return halo

    def forward(self, values: DeviceArray) -> None:
        """Fills the ghost rows of a per-atom field, `values` (n_all, …), from their owners, in place."""
        self.begin_forward(values)
        self.end_forward()

    def reverse_add(self, values: DeviceArray) -> None:
        """Adds the ghost rows of an integer field, `values` (n_all, …), into the rows of their owners, in place."""
        self.begin_reverse(values)
        self.end_reverse()

    def begin_forward(self, values: DeviceArray, less: NDArray[np.int32] | None = None) -> None:
        """Sends rows of own atoms, and fills the ghosts that are images of own atoms.

        Args:
            values: (n_all, …) per-atom field; the rows of other ranks' ghosts are filled by `end_forward`.
            less: (m, …) subtracted from what the ghosts get, images of own atoms first; None: nothing.
        """
        values, n_own = _on_host(values), len(self._own)
        if self._partners:
            outgoing = self._buffer(values)
            self._functions.gather(values, self._sent, outgoing)
            if less is not None:
                _subtract(outgoing, less[n_own:])
            self._send(values, outgoing)
        own = values[self.first_own : self.first_remote]
        self._functions.gather(values, self._own, own)
        if less is not None:
            _subtract(own, less[:n_own])

    def end_forward(self) -> None:
        """Waits for the ghosts of other ranks."""
        if not self._partners:
            return
        values, arrived = self._finish()
        if not isinstance(values, np.ndarray):
            values[self.first_remote :] = values.new_tensor(arrived)

    def progress(self) -> bool:
        """Tells if all that is under way has arrived; MPI moves large messages only while it is asked."""
        return self._under_way is None or self._under_way[0].test()

    def begin_reverse(self, values: DeviceArray) -> None:
        """Sends the rows of other ranks' ghosts, which must be complete.

        Args:
            values: (n_all, …) integer field; its other rows may still be added to until `end_reverse`.
        """
        values = _on_host(values)
        ghosts = on_host(values[self.first_remote :])
        shape = (len(self._sent), *values.shape[1:])
        arrived = self._buffer(values) if isinstance(values, np.ndarray) else np.empty(shape, dtype=ghosts.dtype)
        legs = [SendRecv(ghosts[p.ghosts], p.rank, arrived[p.outgoing], p.rank) for p in self._partners]
        self._under_way = self._comm.begin(legs), values, arrived

    def end_reverse(self) -> None:
        """Adds what has come from other ranks, and the rows of own images."""
        values, arrived = self._finish()
        self._functions.scatter_add(values, self._own, values[self.first_own : self.first_remote])
        addends = arrived if isinstance(values, np.ndarray) else values.new_tensor(arrived)
        self._functions.scatter_add(values, self._sent, addends)

    def _send(self, values: DeviceArray, outgoing: DeviceArray) -> None:
        """Sends one message to each partner; receives into the ghost rows, or a copy of them.

        Args:
            values: (n_all, …).
            outgoing: (m, …) rows to be sent, in the order of partners.
        """
        ghosts = values[self.first_remote :]
        target = ghosts if isinstance(ghosts, np.ndarray) else np.empty_like(on_host(ghosts))
        rows = on_host(outgoing)
        legs = [SendRecv(rows[p.outgoing], p.rank, target[p.ghosts], p.rank) for p in self._partners]
        self._under_way = self._comm.begin(legs), values, target

    def _finish(self) -> tuple[DeviceArray, NDArray[Any]]:
        """Waits for what is under way: the array it belongs to, and what has arrived."""
        assert self._under_way is not None
        pending, values, arrived = self._under_way
        pending.wait()
        self._under_way = None
        return values, arrived

    def _buffer(self, values: DeviceArray) -> DeviceArray:
        """Rows to be sent of a field `values` (n_all, …): kept, and shared by types of the same size."""
        key = values.dtype.itemsize, tuple(values.shape[1:])
        if key not in self._buffers:
            shape = (len(self._sent), *values.shape[1:])
            is_host = isinstance(values, np.ndarray)
            self._buffers[key] = np.empty(shape, values.dtype) if is_host else values.new_empty(shape)
        buffer: DeviceArray = self._buffers[key].view(values.dtype)
        return buffer


def _agree(ranks: NDArray[np.int64], counts: NDArray[np.int64], comm: Comm) -> list[_Partner]:
    """Tells each rank near this one how many atoms it gets, and hears how many come from there.

    Args:
        ranks: (m,) ascending, of the images that atoms are sent to.
        counts: (m,) of atoms.
        comm: all ranks.

    Returns:
        The ranks with which any atom is exchanged.
    """
    if len(ranks) == 0:
        return []
    near, where = np.unique(ranks, return_index=True)
    sent = np.add.reduceat(counts, where)
    received = np.zeros_like(sent)
    legs = [SendRecv(sent[k : k + 1], int(rank), received[k : k + 1], int(rank)) for k, rank in enumerate(near)]
    comm.send_receive(legs)
    sent_end, ghosts_end = np.cumsum(sent), np.cumsum(received)
    return [
        _Partner(int(rank), slice(int(a - n), int(a)), slice(int(b - m), int(b)))
        for rank, n, m, a, b in zip(near, sent, received, sent_end, ghosts_end, strict=True)
        if n or m
    ]


def _subtract(rows: DeviceArray, less: NDArray[np.int32]) -> None:
    """Subtracts `less` (n, …) from `rows` (n, …), in place."""
    rows -= less if isinstance(rows, np.ndarray) else rows.new_tensor(less)


def _on_host(values: DeviceArray) -> DeviceArray:
    """The `values` (n, …) as a numpy array of the same memory where that is on the host, else as they are."""
    return values if isinstance(values, np.ndarray) or values.device.type != "cpu" else on_host(values)
