"""Labeled configurations in HDF5, read when they are asked for: for sets larger than the memory.

A file holds, for F frames with A atoms in all, in eV, Å, eV/Å and eV/Å³:

    offset    (F + 1,) int64    atoms of frame f are offset[f] to offset[f + 1] of the arrays per atom
    number    (A,) int16        atomic numbers
    position  (A, 3) float64
    forces    (A, 3) float64
    cell      (F, 3, 3)         rows
    periodic  (F, 3) bool
    energy    (F,) float64
    stress    (F, 3, 3)         positive in tension
    given     (F, 3) bool       whether the frame has an energy, forces, a stress
    kind      (F,) text         ``config_type``

and the attributes ``format`` and ``version``.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from allegro_md.errors import InputError
from allegro_md.io.disk import whole
from allegro_md.io.label_notes import Notes
from allegro_md.io.labeled_frame import Array, Frame, FramesOnDisk
from allegro_md.io.labels import usable

FORMAT, VERSION = "allegro-md frames", 1

BLOCK = 256
"""Frames read in one go by who walks through a file in order."""

_SHAPES = {
    "offset": ("F+1",), "number": ("A",), "position": ("A", 3), "forces": ("A", 3), "cell": ("F", 3, 3),
    "periodic": ("F", 3), "energy": ("F",), "stress": ("F", 3, 3), "given": ("F", 3), "kind": ("F",),
}


def write_hdf5(frames: Sequence[Frame], path: Path) -> None:
    """Writes frames, one at a time, to a new file, which appears when it is whole.

    Raises:
        InputError: the file exists.
        ResourceError: the disk is full.
    """
    if path.exists():
        raise InputError("exists", str(path), "remove it, or choose another name")
    offset = np.zeros(len(frames) + 1, dtype=np.int64)
    for index, frame in enumerate(frames):
        offset[index + 1] = offset[index] + len(frame.numbers)
    sizes = {"F": len(frames), "F+1": len(frames) + 1, "A": int(offset[-1])}
    types = {"number": "i2", "periodic": "?", "given": "?", "offset": "i8", "kind": h5py.string_dtype()}
    with whole(path) as part, h5py.File(part, "w") as file:
        file.attrs["format"], file.attrs["version"] = FORMAT, VERSION
        for name, shape in _SHAPES.items():
            extent = tuple(sizes[size] if isinstance(size, str) else size for size in shape)
            file.create_dataset(name, extent, types.get(name, "f8"))
        file["offset"][:] = offset
        for index, frame in enumerate(frames):
            _write(file, index, slice(offset[index], offset[index + 1]), frame)


def _write(file: h5py.File, index: int, atoms: slice, frame: Frame) -> None:
    file["number"][atoms] = frame.numbers
    file["position"][atoms] = frame.position
    file["cell"][index], file["periodic"][index], file["kind"][index] = frame.cell, frame.periodic, frame.kind
    file["given"][index] = [label is not None for label in (frame.energy, frame.forces, frame.stress)]
    if frame.energy is not None:
        file["energy"][index] = frame.energy
    if frame.forces is not None:
        file["forces"][atoms] = frame.forces
    if frame.stress is not None:
        file["stress"][index] = frame.stress


class FramesOfFile(FramesOnDisk):
    """The frames of a file."""

    def __init__(self, path: Path, notes: Notes) -> None:
        """Opens the file.

        Raises:
            InputError: not such a file.
        """
        self._path, self._notes = path, notes
        try:
            self._file = h5py.File(path, "r")
            known = self._file.attrs.get("format") == FORMAT and self._file.attrs.get("version") == VERSION
        except OSError as error:
            reason = (str(error).splitlines() or [""])[0]
            raise InputError(f"is not a readable HDF5 file ({reason})", str(path), "copy it again") from None
        if not known or any(name not in self._file for name in _SHAPES):
            remedy = "write it with allegro_md.io.labeled.write_hdf5"
            raise InputError("is not an HDF5 file of labeled configurations", str(path), remedy)
        self._offset = self._file["offset"][:]
        self._block: dict[str, NDArray[Any]] = {}
        self._start = self._next = self._end = 0
        if not len(self):
            raise InputError("holds no frames", str(path), "give a file with labeled configurations")

    def __len__(self) -> int:
        return len(self._offset) - 1

    def entries(self) -> list[str]:
        """The labels of the first frame."""
        return [name for name in ("energy", "forces", "stress") if getattr(self[0], name) is not None]

    def _read(self, index: int) -> Frame:
        if not self._start <= index < self._end:
            self._load(index, min(index + BLOCK, len(self)) if index == self._next else index + 1)
        self._next = index + 1
        return self._frame(index)

    def _load(self, start: int, end: int) -> None:
        """Reads some frames that follow each other."""
        self._start, self._end = start, end
        per_atom, per_frame = slice(self._offset[start], self._offset[end]), slice(start, end)
        for name, shape in _SHAPES.items():
            if name == "kind":
                self._block[name] = self._file[name].asstr()[per_frame]
            elif name != "offset":
                self._block[name] = self._file[name][per_atom if shape[0] == "A" else per_frame]

    def _frame(self, index: int) -> Frame:
        """One of the frames that have been read; copies, so that the others need not stay in memory."""
        block, k = self._block, index - self._start
        atoms = slice(*(self._offset[index : index + 2] - self._offset[self._start]))
        energy, forces, stress = block["given"][k]
        flags = block["periodic"][k]
        source = f"{self._path.name}, frame {index}"

        def label(name: str, value: Array) -> Array | None:
            """Returns one label; value: (1,), (n, 3) or (6,) float64, in the units of the file."""
            return usable(name, value.copy(), source, self._notes)

        value = label("energy", block["energy"][k]) if energy else None
        return Frame(
            numbers=block["number"][atoms].astype(np.int64),
            position=block["position"][atoms].copy(),
            cell=block["cell"][k].copy(),
            periodic=(bool(flags[0]), bool(flags[1]), bool(flags[2])),
            energy=None if value is None else float(value),
            forces=label("forces", block["forces"][atoms]) if forces else None,
            stress=label("stress", block["stress"][k]) if stress else None,
            kind=block["kind"][k],
            source=source,
        )
