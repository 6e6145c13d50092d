"""Ends a rank that waits for another one that is gone, as where a host has lost its network.

MPI waits for ever then, or as long as TCP sends again, a quarter of an hour. So each blocking operation leaves a note
of what is waited for, and a thread looks at the note: when the same operation is found there too often, the process
ends. The thread costs nothing between its looks, and a note costs less than a microsecond.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from socket import gethostname
from typing import Any

from allegro_md.errors import ResourceError
from allegro_md.timers import duration

LOOKS = 20
"""Looks within the time of patience. They are counted, not timed: a suspended job must not count as a long wait."""

LAST_SECONDS = 5.0
"""What the end of the other ranks may take, before this process ends alone."""

BLOCKING = {
    "Dup": "all ranks, to begin together",
    "Split": "all ranks, to be divided into groups",
    "bcast": "a value from another rank",
    "Bcast": "a value from another rank",
    "allgather": "a value from each rank",
    "Allreduce": "a sum or maximum over all ranks",
    "Reduce": "a sum over all ranks",
    "Alltoall": "the numbers of atoms that other ranks send",
    "Alltoallv": "atoms from other ranks",
}
"""Operations of an MPI communicator that wait for other ranks, and for what."""


@dataclass
class Waiting:
    """The note of this process.

    Attributes:
        what: is waited for; None: nothing.
        turn: counts the operations.
    """

    what: object = None
    turn: int = 0


_waiting = Waiting()


def noted(operation: Callable[..., Any], what: object) -> Callable[..., Any]:
    """Returns the operation with a note that lasts as long as it does; `what`, as text, is what is waited for."""

    def call(*arguments: Any, **keywords: Any) -> Any:
        _waiting.turn += 1
        _waiting.what = what
        try:
            return operation(*arguments, **keywords)
        finally:
            _waiting.what = None

    return call


class NotedCommunicator:
    """An mpi4py communicator whose blocking operations leave a note; all else is the communicator's."""

    def __init__(self, mpi: Any) -> None:
        """Wraps a communicator."""
        self._mpi = mpi
        self.Isend, self.Irecv = mpi.Isend, mpi.Irecv
        for name, what in BLOCKING.items():
            setattr(self, name, noted(getattr(mpi, name), what))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._mpi, name)


@contextmanager
def ends_when_lost(patience: float, rank: int, abort: Callable[[int], Any]) -> Iterator[None]:
    """Within: a wait for other ranks of more than `patience` seconds ends this process, and the others if it can.

    Time in which a rank computes, reads or writes counts as waiting on the ranks that need its result.

    Args:
        patience: seconds; 0: no limit.
        rank: this one.
        abort: ends all ranks with a status.
    """
    if patience == 0.0:
        yield
        return
    over = threading.Event()
    watch = threading.Thread(target=_watch, args=(over, patience, rank, abort), name="lost ranks", daemon=True)
    watch.start()
    try:
        yield
    finally:
        over.set()


def _watch(over: threading.Event, patience: float, rank: int, abort: Callable[[int], Any]) -> None:
    turn, looks = -1, 0
    while not over.wait(patience / LOOKS):
        what, now = _waiting.what, _waiting.turn
        looks = looks + 1 if what is not None and now == turn else 0
        turn = now
        if looks >= LOOKS:
            _end(f"rank {rank} on {gethostname()} has waited {duration(patience)} for {what}", abort)


def _end(what: str, abort: Callable[[int], Any]) -> None:
    """Says what was waited for, and ends the process; the other ranks, too, where the launcher can be reached."""
    status = ResourceError.exit_status
    # The network may be the one the launcher needs, and MPI is in the middle of an operation.
    last = threading.Timer(LAST_SECONDS, os._exit, (status,))
    last.daemon = True
    last.start()
    print(
        f"allegro-md: {what} — a host or the network is lost, or parallel.patience is too short for the work of one "
        "rank; --resume continues from the newest checkpoint", file=sys.stderr, flush=True,
    )  # fmt: skip
    try:
        abort(status)
    finally:
        os._exit(status)
