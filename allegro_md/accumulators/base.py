"""The interface of all accumulators, and their sum over ranks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from copy import deepcopy
from typing import Any, Protocol, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

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


class Summed(Accumulator, ABC):
    """An accumulator that consists of whole numbers, which merging adds up."""

    @property
    @abstractmethod
    def arguments(self) -> dict[str, Any]:
        """Arguments that it was made with, by name; accumulators with different ones are not added."""

    @abstractmethod
    def words(self) -> list[NDArray[np.int64]]:
        """Returns the int64 arrays that hold the numbers; those of up to 2³⁰ accumulators may be added to them."""

    def merge(self, other: Self) -> None:
        """Adds the numbers of another one; the result has the same bits in any order.

        Raises:
            ValueError: it was made with other arguments.
        """
        require_alike(type(self).__name__, self.arguments, other.arguments)
        for mine, theirs in zip(self.words(), other.words(), strict=True):
            mine += theirs


A = TypeVar("A", bound=Accumulator)


def reduced(accumulator: A, comm: Comm) -> A:
    """Merges the accumulators of all ranks into a new one, equal on all of them (collective).

    A rank holds a few of them at a time, on any number of ranks.

    Raises:
        ValueError: they cannot be merged (on all ranks).
    """
    if isinstance(accumulator, Summed):
        total = deepcopy(accumulator)
        first, *others = comm.allgather(total.arguments)
        for arguments in others:
            require_alike(type(total).__name__, first, arguments)
        for words in total.words():
            words[...] = comm.sum(words)
        return total
    total = deepcopy(comm.bcast(accumulator))  # without MPI it is the given one itself
    for rank in range(1, comm.size):
        total.merge(comm.bcast(accumulator, root=rank))
    return total


def require_alike(kind: str, mine: dict[str, Any], other: dict[str, Any]) -> None:
    """Refuses to add what does not fit.

    Args:
        kind: name of the class of both.
        mine: arguments that one was made with.
        other: those of the other.

    Raises:
        ValueError: they differ.
    """
    if mine != other:
        wanted, found = (", ".join(f"{key} = {value}" for key, value in made.items()) for made in (mine, other))
        raise ValueError(f"a {kind} with {found} does not fit one with {wanted}")
