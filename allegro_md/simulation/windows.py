"""Windows: steps that are made without asking the other ranks anything, and looked at together after the last of them.

Each rank notes the first step in which something went wrong with it. Where that happened to any rank, all go back to
the beginning of the window and make its steps again, the one with the fault as an ordinary step: it is found where it
happened, and no bit of a result depends on windows.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from allegro_md.integrators.base import Integrator
from allegro_md.state import AtomState

LONGEST = 0.5
"""Seconds that a window may take: within these a request to stop is answered, and longer ones would save nothing."""

MOST_ATOMS = 200_000
"""Of a rank, on average, up to which there are windows: copies of more would be large, and reductions are cheap beside
their steps."""

SHARE = 0.8
"""Of the skin that is left, that a window may use up."""

UNCHANGED = frozenset({"id", "species", "shift", "group"})
"""Fields that steps without a rebuild leave as they are."""

MEMORY = 0.5
"""Share of the pace of a window that is still believed in the next one."""


@dataclass(frozen=True)
class Fault:
    """The first thing that went wrong with this rank in a window.

    Attributes:
        step: in which it happened first.
        error: that was raised; None: the list was out of date, or a limit of the guard was passed.
    """

    step: int
    error: Exception | None = None


class SavedState:
    """The local atoms of a rank and the numbers of its integrator, to go back to; valid until atoms migrate."""

    def __init__(self, state: AtomState, integrator: Integrator) -> None:
        """Copies what a step changes."""
        self._state, self._integrator = state, integrator
        self._rows = {name: np.array(state.host_local(name)) for name in state.fields if name not in UNCHANGED}
        self._numbers = integrator.state_dict()

    def restore(self) -> None:
        """Puts everything back."""
        for name, rows in self._rows.items():
            self._state.array_local(name)[...] = self._state.device_array(rows)
        self._integrator.load_state_dict(self._numbers)


class Windows:
    """Chooses the lengths of windows, from what the ranks have told each other when they last met.

    A window ends before the skin is used up, as far as can be told from the pace at which that happened lately: a fault
    costs the steps of the window once more.
    """

    def __init__(self, longest: float = LONGEST) -> None:
        """Begins with ordinary steps; `longest` in seconds, 0: there are no windows."""
        self._longest = longest
        self.forget()

    def forget(self) -> None:
        """Begins anew with ordinary steps: the lists are others."""
        self._excess = self._pace = self._seconds = math.inf  # of all ranks, when they last met
        self._first = self._last = math.inf  # excess of this rank, then and in the latest step

    def note(self, excess: float) -> None:
        """Takes note of a step; `excess` is the distance, Å, by which atoms of this rank have moved beyond the skin."""
        self._last = excess

    def report(self, n_steps: int, seconds: float) -> NDArray[np.float64]:
        """Returns what this rank tells the others, (3,), of `n_steps` since they last met, of `seconds` each."""
        used = self._last - self._first if math.isfinite(self._first) else 0.0
        self._first = self._last
        return np.array([self._last, used / n_steps, seconds])

    def learn(self, told: NDArray[np.float64], rebuilt: bool) -> None:
        """Takes what the ranks have told.

        Args:
            told: (3,) float64, the largest of their reports.
            rebuilt: lists were built since they last met.
        """
        self._excess, pace, self._seconds = map(float, told)
        if not rebuilt:
            self._pace = max(pace, MEMORY * self._pace) if math.isfinite(self._pace) else max(pace, 0.0)

    def length(self) -> int:
        """Number of steps to make unchecked, the same on all ranks; 0: an ordinary step is next."""
        patience = int(self._longest / max(self._seconds, 1e-9))
        if self._excess > 0.0 or patience < 2:
            return 0
        return int(min(patience, SHARE * -self._excess / max(self._pace, 1e-12)))
