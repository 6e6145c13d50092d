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
from allegro_md.comm import Comm, Pending, SendRecv
from allegro_md.domain.decomposition import Decomposition
from allegro_md.state import HOST, AtomState, DeviceArray, on_host

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
        self, comm: Comm, device: str, own: DeviceArray, sent: DeviceArray, first: tuple[int, int],
        partners: list[_Partner],
    ) -> None:
        """Takes the routes; see `build`.

        Args:
            comm: all ranks.
            device: of the state.
            own: atoms whose images are ghosts here.
            sent: atoms that go to other ranks, in the order of `partners`.
            first: `first_own` and `first_remote`.
            partners: with whom atoms are exchanged, by rank.
        """
        self._comm, self._device, self._functions = comm, device, backend_for(device).domain
        self._own, self._sent = own, sent
        self.first_own, self.first_remote = first
        self._partners = partners
        self._buffers: dict[tuple[bool, int, tuple[int, ...]], Any] = {}
        self._under_way: tuple[Pending, DeviceArray, DeviceArray, DeviceArray] | None = None

    @staticmethod
    def build(state: AtomState, decomposition: Decomposition, comm: Comm, width: float) -> HaloExchange:
        """Finds the atoms within `width` (Å) of each brick and brings them there as ghosts, with all halo fields.

        The state must hold local atoms only, with `shift` set by the migration.
        """
        fractional = (width + _SLACK) / state.cell.heights
        images = decomposition.images(comm.rank, fractional)
        images = images[np.argsort(images[:, 0] != comm.rank, kind="stable")]  # its own first
        bricks = decomposition.bricks(images[:, 0])
        margin = np.array([-fractional, fractional])
        inner = np.array(decomposition.brick(comm.rank)) - margin
        boxes = bricks + images[:, None, 1:] + margin
        rows, counts = backend_for(state.device).domain.within(state, inner, boxes)
        n_own = int((images[:, 0] == comm.rank).sum())
        n_copies = int(counts[:n_own].sum())
        first = state.n_local, state.n_local + n_copies
        partners = _agree(images[n_own:, 0], counts[n_own:], comm)
        state.resize(state.n_local, n_copies + sum(p.ghosts.stop - p.ghosts.start for p in partners))
        halo = HaloExchange(comm, state.device, rows[:n_copies], rows[n_copies:], first, partners)
        translations = state.device_array(np.repeat(images[:, 1:].astype(np.int32), counts, axis=0))
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

    def begin_forward(self, values: DeviceArray, less: DeviceArray | None = None) -> None:
        """Sends rows of own atoms, and fills the ghosts that are images of own atoms.

        Args:
            values: (n_all, …) per-atom field; the rows of other ranks' ghosts are filled by `end_forward`.
            less: (m, …) subtracted from what the ghosts get, images of own atoms first; None: nothing.
        """
        values, n_own = self._for_backend(values), len(self._own)
        if self._partners:
            outgoing = self._buffer(values, len(self._sent))
            self._functions.gather(values, self._sent, outgoing)
            if less is not None:
                outgoing -= less[n_own:]
            self._begin(values, outgoing, forward=True)
        own = values[self.first_own : self.first_remote]
        self._functions.gather(values, self._own, own)
        if less is not None:
            own -= less[:n_own]

    def end_forward(self) -> None:
        """Waits for the ghosts of other ranks."""
        if self._partners:
            self._finish()

    def progress(self) -> bool:
        """Tells if all that is under way has arrived; MPI moves large messages only while it is asked."""
        return self._under_way is None or self._under_way[0].test()

    def begin_reverse(self, values: DeviceArray) -> None:
        """Sends the rows of other ranks' ghosts, which must be complete.

        Args:
            values: (n_all, …) integer field; its other rows may still be added to until `end_reverse`.
        """
        values = self._for_backend(values)
        self._begin(values, self._buffer(values, len(self._sent)), forward=False)

    def end_reverse(self) -> None:
        """Adds what has come from other ranks, and the rows of own images."""
        values, arrived = self._finish()
        self._functions.scatter_add(values, self._own, values[self.first_own : self.first_remote])
        self._functions.scatter_add(values, self._sent, arrived)

    def _begin(self, values: DeviceArray, sent: DeviceArray, forward: bool) -> None:
        """Puts a message to each partner, and one from each, under way.

        Args:
            values: (n_all, …), whose last rows are ghosts of other ranks.
            sent: (m, …) rows of the atoms that are ghosts there, in the order of partners.
            forward: `sent` goes there and ghosts come; else ghosts go there and `sent` comes.
        """
        ghosts = values[self.first_remote :]
        out, into = (sent, ghosts) if forward else (ghosts, sent)
        leaving, arriving = self._staged(out, into)
        sends, receives, legs = on_host(leaving), on_host(arriving), []
        for partner in self._partners:
            one, other = (partner.outgoing, partner.ghosts) if forward else (partner.ghosts, partner.outgoing)
            legs.append(SendRecv(sends[one], partner.rank, receives[other], partner.rank))
        self._under_way = self._comm.begin(legs), values, into, arriving

    def _finish(self) -> tuple[DeviceArray, DeviceArray]:
        """Waits for what is under way: the array it belongs to, and the rows that have arrived, on the device."""
        assert self._under_way is not None
        pending, values, into, arrived = self._under_way
        pending.wait()
        self._under_way = None
        if arrived is not into:
            into.copy_(arrived)
        return values, into

    def _staged(self, out: DeviceArray, into: DeviceArray) -> tuple[DeviceArray, DeviceArray]:
        """Memory of messages on the host: the arrays themselves where they are numpy's; else a copy of `out` is made.

        Args:
            out: (m, …) rows that are sent.
            into: (k, …) rows for what is received.
        """
        if self._device == HOST:
            return out, into
        both = self._buffer(out, len(out) + len(into), staging=True)
        leaving, arriving = both[: len(out)], both[len(out) :]
        leaving.copy_(out)  # returns when the kernels of torch's current stream have written, and it is complete
        return leaving, arriving

    def _buffer(self, values: DeviceArray, n: int, staging: bool = False) -> DeviceArray:
        """Memory for n rows of a field: kept, and shared by types of the same size.

        Args:
            values: (…, …) rows of the field.
            n: number of rows.
            staging: of messages from and to a device: on the host, where a GPU copies without a detour.
        """
        key = staging, values.dtype.itemsize, tuple(values.shape[1:])
        if key not in self._buffers:
            shape = (n, *values.shape[1:])
            if self._device == HOST:
                self._buffers[key] = np.empty(shape, values.dtype)
            elif staging:
                self._buffers[key] = values.new_empty(shape, device="cpu", pin_memory=values.is_cuda)
            else:
                self._buffers[key] = values.new_empty(shape)
        buffer: DeviceArray = self._buffers[key].view(values.dtype)
        return buffer

    def _for_backend(self, values: DeviceArray) -> DeviceArray:
        """The same memory, `values` (n, …), as the backend takes it: numpy's where the state is on the host."""
        return on_host(values) if self._device == HOST else values


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
