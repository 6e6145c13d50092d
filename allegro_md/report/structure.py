"""A frame of a run for the three-dimensional view: its last one, or a part of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from allegro_md.cell import Cell
from allegro_md.comm import Comm
from allegro_md.errors import InputError
from allegro_md.io.checkpoint import checkpoint_steps, latest_checkpoint
from allegro_md.io.frame_index import NAME as TRAJECTORY
from allegro_md.io.trajectory import Frame, read_trajectory
from allegro_md.io.wrapping import wrap
from allegro_md.report.numbers import duration, integer, number

MOST_ATOMS = 5_000
"""Shown; of larger systems the atoms within a box are."""

CHUNK = 1_000_000
"""Atoms that are read at a time."""

SAMPLE = 100_000
"""Atoms, evenly spaced among the ids, from which the box is found."""

MOST_OF_CHECKPOINT = 20_000_000
"""Atoms of a checkpoint, which is read as a whole."""

Array = NDArray[np.float64]
Positions = Callable[[int, int], Array]
"""First id and the one after the last → (n, 3) Å, wrapped."""


@dataclass(frozen=True)
class Structure:
    """Atoms to be shown.

    Attributes:
        position: (n, 3) float64, Å, wrapped along the periodic axes.
        number: (n,) int64, atomic numbers.
        cell: the whole system's.
        is_whole: False if there are more atoms than these.
        caption: which frame it is, and which part of it; sentences.
    """

    position: Array
    number: NDArray[np.int64]
    cell: Cell
    is_whole: bool
    caption: str


def read_structure(directory: Path, timestep: float) -> tuple[Structure | None, str]:
    """Reads the last frame of the trajectory, or the newest checkpoint if there is no frame with positions.

    Args:
        directory: of the run.
        timestep: fs.

    Returns:
        The atoms, or None and a sentence that says why there are none.
    """
    reasons = []
    if (directory / TRAJECTORY).is_file():
        try:
            with read_trajectory(directory / TRAJECTORY) as trajectory:
                if trajectory.n_frames:
                    return _of_frame(trajectory[-1], trajectory.species), ""
        except InputError as error:
            reasons.append(str(error))
    if checkpoint_steps(directory):
        try:
            return _of_checkpoint(directory, timestep), ""
        except InputError as error:
            reasons.append(str(error))
    return None, "; ".join(reasons) or "there is neither a frame of a trajectory nor a checkpoint yet"


def _of_frame(frame: Frame, species: NDArray[np.int32]) -> Structure:
    """The last frame of a trajectory; `species` (n_atoms,) atomic numbers."""

    def positions(first: int, last: int) -> Array:
        return frame.atoms(first, last).position.astype(np.float64)

    title = f"Last frame of the trajectory: step {integer(frame.step)}, {duration(frame.time)}."
    return _part(positions, species.astype(np.int64), frame.cell, title)


def _of_checkpoint(directory: Path, timestep: float) -> Structure:
    """The newest checkpoint.

    Raises:
        InputError: it is damaged, or too large.
    """
    found = latest_checkpoint(directory, Comm.serial())
    if found is None:  # removed in between
        raise InputError("the checkpoint has just been replaced", str(directory), "try again")
    if found.n_total > MOST_OF_CHECKPOINT:
        raise InputError(f"the checkpoint holds {found.n_total} atoms, too many to be shown", str(found.path))
    wrapped, _ = wrap(found.slab["position"], found.cell, np.float64)
    elements = found.species_table.numbers[found.slab["species"]]
    title = f"Checkpoint of step {integer(found.step)}, {duration(found.step * timestep)}."
    return _part(lambda first, last: wrapped[first:last], elements.astype(np.int64), found.cell, title)


def _part(positions: Positions, elements: NDArray[np.int64], cell: Cell, title: str) -> Structure:
    """All atoms, or those of a box about the middle of larger systems; `elements` (n_atoms,)."""
    n = len(elements)
    if n <= MOST_ATOMS:
        return Structure(positions(0, n), elements, cell, True, f"{title} All {integer(n)} atoms.")
    middle, half = _box(positions, n)
    ids, kept = [], []
    for first, block in _chunks(positions, n):
        rows = np.flatnonzero((np.abs(block - middle) <= half).all(axis=1))
        ids.append(rows + first)
        kept.append(block[rows])
    chosen, position = np.concatenate(ids), np.concatenate(kept)
    nearest = np.sort(np.argsort(np.abs(position - middle).max(axis=1), kind="stable")[:MOST_ATOMS])
    shown = f"{integer(len(nearest))} of {integer(n)} atoms: those within a cube of {number(2.0 * half, 3)} Å"
    caption = f"{title} {shown} about the middle."
    return Structure(position[nearest], elements[chosen[nearest]], cell, False, caption)


def _box(positions: Positions, n: int) -> tuple[Array, float]:
    """The middle (3,) and half the width of a cube that holds about `MOST_ATOMS` of `n` atoms, Å."""
    stride = n // SAMPLE + 1
    sample = np.concatenate([block[(-first) % stride :: stride] for first, block in _chunks(positions, n)])
    middle = np.median(sample, axis=0)
    away = np.sort(np.abs(sample - middle).max(axis=1))
    return middle, float(away[min(len(away) - 1, max(2, int(0.97 * MOST_ATOMS / stride)))])


def _chunks(positions: Positions, n: int) -> Iterator[tuple[int, Array]]:
    """Yields first ids and positions (≤ `CHUNK`, 3)."""
    for first in range(0, n, CHUNK):
        yield first, positions(first, min(n, first + CHUNK))
