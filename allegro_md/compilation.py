"""Says when kernels are compiled, and counts the seconds that takes."""

from __future__ import annotations

import threading
from contextlib import AbstractContextManager, suppress

from numba.core.event import Event, Listener, register, unregister

from allegro_md.kernel_cache import kept_kernels
from allegro_md.timers import Timers

COMPILE = "compile"
"""Phase of the timers that compiling counts as; no other phase runs meanwhile."""


class CompilationWatch(Listener):  # type: ignore[misc]  # numba has no annotations
    """Within ``with``, what this thread compiles is a phase of its own, and the first kernel is announced.

    Kernels that are found in the cache are not compiled, and nothing is said of them.

    Attributes:
        timers: that count.
        say: prints the announcement.
        announced: the announcement, once it has been made.
    """

    def __init__(self, active: bool) -> None:
        """Announces if `active`, on rank 0 only."""
        self.timers, self.say, self.announced = Timers(), _print, ""
        self._says, self._thread, self._depth = active, threading.get_ident(), 0
        self._phase: AbstractContextManager[None] | None = None

    def __enter__(self) -> CompilationWatch:
        register("numba:compile", self)
        return self

    def __exit__(self, *fault: object) -> None:
        unregister("numba:compile", self)

    def on_start(self, event: Event) -> None:
        """Begins the phase, unless this is a function that another one calls."""
        if threading.get_ident() != self._thread:
            return
        self._depth += 1
        if self._depth > 1:
            return
        self._phase = self.timers.phase(COMPILE)
        self._phase.__enter__()
        if self._says:
            self._says, self.announced = False, announcement()
            self.say(self.announced)

    def on_end(self, event: Event) -> None:
        """Ends the phase with the outermost function."""
        if threading.get_ident() != self._thread:
            return
        self._depth -= 1
        if self._depth == 0 and self._phase is not None:
            self._phase.__exit__(None, None, None)


def _print(line: str) -> None:
    with suppress(OSError):  # nobody listens any more: no reason to stop a run
        print(line, flush=True)


def announcement() -> str:
    """The line printed before the first kernel is compiled: how often that happens, and where kernels are kept."""
    folder = kept_kernels()
    if folder is None:
        return "compiling kernels, at every start: there is no cache folder that only this user can write"
    return f"compiling kernels, once per machine; they are kept in {folder}"
