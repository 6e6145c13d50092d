"""Evaluations in parts: some centers while ghosts are still on their way, others while forces on ghosts travel home.

A potential that can do so has the method `InParts.in_parts` beside its call. It goes through the parts it is given, in
their order, and knows nothing of what happens in between.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol, runtime_checkable

from allegro_md.evaluation import Evaluation, Needs
from allegro_md.neighbors.list import NeighborList
from allegro_md.potentials.base import Potential
from allegro_md.state import AtomState

CHUNK = 4096
"""Centers between two looks at the messages under way."""

Span = tuple[int, int]
"""The first of consecutive atoms, and the one after the last."""


class Part(NamedTuple):
    """Centers to be evaluated together.

    Attributes:
        centers: indices of local atoms.
        rows: atoms and ghosts whose positions have come since the part before.
    """

    centers: Span
    rows: Span


def spans(whole: Span, most: int) -> Iterator[Span]:
    """Yields consecutive spans of at most so many atoms."""
    for first in range(*whole, most):
        yield first, min(whole[1], first + most)


def nothing() -> None:
    """Does nothing."""


@dataclass(frozen=True)
class Parts:
    """All centers of an evaluation, each in one part.

    Attributes:
        early: centers without a neighbor from another rank, evaluated first.
        middle: centers that need all ghosts; only they add to forces on ghosts from other ranks.
        late: the other centers without a neighbor from another rank, evaluated last.
        first_remote: row of the first ghost from another rank.
        n_all: local atoms and ghosts.
        arrive: called before the middle part; all ghosts are there when it returns.
        depart: called after the middle part, when forces on ghosts from other ranks are complete.
        progress: called now and then.
    """

    early: Span
    middle: Span
    late: Span
    first_remote: int
    n_all: int
    arrive: Callable[[], None] = nothing
    depart: Callable[[], None] = nothing
    progress: Callable[[], object] = nothing

    @staticmethod
    def whole(state: AtomState) -> Parts:
        """One part: all ghosts are there."""
        n, n_all = state.n_local, state.n_all
        return Parts((0, 0), (0, n), (n, n), 0, n_all)

    def __iter__(self) -> Iterator[Part]:
        known = 0
        for centers in self._chunks(self.early):
            yield Part(centers, (known, self.first_remote))
            known = self.first_remote
        self.arrive()
        yield Part(self.middle, (known, self.n_all))
        self.depart()
        for centers in self._chunks(self.late):
            yield Part(centers, (self.n_all, self.n_all))

    def _chunks(self, centers: Span) -> Iterator[Span]:
        for chunk in spans(centers, CHUNK):
            yield chunk
            self.progress()

    def of_term(self, first: bool, last: bool, complete: Callable[[], None]) -> Parts:
        """The same for one of several potentials: only the first one meets the arrival, the last one the departure.

        Args:
            first, last: place of the potential; it may be both.
            complete: called before the departure, when this one's forces on ghosts from other ranks are complete.
        """
        parts, start = self, self.early[0]
        if not first:
            parts = replace(parts, early=(start, start), late=(start, self.late[1]), arrive=nothing)

        def depart() -> None:
            complete()
            self.depart()

        return replace(parts, depart=depart if last else nothing)


@runtime_checkable
class InParts(Protocol):
    """A potential that can evaluate some centers before others."""

    def in_parts(self, state: AtomState, lists: NeighborList, needs: Needs, parts: Parts) -> Evaluation:
        """Evaluates the local atoms part by part; otherwise as `Potential.__call__`."""


def has_parts(potential: Potential) -> bool:
    """Tells if a potential, with all that it is made of, can be evaluated in parts."""
    return isinstance(potential, InParts) and all(has_parts(member) for member in potential.members)
