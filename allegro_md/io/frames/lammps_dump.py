"""Trajectories that LAMMPS dumps as text, read as the structure files are; atoms in the order of their ids."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from allegro_md.cell import Cell
from allegro_md.errors import InputError
from allegro_md.io.frames.loaded import About, Loaded, LoadedFrames, chosen_times, whole_images
from allegro_md.io.frames.options import FrameOptions, frames_before
from allegro_md.io.frames.text import Entry, Index, Scanner, lines_of, open_plain
from allegro_md.io.structure.contents import ReadOptions
from allegro_md.io.structure.frames import CutShort
from allegro_md.io.structure.lammps_dump import (
    UNWRAPPED,
    WRAPPED,
    dump_frames,
    ids_of,
    looks_like,
    parse,
    positions,
    unused_columns,
    vectors,
)
from allegro_md.io.structure.lammps_units import LammpsUnits, choose_units

_FORCES, _IMAGES = ("fx", "fy", "fz"), ("ix", "iy", "iz")


def recognizes(_: Path, head: bytes) -> bool:
    """Tells if a file is a dump by its first lines."""
    return looks_like(head.decode(errors="replace").splitlines())


def open_dump(path: Path, options: FrameOptions) -> LoadedFrames:
    """Opens a dump file: one pass over it finds the frames.

    Raises:
        InputError: no frames, a frame that is cut, or of other atoms than the first; elements that are not known.
    """
    where, file = str(path), open_plain(path)
    try:
        index, stated = _scan(file, options.stop, where)
        index.require_usable(path)
        reader = _Reader(file, ReadOptions(types=options.types, units=stated or options.units), where)
        units = choose_units(stated, options.units, where)
        first = reader.read(index.entries[0], 0)
    except Exception:
        file.close()
        raise
    times = chosen_times(index.times() * units.time, options, reader.remarks)
    about = About(path, index.steps(), times, reader.masses, tuple(reader.remarks))
    return LoadedFrames(about, lambda k: first if k == 0 else reader.read(index.entries[k], k), file.close)


def _scan(file: IO[bytes], stop: int | None, where: str) -> tuple[Index, str | None]:
    """Finds the frames, and the units that the file states."""
    index, units, scanner = Index(), None, Scanner(file)
    entry: Entry | None = None
    while stop is None or len(index.entries) < stop:
        start, number = scanner.offset, scanner.line
        line = next(scanner, None)
        if line is None:
            break
        if not line.startswith(b"ITEM:"):
            continue
        entry = entry or Entry(start, number)
        name = line[5:].strip()
        if name.startswith(b"ATOMS"):
            there = scanner.skip(entry.n_atoms)
            if there < entry.n_atoms or not scanner.ended:
                index.cut = f"{there} of {entry.n_atoms} atoms" if scanner.ended else "its last line has no end"
                break
            entry.size = scanner.offset - entry.offset
            index.entries.append(entry)
            entry = None
            continue
        if name.startswith(b"BOX BOUNDS"):
            continue
        value = next(scanner, b"").strip()
        try:
            _take(entry, name, value)
        except ValueError:
            raise InputError(f"line {number + 1}: no number: {value.decode(errors='replace')[:40]!r}", where,
                             "correct the file") from None
        if name == b"UNITS":
            units = value.decode(errors="replace")
    if entry is not None and not index.cut:
        index.cut = "it ends before its atoms"
    return index, units


def _take(entry: Entry, name: bytes, value: bytes) -> None:
    """Puts the value of an item into the entry of its frame."""
    if name == b"TIMESTEP":
        entry.step = int(value)
    elif name == b"TIME":
        entry.time = float(value)
    elif name == b"NUMBER OF ATOMS":
        entry.n_atoms = int(value)


class _Reader:
    """Reads frames, whose ids must be those of the first.

    Attributes:
        masses: (n,) amu, of the first frame.
        remarks: about how it was read.
    """

    def __init__(self, file: IO[bytes], options: ReadOptions, where: str) -> None:
        self._file, self._options, self._where = file, options, where
        self._ids: NDArray[np.int64] = np.zeros(0, dtype=np.int64)  # of the first frame
        self.masses: NDArray[np.float64] = np.zeros(0)
        self.remarks: list[str] = []

    def read(self, entry: Entry, number: int) -> Loaded:
        """The frame of an entry."""
        lines = lines_of(self._file, entry, self._where)
        try:
            (text,) = dump_frames(enumerate(lines, entry.line))
        except CutShort as cut:
            remedy = f"read the frames before it: {frames_before(number)}"
            raise InputError(f"frame {number} is cut short: {cut}", self._where, remedy) from None
        contents, table, origin = parse(text, self._options, self._where)
        units = choose_units(text.units, self._options.units, self._where)
        cell = self._cell(contents.rows, contents.periodic, origin, text.items["BOX BOUNDS"][0][-3:])
        found = _vectors(table, units, self._where)
        if contents.velocity is not None:
            found["velocity"] = contents.velocity
        species = contents.numbers.astype(np.int32)
        self._require_ids(table, number)
        if number == 0:
            self.masses = contents.masses
            self.remarks = [*contents.remarks, *unused_columns(table, contents, (*_FORCES, *_IMAGES))]
            self.remarks += ["masses are the standard ones of the elements"] if "mass" not in table else []
        if not any(set(names) <= set(table) for names in UNWRAPPED):
            return Loaded(cell, species, {**found, "position": contents.position})
        rows, corner = contents.rows / units.length, origin / units.length
        free = positions(table, rows, corner, self._where, UNWRAPPED) * units.length
        if "image" in found and any(set(names) <= set(table) for names in WRAPPED):
            return Loaded(cell, species, {**found, "position": contents.position}, free)
        return Loaded.of_unwrapped(cell, species, found, free)

    def _cell(
        self, rows: NDArray[np.float64], periodic: tuple[bool, bool, bool], origin: NDArray[np.float64],
        boundary: list[str],
    ) -> Cell:
        """The cell of `rows` (3, 3) Å and `origin` (3,) Å; a box shrunk to the atoms gives no vector of its own."""
        shrunk = np.array([word[0] in "sm" for word in boundary]) if len(boundary) == 3 else np.zeros(3, dtype=bool)
        if np.array_equal(rows, np.diag(np.diag(rows))):
            rows, origin = np.where(shrunk[:, None], 0.0, rows), np.where(shrunk, 0.0, origin)
        cell = Cell.from_rows(rows, periodic, self._where)
        return Cell(cell.matrix, cell.periodic, origin, cell.absent)

    def _require_ids(self, table: Mapping[str, NDArray[np.str_]], number: int) -> None:
        """Raises InputError where an id occurs twice, or is not in the first frame."""
        if "id" not in table:
            if number == 0:
                raise InputError(
                    "has no column id: LAMMPS changes the order of the atoms from frame to frame", self._where,
                    "write it with the column id",
                )
            return
        ids = ids_of(table, self._where)
        if number == 0:
            self._ids = ids
            if len(np.unique(ids)) != len(ids):
                raise InputError("has two atoms with the same id", self._where, "correct the file")
        elif not np.array_equal(ids, self._ids):
            raise InputError(
                f"frame {number} has other atoms (ids) than the first", self._where,
                f"write the same group of atoms, or read the frames before it: {frames_before(number)}",
            )


def _vectors(
    table: dict[str, NDArray[np.str_]], units: LammpsUnits, where: str
) -> dict[str, NDArray[np.float64] | NDArray[np.int32]]:
    """Forces (n, 3) in eV/Å and images (n, 3) of the columns, where they are there."""
    found: dict[str, NDArray[np.float64] | NDArray[np.int32]] = {}
    if set(_FORCES) <= set(table):
        found["force"] = vectors(table, _FORCES, where) * units.force
    if set(_IMAGES) <= set(table):
        found["image"] = whole_images(vectors(table, _IMAGES, where), where)
    return found
