"""The pieces of a trajectory: files that fill frame by frame, and never change once they have their final name."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from allegro_md.comm import Comm
from allegro_md.io.disk import disk_errors, finish, sync, unfinished
from allegro_md.io.id_partition import IdPartition
from allegro_md.io.layout import Column, Placement, lay_out, placements, shorten

FOLDER = "trajectory"
CHUNKS = 16
"""Parts in which a segment reserves space; the unused part of a short one is freed in these."""

SEGMENT_BYTES = 64 * 2**20
"""Room per rank in one of the first segments."""

FIRST_FRAMES = 16
"""Largest number of frames in the first segment; the next ones may hold twice as many each."""

DOUBLING = 32
"""After so many segments their size and the time between them double: a reader that opens all of them at once (as
HDF5 does when it reads a whole virtual dataset) stays below the usual limit of 1,024 open files."""


def segment_path(folder: Path, index: int) -> Path:
    """Name of a complete segment."""
    return folder / f"segment-{index:06d}.h5"


def capacity(index: int, frame_bytes: int, ranks: int) -> int:
    """Frames for which a segment reserves room.

    Args:
        index: how many segments there are before it.
        frame_bytes: of one frame, all ranks together.
        ranks: how many write.
    """
    room = SEGMENT_BYTES * ranks * 2.0 ** (index / DOUBLING)
    return max(1, min(FIRST_FRAMES << min(index, 40), int(room) // frame_bytes))


class Segment:
    """A segment being filled by all ranks.

    Attributes:
        index: its number.
        capacity: frames it has room for.
        count: frames handed to it.
        written: frames this rank has written (set by the writing thread).
        sealed: this rank's part is complete and on the disk (set by the writing thread).
        where: positions of its rows in the file.
    """

    def __init__(
        self, folder: Path, index: int, columns: Sequence[Column], slabs: IdPartition, frames: int, comm: Comm
    ) -> None:
        """Reserves the space; collective."""
        self.index, self.capacity = index, frames
        self.count = self.written = 0
        self.sealed = False
        self._path = segment_path(folder, index)
        self._root = comm.rank == 0
        where: Any = None
        with comm.collective_errors():
            if self._root:
                with disk_errors(self._path):
                    lay_out(unfinished(self._path), columns, slabs.n_total, frames, _per_chunk(frames))
                    where = placements(unfinished(self._path), columns)
        self.where = comm.bcast(where)
        with comm.collective_errors(), disk_errors(self._path):
            self._fd = os.open(unfinished(self._path), os.O_WRONLY)

    @property
    def full(self) -> bool:
        """No room for another frame."""
        return self.count == self.capacity

    def write_atoms(self, frame: int, first: int, rows: dict[str, NDArray[Any]]) -> None:
        """Writes atoms of one frame, those of consecutive ids from `first` on."""
        with disk_errors(self._path):
            for name, values in rows.items():
                self.where[name].write(self._fd, frame, first, values)

    def end_frame(self, frame: int, rows: dict[str, NDArray[Any]]) -> None:
        """Writes, on rank 0, what is not per atom; this rank's part of the frame is complete."""
        with disk_errors(self._path):
            for name, values in rows.items() if self._root else ():
                self.where[name].write(self._fd, frame, 0, values)
        self.written = frame + 1

    def sync(self) -> None:
        """Returns when all that was written is on the disk."""
        with disk_errors(self._path):
            os.fsync(self._fd)

    def seal(self) -> None:
        """This rank adds nothing more."""
        self.sync()
        os.close(self._fd)
        self.sealed = True


def complete(folder: Path, index: int, columns: Sequence[Column], frames: int) -> None:
    """Cuts an unfinished segment to its frames and gives it its name; on one rank, after all ranks have sealed it."""
    path = segment_path(folder, index)
    with disk_errors(path):
        per_chunk = next(iter(placements(unfinished(path), columns).values())).frames
        shorten(unfinished(path), columns, frames, per_chunk)
        finish(path)


def recover(
    folder: Path, index: int, columns: Sequence[Column], where: Mapping[str, Placement], n_atoms: int, frames: int
) -> None:
    """Completes a segment that a killed run left unfinished, on one rank.

    Args:
        folder: of the segments.
        index: of the segment.
        columns: its datasets.
        where: positions of their rows when the segment was created.
        n_atoms: rows per frame.
        frames: how many were on the disk at the last checkpoint; what follows is dropped.
    """
    path = segment_path(folder, index)
    if _intact(unfinished(path), columns, where):
        complete(folder, index, columns, frames)
        return
    # Killed while HDF5 was cutting it: its rows are where they always were, its tables may be torn.
    copy = path.with_name(path.name + ".copy")
    with disk_errors(path):
        lay_out(copy, columns, n_atoms, frames, _per_chunk(frames))
        places = placements(copy, columns)
        with open(unfinished(path), "rb", buffering=0) as old, open(copy, "r+b", buffering=0) as new:
            for column in columns:
                n = n_atoms if column.per_atom else 1
                for frame in range(frames):
                    for offset, first, last in where[column.name].pieces(frame, 0, n):
                        rows = os.pread(old.fileno(), (last - first) * column.row_bytes, offset)
                        raw = np.frombuffer(rows, dtype=np.uint8).reshape(last - first, column.row_bytes)
                        places[column.name].write(new.fileno(), frame, first, raw)
        sync(copy)
        os.replace(copy, path)
        unfinished(path).unlink()
        sync(folder)


def _intact(path: Path, columns: Sequence[Column], where: Mapping[str, Placement]) -> bool:
    """Tells if HDF5 still finds the rows at the positions they had when the file was created."""
    try:
        found = placements(path, columns)
    except (OSError, KeyError, RuntimeError, ValueError, TypeError):
        return False
    return all(np.array_equal(found[c.name].offsets, where[c.name].offsets) for c in columns)


def _per_chunk(frames: int) -> int:
    return max(1, frames // CHUNKS)
