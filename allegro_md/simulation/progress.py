"""Log of a run: a live line on a terminal, plain lines elsewhere, all lines in ``log.txt``."""

from __future__ import annotations

import sys
import time
from contextlib import suppress
from pathlib import Path

from rich.console import Console
from rich.live import Live
from rich.text import Text

from allegro_md.compilation import COMPILE
from allegro_md.reporting import PRIORITY, Snapshot
from allegro_md.timers import Timers, duration
from allegro_md.triggers import Every

LIVE_SECONDS = 0.5
"""Between updates of the live line."""

PLAIN_SECONDS = 10.0
"""Between lines where there is no terminal."""


class Log:
    """Lines on rank 0's terminal and in a file; silent on other ranks.

    Attributes:
        prints: lines appear on the terminal.
    """

    def __init__(self, path: Path, active: bool, prints: bool = True) -> None:
        """Appends to `path`; `active` on rank 0 only; it `prints` unless the terminal is for others."""
        self._path, self._active, self.prints = path, active, active and prints

    def say(self, line: str) -> None:
        """One line."""
        if self.prints:
            with suppress(OSError):  # nobody listens any more: no reason to stop a run
                print(line, flush=True)
        self.note(line)

    def note(self, line: str) -> None:
        """One line, in the file only; one that cannot be written is no reason to stop a run."""
        if self._active:
            with suppress(OSError), self._path.open("a", encoding="utf-8") as file:
                file.write(line + "\n")


class Progress:
    """Observer that shows speed, temperature and drift; at the steps of ``thermo.csv``, thinned out by wall time."""

    name = "progress"
    priority = PRIORITY["log"]
    needs = frozenset({"thermo"})
    files = ()

    def __init__(self, log: Log, every: int, last_step: int, n_atoms: int, active: bool, timers: Timers) -> None:
        """Prints nothing before its second call: speed needs two.

        Args:
            log: where plain lines go.
            every: steps between looks at the clock.
            last_step: of the run.
            n_atoms: of the whole system.
            active: on rank 0 only.
            timers: what they count as compiling is no part of the speed.
        """
        self.trigger = Every(every)
        self._log, self._last_step, self._n_atoms, self._active = log, last_step, n_atoms, active
        self._timers = timers
        self._first: tuple[int, float, float, float] | None = None  # step, time, conserved energy, clock
        self._shown = -1e300
        console = Console(file=sys.stdout)
        self._live = Live(console=console, auto_refresh=False) if log.prints and console.is_terminal else None

    def __call__(self, snapshot: Snapshot) -> None:
        """Shows the present state when it is time."""
        now = time.monotonic() - self._timers.seconds.get(COMPILE, 0.0)
        assert snapshot.thermo is not None
        if self._first is None:
            self._first = (snapshot.step, snapshot.time, snapshot.thermo.conserved, now)
            return
        interval = LIVE_SECONDS if self._live is not None else PLAIN_SECONDS
        if not self._active or (now - self._shown < interval and snapshot.step < self._last_step):
            return
        self._shown = now
        line = self._line(snapshot, now)
        if self._live is not None and snapshot.step < self._last_step:
            self._live.start()  # only now: a fault before this leaves the terminal as it was
            self._live.update(Text(line), refresh=True)
            self._log.note(line)
        else:
            self.close()
            self._log.say(line)

    def _line(self, snapshot: Snapshot, now: float) -> str:
        assert self._first is not None and snapshot.thermo is not None
        step, start, conserved, clock = self._first
        made, seconds = max(1, snapshot.step - step), max(1e-9, now - clock)
        drift = (snapshot.thermo.conserved - conserved) / self._n_atoms
        std = snapshot.thermo.max_force_std
        spread = "" if std is None else f"force std {std:8.4f} eV/Å  "
        left = (self._last_step - snapshot.step) * seconds / made
        cost = f"{seconds / made / self._n_atoms * 1e6:9.3f} µs/(atom·step)"
        if snapshot.time == start:  # a minimization: no time passes, nothing is conserved
            energy = snapshot.thermo.potential / self._n_atoms
            return f"step {snapshot.step}/{self._last_step}  {energy:12.6f} eV/atom  {spread}{cost}"
        return (
            f"step {snapshot.step}/{self._last_step}  {snapshot.thermo.temperature:8.1f} K  {spread}"
            f"drift {1e6 * drift:+9.2f} µeV/atom  {(snapshot.time - start) * 1e-6 / seconds * 86400:8.3f} ns/day  "
            f"{cost}  {duration(left)} left"
        )

    def bytes_per_sample(self, n_atoms: int) -> float:
        """Zero: what log.txt takes is not worth mentioning."""
        return 0.0

    def flush(self) -> None:
        """Nothing is held back."""

    def close(self) -> None:
        """Ends the live line."""
        if self._live is not None:
            self._live.stop()
            self._live = None
