"""Ends before the last step: a signal, or the end of the time the program may take."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from types import FrameType
from typing import Any, Protocol

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
"""Ctrl-C; what batch systems and launchers send; what batch systems can be told to send some time before the end."""

REASONS = {1: "interrupted", 2: "the walltime is nearly over", 3: "another replica has ended early"}
"""What `StopRequest.wanted` answers."""

REPEAT_SECONDS = 1.0
"""Within these a signal that arrives twice is one: launchers pass on what the terminal has sent already."""


class EarlyInterrupt(KeyboardInterrupt):
    """Raised where a signal arrives before a run has begun.

    Not KeyboardInterrupt itself: where that leaves text that is executed, as imports do to make classes, Python
    remembers it and ends the process by SIGINT instead of with the program's status, although it was caught.
    """


_EARLY: list[float] = []
"""When a signal has come before the run began, if one has."""


@contextmanager
def interrupt_on_signals() -> Iterator[Callable[[], bool]]:
    """Within: a signal raises `EarlyInterrupt`; a second one, later, ends the process with status 130 at once.

    For the time in which nothing is there yet that could be saved. Outside the main thread nothing is changed.

    Yields:
        A function that tells if a signal has come. Compilers call Python from within and lose the exception, so that
        another one follows.
    """
    signaled_at = _EARLY
    signaled_at.clear()

    def interrupt(number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if not signaled_at:
            signaled_at.append(now)
            raise EarlyInterrupt
        if now - signaled_at[0] > REPEAT_SECONDS:
            os._exit(130)

    in_main = threading.current_thread() is threading.main_thread()
    before = {kind: signal.signal(kind, interrupt) for kind in SIGNALS} if in_main else {}
    try:
        yield lambda: bool(signaled_at)
    finally:
        signaled_at.clear()
        for kind, handler in before.items():
            signal.signal(kind, signal.SIG_DFL if handler is None else handler)


class Stop(Protocol):
    """Tells a run to end."""

    def wanted(self) -> int:
        """0: nothing; else a key of `REASONS`. To be asked after every step, or window of steps."""

    def on_signals(self) -> AbstractContextManager[None]:
        """Within: signals are requests to end."""


class StopRequest:
    """Tells if this rank has a reason to end the run."""

    def __init__(self, walltime: float | None, first_checkpoint: float) -> None:
        """Starts the clock.

        Args:
            walltime: seconds from now; None: no limit.
            first_checkpoint: expected seconds for a checkpoint, until one has been seen.
        """
        self._walltime, self._longest = walltime, first_checkpoint
        self._began = time.monotonic()
        self._looked: float | None = None
        self._looks = 0
        self._signaled_at: float | None = None

    def wanted(self) -> int:
        """0: none; else a key of `REASONS`. To be asked after every step, or window of steps.

        The longest time between two such questions, in which a checkpoint may have been written, is what the end will
        take, too; twice that is kept in reserve. The first one does not count: in it kernels may have been compiled.
        """
        if self._signaled_at is not None:
            return 1
        if self._walltime is None:
            return 0
        now = time.monotonic()
        if self._looked is not None and self._looks > 1:
            self._longest = max(self._longest, now - self._looked)
        self._looked, self._looks = now, self._looks + 1
        return 2 if now - self._began + 2.0 * self._longest > self._walltime else 0

    @contextmanager
    def on_signals(self) -> Iterator[None]:
        """Within: a signal ends the run after the step or window under way; a second one, later, at once."""
        before: dict[int, Any] = {}

        def request(number: int, frame: FrameType | None) -> None:
            now = time.monotonic()
            if self._signaled_at is not None and now - self._signaled_at > REPEAT_SECONDS:
                signal.signal(number, before[number])
                signal.raise_signal(number)
            elif self._signaled_at is None:
                self._signaled_at = now

        for kind in SIGNALS:
            before[kind] = signal.signal(kind, request)
        try:
            if _EARLY:  # its exception was lost, in an import or where Python calls back
                raise EarlyInterrupt
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
