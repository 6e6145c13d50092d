"""The interface of all accumulators, and their sum over ranks."""

from __future__ import annotations

from copy import deepcopy
from typing import Any, Protocol, Self, TypeVar

from allegro_md.comm import Comm


class Accumulator(Protocol):
    """Something that takes samples; each has a method ``add`` with arguments of its own."""

    def merge(self, other: Self) -> None:
        """Adds what another accumulator of the same kind has taken.

        Raises:
            ValueError: it was made with other arguments.
        """

    def state_dict(self) -> dict[str, Any]:
        """Returns all that a continuation needs; equal contents give equal values, however they came about."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Replaces the content by one that `state_dict` returned."""


A = TypeVar("A", bound=Accumulator)


def reduced(accumulator: A, comm: Comm) -> A:
    """Merges the accumulators of all ranks into a new one, equal on all of them (collective)."""
    first, *others = comm.allgather(accumulator)
    total: A = deepcopy(first)  # without MPI it is the given one itself
    for other in others:
        total.merge(other)
    return total
