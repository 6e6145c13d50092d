"""Writes H5MD in one file, laid out as the index of a run's trajectory, for `read_trajectory` and MDAnalysis."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from allegro_md.cell import Cell
from allegro_md.io.convert.outline import Format, Outline
from allegro_md.io.disk import disk_errors
from allegro_md.io.frame_index import FIXED, Box, FrameIndex, describe_file, describe_frames, without_force
from allegro_md.io.frames import StoredFrame
from allegro_md.io.h5md import UNITS
from allegro_md.io.layout import LARGEST_CHUNK
from allegro_md.io.wrapping import wrap

CHUNK_BYTES = 2**19
"""Bytes of small frames that are stored together; HDF5 keeps 1 MiB of a dataset in memory."""


class H5mdWriter:
    """H5MD: every frame goes to the disk at once; steps, times and cells follow at the end."""

    def __init__(self, path: Path, outline: Outline) -> None:
        """Begins the file `path`."""
        self._path, self._outline = path, outline
        self._edges: list[NDArray[np.float64]] = []
        with disk_errors(path):
            self._file = h5py.File(path, "w")
            describe_file(self._file)
            self._atoms = self._file.create_group("particles/all")
            source = outline.source
            fixed: dict[str, NDArray[Any]] = {
                "species": source.species, "id": np.arange(source.n_atoms), "mass": outline.masses,
            }  # fmt: skip
            for column in FIXED:
                self._atoms.create_dataset(column.name, data=fixed[column.name].astype(column.dtype))
                if column.unit:
                    self._atoms[column.name].attrs["unit"] = column.unit

    def write(self, frame: StoredFrame) -> None:
        """Adds a frame."""
        values = self._values(frame)
        if not self._edges:
            self._box = Box(frame.cell.periodic, frame.cell.bounded)
            for name in (name for name in UNITS if name in values):  # in the order of a run's file
                self._create(name, values[name])
        with disk_errors(self._path):
            for name, rows in values.items():
                dataset = self._atoms[f"{name}/value"]
                dataset.resize(len(self._edges) + 1, axis=0)
                dataset[-1] = rows
        self._edges.append(frame.cell.given_rows)

    def close(self, whole: bool) -> None:
        """Adds steps, times and cells, where all frames have been written."""
        with disk_errors(self._path):
            try:
                if whole:
                    self._describe()
            finally:
                self._file.close()

    def _values(self, frame: StoredFrame) -> dict[str, NDArray[Any]]:
        """The vectors (n, 3) of a frame to the bit; wrapped again where the box has its corner elsewhere than at 0."""
        values = {name: getattr(frame, name) for name in self._outline.source.fields}
        if frame.cell.origin.any() and "image" in values:
            cell = Cell(frame.cell.matrix, frame.cell.periodic, absent=frame.cell.absent)
            values["position"], values["image"] = wrap(frame.unwrapped, cell, values["position"].dtype)
        return values

    def _create(self, name: str, rows: NDArray[Any]) -> None:
        """An empty dataset for vectors like `rows` (n, 3), several small ones or a part of a large one to a chunk."""
        row = rows.itemsize * rows.shape[1]
        atoms = max(1, min(len(rows), LARGEST_CHUNK // row))
        together = max(1, min(len(self._outline.frames), CHUNK_BYTES // (row * atoms)))
        with disk_errors(self._path):
            dataset = self._atoms.create_dataset(
                f"{name}/value", (0, *rows.shape), rows.dtype, maxshape=(None, *rows.shape), chunks=(together, atoms, 3)
            )
            dataset.attrs["unit"] = UNITS[name]

    def _describe(self) -> None:
        outline = self._outline
        history = FrameIndex([len(self._edges)])
        history.values |= {"step": outline.steps, "time": outline.times, "edges": np.array(self._edges)}
        describe_frames(self._atoms, history, self._box)
        if "force" in self._atoms:
            without_force(self._file["particles"])


FORMAT = Format(
    "H5MD", (".h5", ".h5md", ".hdf5"),
    frozenset({"position", "image", "velocity", "force", "mass", "step", "time"}), True, H5mdWriter,
)
