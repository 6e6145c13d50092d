"""The interface of all quantities, and the samples that they are fed with."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Generic, Literal

import numpy as np
from numpy.typing import NDArray

from allegro_md.accumulators.blocks import Blocks, S, load_on_root
from allegro_md.analysis.result import Result
from allegro_md.cell import Cell
from allegro_md.comm import Comm
from allegro_md.errors import InputError
from allegro_md.evaluation import Needs
from allegro_md.io.checkpoint import BLOCK
from allegro_md.io.id_partition import IdPartition
from allegro_md.io.wrapping import fractions, unwrap, wrap
from allegro_md.reporting import Thermo
from allegro_md.state import SpeciesTable

PIECE = 1 << 16
"""Atoms that are wrapped at a time."""


@dataclass(frozen=True)
class System:
    """The system to be observed, as far as it is known before the first sample.

    Attributes:
        species_table: the elements.
        n_total: number of atoms.
        cell: at the beginning.
        interval: fs between samples; NaN where the source does not say.
        n_samples: how many are expected.
        comm: all ranks.
        uneven: a sentence, where `interval` is NaN because it is not the same everywhere; otherwise "".
    """

    species_table: SpeciesTable
    n_total: int
    cell: Cell
    interval: float
    n_samples: int
    comm: Comm
    uneven: str = ""


@dataclass(frozen=True)
class Sample:
    """Atoms at one time, in the order in which a rank holds them.

    Attributes:
        number: of the sample, from 0.
        step: of the simulation.
        time: fs.
        cell: at that time.
        species_table: the elements.
        n_total: atoms of the whole system.
        comm: the ranks that hold all atoms together.
        ids: (n,) int64.
        species: (n,) index into the table.
        position: (n, 3) float64, Å, unwrapped; wrapped where the source has no images.
        velocity: (n, 3) float64, Å/fs; None: not asked for.
        thermo: None: not asked for.
        energy: (n,) float64, eV, of each center; None: not asked for.
        centroid_virial: (n, 3, 3) float64, eV, see `evaluation.Evaluation`; None: not asked for.
    """

    number: int
    step: int
    time: float
    cell: Cell
    species_table: SpeciesTable
    n_total: int
    comm: Comm
    ids: NDArray[np.int64]
    species: NDArray[np.integer[Any]]
    position: NDArray[np.float64]
    velocity: NDArray[np.float64] | None = None
    thermo: Thermo | None = None
    energy: NDArray[np.float64] | None = None
    centroid_virial: NDArray[np.float64] | None = None

    @cached_property
    def wrapped(self) -> tuple[NDArray[np.float64], NDArray[np.int32]]:
        """Positions in the cell (n, 3), Å, and images (n, 3), as a trajectory in float64 stores them.

        Whatever depends on the last bit of a position, such as the bin of a distance, is made of these: so it is the
        same while the simulation runs and afterwards.
        """
        position, image = np.empty(self.position.shape), np.empty(self.position.shape, np.int32)
        for first in range(0, len(position), PIECE):  # `wrap` needs ten times the memory of what it is given
            rows = slice(first, first + PIECE)
            position[rows], image[rows] = wrap(self.position[rows], self.cell, np.float64)
        return position, image

    @cached_property
    def fractions(self) -> NDArray[np.float64]:
        """(n, 3) float64 of the cell, of `wrapped`, with the same bits on any rank."""
        return fractions(self.wrapped[0], self.cell)

    @cached_property
    def as_stored(self) -> NDArray[np.float64]:
        """(n, 3) float64, Å, unwrapped positions with the bits that a trajectory in float64 gives back."""
        return unwrap(*self.wrapped, self.cell.given_rows)

    @cached_property
    def partition(self) -> IdPartition:
        """Ranges of ids, one per rank, whole blocks of a checkpoint."""
        return IdPartition(self.n_total, self.comm, BLOCK)

    def by_id(self, **fields: NDArray[Any]) -> dict[str, NDArray[Any]]:
        """Rows of this rank's range of `partition`, in the order of ids (collective).

        Args:
            fields: name → (n, …) rows of the atoms held.

        Raises:
            PhysicsError: an atom is missing or there twice.
        """
        if self.comm.size == 1:
            self.partition.require_each_once(0, self.ids, self.n_total)
            return {name: _placed(rows, self.ids) for name, rows in fields.items()}
        n_own = self.partition.stop - self.partition.start
        ordered = {name: np.empty((n_own, *rows.shape[1:]), rows.dtype) for name, rows in fields.items()}
        takers = {name: rows.__getitem__ for name, rows in fields.items()}
        for first, piece, _ in self.partition.pieces(self.ids, takers):
            start = first - self.partition.start
            for name, rows in piece.items():
                ordered[name][start : start + len(rows)] = rows
        return ordered


def _placed(rows: NDArray[Any], ids: NDArray[np.int64]) -> NDArray[Any]:
    """Puts `rows` (n, …) of atoms with `ids` (n,) in the order of ids."""
    ordered = np.empty_like(rows, order="C")
    ordered[ids] = rows
    return ordered


class Quantity(ABC):
    """Something that takes samples and gives a result; the same while a simulation runs and afterwards.

    Attributes:
        fields: of a stored frame that it needs.
        needs: of a running simulation, see `reporting.Observer`.
        divided: how ranks share stored samples: each takes some of the frames; each takes some of the atoms of all
            frames; or none is divided, all ranks do the same.
    """

    fields: tuple[str, ...] = ("position",)
    needs: ClassVar[Needs] = frozenset()
    divided: ClassVar[Literal["frames", "atoms", "no"]] = "frames"

    @abstractmethod
    def add(self, sample: Sample) -> None:
        """Takes a sample; collective over `sample.comm`.

        Raises:
            PhysicsError: it cannot be used.
        """

    @abstractmethod
    def result(self, comm: Comm) -> Result:
        """Returns the result of all samples so far, on all ranks (collective).

        Raises:
            InputError: there are too few samples.
        """

    @abstractmethod
    def state_dict(self, comm: Comm) -> dict[str, Any]:
        """Returns what a continuation needs: values that JSON can hold, equal on all ranks (collective)."""

    @abstractmethod
    def load_state_dict(self, state: dict[str, Any], comm: Comm) -> None:
        """Takes up from a `state_dict`, on any number of ranks.

        Raises:
            ValueError: it was made with other settings.
        """

    def rows(self) -> Mapping[str, NDArray[Any]]:
        """Returns what else a continuation needs: name → (n_own, …) rows of this rank's range of `Sample.partition`."""
        return {}

    def load_rows(self, rows: Mapping[str, NDArray[Any]]) -> None:  # noqa: B027  most quantities have none
        """Takes up rows of this rank's range of ids."""

    def bytes_held(self, n_local: int) -> float:
        """Bytes that a rank with `n_local` atoms keeps from sample to sample, at most."""
        return 0.0

    def bytes_while_called(self, n_local: int) -> float:
        """Bytes on top of that while a sample is added, at most."""
        return 200.0 * n_local


class Blocked(Quantity, Generic[S]):
    """A quantity that continues from its blocks alone, each rank with sums of its own in them."""

    _blocks: Blocks[S]

    def state_dict(self, comm: Comm) -> dict[str, Any]:
        return self._blocks.reduced(comm).state_dict()

    def load_state_dict(self, state: dict[str, Any], comm: Comm) -> None:
        load_on_root(self._blocks, state, comm)


def require_samples(n_samples: int, where: str) -> None:
    """Refuses a result of nothing.

    Raises:
        InputError: there is no sample.
    """
    if n_samples == 0:
        raise InputError("there are no samples", where, "choose a smaller 'every' or 'after', or more frames")
