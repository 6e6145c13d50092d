"""Trajectories in XYZ and extended XYZ, read as the structure files are."""

from __future__ import annotations

import re
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from allegro_md.cell import Cell
from allegro_md.errors import InputError
from allegro_md.io.frames.loaded import About, Loaded, LoadedFrames, chosen_times, whole_images
from allegro_md.io.frames.options import FrameOptions
from allegro_md.io.frames.text import Entry, Index, Scanner, lines_of, open_plain
from allegro_md.io.structure.contents import ReadOptions, left_out
from allegro_md.io.structure.extxyz import TextFrame, parse, reals, unused_columns

_STEP = re.compile(rb'(?:^|\s)(?:step|timestep)="?(-?\d+)"?(?:\s|$)', re.IGNORECASE)
_TIME = re.compile(rb'(?:^|\s)(time_fs|time)="?([-+\d.eE]+)"?(?:\s|$)', re.IGNORECASE)

_FORCES = ("forces", "force")
_USED = {*_FORCES, "image"}
_KEYS = {"step", "timestep", "time", "time_fs"}


def recognizes(path: Path, head: bytes) -> bool:
    """Tells if a file is (extended) XYZ by its name, or by its first line with a number and its second with columns."""
    lines = head.split(b"\n")
    columns = len(lines) > 1 and lines[0].strip().isdigit() and re.search(rb"(?i)properties\s*=", lines[1]) is not None
    return columns or Path(path.name.removesuffix(".gz")).suffix.lower() in (".xyz", ".extxyz")


def open_extxyz(path: Path, options: FrameOptions) -> LoadedFrames:
    """Opens an extended XYZ file: one pass over it finds the frames.

    Raises:
        InputError: no frames, a frame that is cut, or of other atoms than the first.
    """
    where, file = str(path), open_plain(path)
    try:
        index, unit = _scan(file, options.stop, where)
        index.require_usable(path)
        reading = ReadOptions(types=options.types, velocity_unit=options.velocity_unit)
        first, masses, remarks = _load(file, index.entries[0], reading, where)
    except Exception:
        file.close()
        raise
    times = chosen_times(index.times(), options, remarks)
    if unit == b"time" and options.timestep is None:
        remarks.append("times taken in fs from the key time, which does not say its unit; timestep says otherwise")
    about = About(path, index.steps(), times, masses, tuple(remarks))

    def read(number: int) -> Loaded:
        return first if number == 0 else _load(file, index.entries[number], reading, where)[0]

    return LoadedFrames(about, read, file.close)


def _scan(file: IO[bytes], stop: int | None, where: str) -> tuple[Index, bytes]:
    """Finds the frames, and the key that gives their times, in small letters."""
    index, unit, scanner = Index(), b"", Scanner(file)
    while stop is None or len(index.entries) < stop:
        start, number = scanner.offset, scanner.line
        line = next(scanner, None)
        if line is None:
            break
        if not line.strip():
            continue
        word = line.split()[0]
        if not word.isdigit():
            found = line.strip()[:40].decode(errors="replace")
            raise InputError(f"line {number}: a frame should begin with its number of atoms, found {found!r}", where,
                             "give that number and as many lines of atoms")
        entry = Entry(start, number, n_atoms=int(word))
        comment = next(scanner, None)
        if comment is None:
            index.cut = "it ends after its number of atoms"
            break
        if match := _STEP.search(comment):
            entry.step = int(match[1])
        if match := _TIME.search(comment):
            unit = match[1].lower()
            entry.time = _number(match[2])
        there = scanner.skip(entry.n_atoms)
        if there < entry.n_atoms:
            index.cut = f"{there} of {entry.n_atoms} atoms"
            break
        if not scanner.ended and index.entries:  # one frame may end without a line break
            index.cut = "its last line has no end"
            break
        entry.size = scanner.offset - start
        index.entries.append(entry)
    return index, unit


def _number(word: bytes) -> float | None:
    try:
        return float(word)
    except ValueError:
        return None


def _load(
    file: IO[bytes], entry: Entry, options: ReadOptions, where: str
) -> tuple[Loaded, NDArray[np.float64], list[str]]:
    """A frame, its masses (n,) in amu, and remarks about how it was read."""
    lines = lines_of(file, entry, where)
    text = TextFrame(entry.line, lines[1], lines[2:])
    contents, table, info = parse(text, options, where)
    cell = Cell.from_rows(contents.rows, contents.periodic, where)
    vectors: dict[str, NDArray[np.float64] | NDArray[np.int32]] = {"position": contents.position}
    if contents.velocity is not None:
        vectors["velocity"] = contents.velocity
    force = next((reals(table, name, text, where) for name in _FORCES if name in table), None)
    if force is not None and force.shape[1] == 3:
        vectors["force"] = force
    image = reals(table, "image", text, where)
    if image is not None and image.shape[1] == 3:
        vectors["image"] = whole_images(image, where)
    remarks = list(contents.remarks)
    if "masses" not in table:
        remarks.append("masses are the standard ones of the elements")
    unused = [name for name in unused_columns(table) if name not in _USED]
    remarks += left_out([*unused, *(key for key in info if key.lower() not in _KEYS)])
    return Loaded(cell, contents.numbers.astype(np.int32), vectors), contents.masses, remarks
