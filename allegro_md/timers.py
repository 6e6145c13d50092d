"""Wall-clock time and counts by phase."""

from __future__ import annotations

import time
from collections import defaultdict
from types import TracebackType

POTENTIAL = "potential"
"""Phase whose CPU time is measured, too."""

WAIT = "wait"
"""Phase in which a rank waits for others; who it waited for is counted for the phase around it."""


class Timers:
    """Seconds per named phase. Phases do not overlap: within an inner phase the clock of the outer one stands still.

    Attributes:
        seconds: name → time spent in this phase and in no inner one.
        cpu_seconds: CPU time in the phase `POTENTIAL` and in no inner one: other programs on the core do not change it.
        counts: name → what was counted in this phase and in no inner one, by name; "waited" is the time, s, in `WAIT`.
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self.counts: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
        self._open: list[str] = []
        self._since = self._cpu_since = self.cpu_seconds = 0.0
        self._phases: dict[str, _Phase] = {}

    def phase(self, name: str) -> _Phase:
        """Adds the time spent in the body to `name`."""
        if name not in self._phases:
            self._phases[name] = _Phase(self, name)
        return self._phases[name]

    def count(self, what: str, amount: float = 1.0) -> None:
        """Adds to a count of the innermost open phase, "" where none is open."""
        self.counts[self._open[-1] if self._open else ""][what] += amount

    def enter(self, name: str) -> None:
        """Opens a phase."""
        self._switch()
        self._open.append(name)
        self._resume()

    def leave(self) -> None:
        """Closes the innermost phase."""
        spent = self._switch()
        if self._open.pop() == WAIT:
            self.count("waited", spent)
        self._resume()

    def _switch(self) -> float:
        """Adds the time since the last switch to the innermost open phase, and returns it."""
        now = time.perf_counter()
        spent = now - self._since
        if self._open:
            self.seconds[self._open[-1]] += spent
            if self._open[-1] == POTENTIAL:
                self.cpu_seconds += time.process_time() - self._cpu_since
        self._since = now
        return spent

    def _resume(self) -> None:
        """Begins to measure the CPU time of the phase that is now the innermost."""
        if self._open and self._open[-1] == POTENTIAL:
            self._cpu_since = time.process_time()


class _Phase:
    """Context of a phase, one object for all times: a step has a dozen of them."""

    def __init__(self, timers: Timers, name: str) -> None:
        self._timers, self._name = timers, name

    def __enter__(self) -> None:
        self._timers.enter(self._name)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._timers.leave()


def duration(seconds: float) -> str:
    """Hours, minutes and seconds: "1:02:03"."""
    whole = int(seconds + 0.5)
    return f"{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d}"
