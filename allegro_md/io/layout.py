"""HDF5 files that one rank lays out and all ranks fill.

HDF5 is asked to reserve the space of every dataset and then closes the file; each rank writes its rows at the known
offsets with plain system calls. So no parallel HDF5 is needed, the slow part can run on a thread, and no rank holds
another's data.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from allegro_md.io.disk import pwrite_all

LARGEST_CHUNK = 2**31
"""Bytes; HDF5 allows less than 2³²."""


@dataclass(frozen=True)
class Column:
    """One dataset of a file.

    Attributes:
        name: of the dataset.
        shape: of a row.
        dtype: numpy name of the element type.
        unit: written as attribute; "" for none.
        per_atom: a frame holds a row per atom, otherwise one row.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    unit: str = ""
    per_atom: bool = True

    @property
    def row_bytes(self) -> int:
        """Bytes of one row."""
        return int(np.dtype(self.dtype).itemsize * np.prod(self.shape, dtype=np.int64))


@dataclass(frozen=True)
class Placement:
    """Position in the file of the rows of one dataset (frames, rows, …).

    Attributes:
        offsets: (frame chunks, row chunks) bytes from the start of the file.
        frames: per chunk.
        rows: per chunk.
        row_bytes: bytes of one row.
    """

    offsets: NDArray[np.int64]
    frames: int
    rows: int
    row_bytes: int

    @staticmethod
    def of(stored: dict[str, Any]) -> Placement:
        """From what `stored` gave."""
        return Placement(np.array(stored["offsets"], dtype=np.int64), stored["frames"], stored["rows"], stored["bytes"])

    @property
    def stored(self) -> dict[str, Any]:
        """As JSON-like values."""
        return {"offsets": self.offsets.tolist(), "frames": self.frames, "rows": self.rows, "bytes": self.row_bytes}

    def pieces(self, frame: int, start: int, stop: int) -> Iterator[tuple[int, int, int]]:
        """Contiguous parts of rows start … stop of a frame: file offset, first row, row after the last."""
        chunk, within = divmod(frame, self.frames)
        while start < stop:
            column, skipped = divmod(start, self.rows)
            end = min(stop, (column + 1) * self.rows)
            yield int(self.offsets[chunk, column]) + (within * self.rows + skipped) * self.row_bytes, start, end
            start = end

    def write(self, fd: int, frame: int, start: int, rows: NDArray[Any]) -> None:
        """Writes `rows` (n, …), in the dtype of the file, as the rows of one frame from `start` on."""
        for offset, first, last in self.pieces(frame, start, start + len(rows)):
            pwrite_all(fd, rows[first - start : last - start], offset)


def lay_out(path: Path, columns: Sequence[Column], n_atoms: int, frames: int, per_chunk: int) -> None:
    """Creates a file with a dataset (frames, n_atoms, …) per column — (frames, …) unless per atom —, space reserved.

    Args:
        path: the file, replaced when it exists.
        columns: its datasets.
        n_atoms: rows per frame.
        frames: how many there is room for.
        per_chunk: frames stored together.
    """
    with h5py.File(path, "w") as file:
        for column in columns:
            _create(file, column, n_atoms, frames, per_chunk)
        # In lockstep, so that frames of all datasets lie together and `shorten` gives the end of the file back.
        for end in range(per_chunk, frames + per_chunk, per_chunk):
            for column in columns:
                file[column.name].resize(min(end, frames), axis=0)


def shorten(path: Path, columns: Sequence[Column], frames: int, per_chunk: int) -> None:
    """Gives up the room behind the first `frames` frames of a file made with `lay_out`."""
    with h5py.File(path, "r+") as file:
        there = int(file[columns[0].name].shape[0])
        for end in range((there - 1) // per_chunk * per_chunk, frames, -per_chunk):
            for column in reversed(columns):
                file[column.name].resize(end, axis=0)
        for column in reversed(columns):
            file[column.name].resize(frames, axis=0)


def _create(file: h5py.File, column: Column, n_atoms: int, frames: int, per_chunk: int) -> None:
    """An empty dataset that reserves space, without writing it, when it grows."""
    n = n_atoms if column.per_atom else 1
    rows = min(n, max(1, LARGEST_CHUNK // column.row_bytes))
    together = min(per_chunk, frames, max(1, LARGEST_CHUNK // (rows * column.row_bytes)))
    atoms, chunk_rows = ((n,), (rows,)) if column.per_atom else ((), ())
    plan = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plan.set_chunk((together, *chunk_rows, *column.shape))
    plan.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    plan.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    kind = h5py.h5t.py_create(np.dtype(column.dtype), logical=True)
    space = h5py.h5s.create_simple((0, *atoms, *column.shape), (frames, *atoms, *column.shape))
    dataset = h5py.Dataset(h5py.h5d.create(file.id, column.name.encode(), kind, space, dcpl=plan))
    if column.unit:
        dataset.attrs["unit"] = column.unit


def placements(path: Path, columns: Sequence[Column]) -> dict[str, Placement]:
    """Finds the positions of the rows in a file made with `lay_out`."""
    found = {}
    with h5py.File(path, "r") as file:
        for column in columns:
            dataset = file[column.name]
            chunk = dataset.chunks
            rows = chunk[1] if column.per_atom else 1
            shape = (-(-dataset.shape[0] // chunk[0]), -(-dataset.shape[1] // rows) if column.per_atom else 1)
            offsets = np.full(shape, -1, dtype=np.int64)
            for index in range(dataset.id.get_num_chunks()):
                info = dataset.id.get_chunk_info(index)
                at = info.chunk_offset
                offsets[at[0] // chunk[0], at[1] // rows if column.per_atom else 0] = info.byte_offset
            found[column.name] = Placement(offsets, chunk[0], rows, column.row_bytes)
    return found
