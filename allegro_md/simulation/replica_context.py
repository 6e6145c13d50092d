"""Place of a run among several replicas, and requests to end that reach all of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from allegro_md.comm import Comm
from allegro_md.stopping import Stop, StopRequest

ENDED_EARLY = 3
"""Key of `stopping.REASONS`: another replica has."""


@dataclass(frozen=True)
class ReplicaContext:
    """Place of a run among others that run at the same time.

    Attributes:
        stop: tells all of them to end.
        prints: its lines appear on the terminal.
        checkpoint: step of the checkpoint to continue from; None: the newest.
        runs: number of all runs, which share the disk.
        runs_on_host: of those in the memory of a host at the same time, this one included.
    """

    stop: Stop
    prints: bool = True
    checkpoint: int | None = None
    runs: int = 1
    runs_on_host: float = 1.0


@dataclass
class SharedStop:
    """A request to end that reaches all groups of ranks, without waiting for any of them.

    Attributes:
        request: of this rank.
        comm: all ranks of all groups.
    """

    request: StopRequest
    comm: Comm
    _reason: int = field(default=0, init=False)

    def wanted(self) -> int:
        """0: nothing; else a key of `REASONS`: of this rank, or of another one that has said so."""
        if self._reason == 0:
            self._reason = self.comm.told()
            if self._reason == 0 and (own := self.request.wanted()):
                self.give_up(own)
        return self._reason

    def give_up(self, reason: int = ENDED_EARLY) -> None:
        """Tells all other ranks to end."""
        if self._reason == 0:
            self._reason = reason
            self.comm.tell(reason)

    @contextmanager
    def on_signals(self) -> Iterator[None]:
        """Nothing: signals are looked after where the request was made."""
        yield


class NeverStops:
    """For a run in pieces: whoever asks for the next piece may end it."""

    def wanted(self) -> int:
        """0."""
        return 0

    @contextmanager
    def on_signals(self) -> Iterator[None]:
        """Nothing."""
        yield
