"""A quantity computed from a stored trajectory: the frames, or the atoms, divided over ranks."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from allegro_md.analysis.base import Quantity, Sample, System
from allegro_md.analysis.result import Analyzed
from allegro_md.analysis.time_axis import spacing
from allegro_md.comm import Comm
from allegro_md.config.fields import SYMBOLS
from allegro_md.errors import InputError, PhysicsError
from allegro_md.io.checkpoint import BLOCK
from allegro_md.io.frames import FrameSource, StoredFrame
from allegro_md.io.id_partition import IdPartition
from allegro_md.io.structure.contents import standard_masses
from allegro_md.io.wrapping import fractions, multiplied
from allegro_md.state import SpeciesTable
from allegro_md.timers import duration

PROGRESS_SECONDS = 5.0
"""Between lines about progress."""

LONGEST_JUMP = 0.3
"""Of a cell: atoms that move farther between two frames make unwrapping by the nearest image doubtful."""

FARTHEST = 2**31 - 1
"""Cells from an atom to the cell at the origin."""

Make = Callable[[System, str], Quantity]
"""Makes the quantity of a system; the text says where its settings come from."""


def analyze_frames(
    make: Make, source: FrameSource, frames: slice, comm: Comm, say: Callable[[str], None] = lambda line: None
) -> Analyzed:
    """Computes a quantity of the frames of a trajectory (collective).

    Args:
        make: makes the quantity.
        source: of the frames, opened on every rank.
        frames: which of them.
        comm: all ranks.
        say: takes lines about progress, on rank 0.

    Raises:
        InputError: there are no frames, or the trajectory lacks what the quantity needs.
        PhysicsError: a frame cannot be used.
    """
    where = str(source.path)
    chosen = range(source.n_frames)[frames]
    if len(chosen) == 0:
        raise InputError(f"no frame is chosen of {source.n_frames}", where, "choose others with --frames")
    table, species = species_of(source)
    interval, uneven = spacing(np.asarray(source.times[chosen.start : chosen.stop : chosen.step], dtype=np.float64))
    system = System(table, source.n_atoms, source[chosen[0]].cell, interval, len(chosen), comm, uneven)
    quantity = make(system, where)
    source.require(*(field for field in quantity.fields if field != "image"))
    notes = []
    unwrapper = None
    if "image" in quantity.fields and "image" not in source.fields and any(source.periodic):
        unwrapper = Unwrapper()
    reader = _Reader(source, chosen, table, species, quantity)
    progress = _Progress(len(chosen) if quantity.divided == "atoms" else -(-len(chosen) // comm.size), say)
    if quantity.divided == "atoms":
        slabs = IdPartition(source.n_atoms, comm, BLOCK)
        for number in range(len(chosen)):
            with comm.collective_errors():
                sample = reader.sample(number, slabs.start, slabs.stop, comm)
                sample = sample if unwrapper is None else unwrapper(sample)
            quantity.add(sample)
            progress.made(number + 1)
    else:
        first, last = (len(chosen) * (comm.rank + k) // comm.size for k in (0, 1))
        with comm.collective_errors():
            for number in range(first, last):
                quantity.add(reader.sample(number, 0, source.n_atoms, Comm.serial()))
                progress.made(number + 1 - first)
    result = quantity.result(comm)
    if unwrapper is not None:
        notes += unwrapper.notes(comm)
    result.notes[:0] = [*source.remarks, *notes]
    text = f"{source.path.absolute()}, frames {chosen.start}:{chosen.stop}:{chosen.step}"
    return Analyzed(result, len(chosen), int(source.steps[chosen[0]]), int(source.steps[chosen[-1]]), text)


def species_of(source: FrameSource) -> tuple[SpeciesTable, NDArray[np.int64]]:
    """Elements of a trajectory, and the index of each atom into them, (n_atoms,); isotopes are species of their own."""
    numbers = np.asarray(source.species, dtype=np.int64)
    masses = standard_masses(numbers) if source.masses is None else np.asarray(source.masses, dtype=np.float64)
    kinds, index = np.unique(np.stack([numbers, masses], axis=1), axis=0, return_inverse=True)
    symbols = tuple(SYMBOLS[int(number) - 1] for number in kinds[:, 0])
    return SpeciesTable(symbols, kinds[:, 0].astype(np.int64), kinds[:, 1].copy()), index.ravel().astype(np.int64)


class _Reader:
    """Makes samples of frames."""

    def __init__(
        self, source: FrameSource, chosen: range, table: SpeciesTable, species: NDArray[np.int64], quantity: Quantity
    ) -> None:
        """Reads only what the quantity needs; `species` (n_atoms,) are indices into the table."""
        self._source, self._chosen, self._table, self._species = source, chosen, table, species
        self._with_velocity = "velocity" in quantity.fields
        self._unwrapped = "image" in source.fields or not any(source.periodic)

    def sample(self, number: int, first: int, last: int, comm: Comm) -> Sample:
        """Atoms `first` … `last` − 1 of a chosen frame."""
        frame: StoredFrame = self._source[self._chosen[number]]
        part = frame if (first, last) == (0, self._source.n_atoms) else frame.atoms(first, last)
        position = part.unwrapped if self._unwrapped else part.position
        return Sample(
            number=number, step=frame.step, time=frame.time, cell=frame.cell, species_table=self._table,
            n_total=self._source.n_atoms, comm=comm, ids=np.arange(first, last), species=self._species[first:last],
            position=np.asarray(position, dtype=np.float64),
            velocity=np.asarray(part.velocity, dtype=np.float64) if self._with_velocity else None,
        )


class Unwrapper:
    """Unwraps positions of successive samples: each atom went to the nearest image of where it was."""

    def __init__(self) -> None:
        """Before the first sample."""
        self._before: NDArray[np.float64] | None = None  # (n, 3) fractional, unwrapped
        self._farthest = 0.0

    def __call__(self, sample: Sample) -> Sample:
        """The sample with unwrapped positions; samples come in order.

        Raises:
            PhysicsError: an atom is so many cells away that it has no place in one.
        """
        cell = sample.cell
        fraction = fractions(sample.position, cell)
        beyond = ~(np.abs(fraction) < FARTHEST).all(axis=1)
        if beyond.any():
            where = sample.position[np.argmax(beyond)].tolist()
            raise PhysicsError(f"an atom at {where} Å is more than {FARTHEST} cells away at step {sample.step}")
        if self._before is not None:
            moved = fraction - self._before
            moved -= np.where(cell.periodic, np.rint(moved), 0.0)
            self._farthest = max(self._farthest, float(np.abs(moved[:, cell.periodic]).max(initial=0.0)))
            fraction = self._before + moved
        self._before = fraction
        return replace(sample, position=cell.origin + multiplied(fraction, cell.matrix))

    def notes(self, comm: Comm) -> list[str]:
        """Sentences about what was assumed (collective)."""
        farthest = comm.max(self._farthest)
        notes = ["The file holds no images: each atom is taken to have moved to the nearest one between two frames."]
        if farthest > LONGEST_JUMP:
            notes.append(
                f"Warning: an atom moved {farthest:.2f} of a cell between two frames, where half a cell is ambiguous: "
                "displacements are probably wrong. Store more frames, or images."
            )
        return notes


class _Progress:
    """Lines about the frames done and the time that is left."""

    def __init__(self, total: int, say: Callable[[str], None]) -> None:
        self._total, self._say = total, say
        self._began = self._said = time.monotonic()

    def made(self, count: int) -> None:
        """Says how far it is, when it is time."""
        now = time.monotonic()
        if now - self._said >= PROGRESS_SECONDS and count < self._total:
            self._said = now
            left = (now - self._began) / count * (self._total - count)
            self._say(f"frame {count}/{self._total}, {duration(left)} left")
