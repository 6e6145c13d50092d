"""Reporters say *when* they run and *what they need*; the simulation computes the union once."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from allegro_md.state import AtomState


@dataclass(frozen=True)
class Trigger:
    """True at every multiple of `every` steps; never when `every` is 0."""

    every: int

    def __call__(self, step: int) -> bool:
        """Whether the reporter is due: a pure function of the step, hence equal on all ranks."""
        return self.every > 0 and step % self.every == 0


@dataclass(frozen=True)
class Thermo:
    """Global observables of one step, equal on all ranks.

    Attributes:
        potential, kinetic, total, conserved: eV.
        temperature: K.
        pressure: GPa, with the kinetic part; NaN without a volume.
        volume: Å³.
        stress: (6,) GPa, Voigt order xx yy zz yz xz xy, positive in tension, with the kinetic part.
        max_force_std: of a committee, largest standard deviation of the force on an atom, eV/Å; else None.
    """

    potential: float
    kinetic: float
    total: float
    conserved: float
    temperature: float
    pressure: float
    volume: float
    stress: NDArray[np.float64]
    max_force_std: float | None = None


@dataclass(frozen=True)
class Snapshot:
    """Read-only view of the simulation at one step, handed to reporters on all ranks.

    Attributes:
        step: time step.
        time: fs.
        state: atoms of this rank.
        wall: seconds since the run began.
        thermo: present when a due reporter needs "thermo".
        force_std: (n_local,) eV/Å, of a committee, when a due reporter needs "force_std" or "thermo".
    """

    step: int
    time: float
    state: AtomState
    wall: float
    thermo: Thermo | None = field(default=None)
    force_std: NDArray[np.float64] | None = field(default=None)


class Reporter(Protocol):
    """Something that looks at the simulation now and then and never changes it."""

    name: str
    trigger: Trigger
    needs: frozenset[str]
    """Of {"thermo", "force_std"}: what `Snapshot` must hold."""

    def __call__(self, snapshot: Snapshot) -> None:
        """Called on all ranks at the same step."""

    def state_dict(self) -> dict[str, Any]:
        """What a continuation needs (JSON-like values, equal on all ranks)."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes up from a checkpoint's `state_dict`."""

    def flush(self) -> None:
        """Collective; all that was reported so far is on disk when it returns (called before a checkpoint)."""

    def close(self) -> None:
        """Collective; everything is on disk when it returns."""


def needs_of(due: Iterable[Reporter]) -> frozenset[str]:
    """Union of what the reporters need."""
    return frozenset().union(*(reporter.needs for reporter in due))
