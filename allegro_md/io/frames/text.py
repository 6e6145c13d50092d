"""Text files of several frames: where each frame is, so that any can be read without the others."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from allegro_md.errors import InputError
from allegro_md.io.frames.options import frames_before

PACKED = (".gz", ".bz2", ".xz")
"""Ends of the names of compressed files."""


@dataclass
class Entry:
    """The position of a frame in its file.

    Attributes:
        offset: bytes before it.
        line: number of its first line.
        size: bytes.
        n_atoms: as it states.
        step: as it states, or None.
        time: as it states, in the unit of the file, or None.
    """

    offset: int
    line: int
    size: int = 0
    n_atoms: int = 0
    step: int | None = None
    time: float | None = None


@dataclass
class Index:
    """Frames of a file.

    Attributes:
        entries: of the whole ones, as far as they were looked for.
        cut: what there is of the frame that the file ends within; empty where it ends with a whole one.
    """

    entries: list[Entry] = field(default_factory=list)
    cut: str = ""

    def steps(self) -> NDArray[np.int64]:
        """(n,) int64, the steps, or the numbers of the frames where one has no step."""
        stated = [entry.step for entry in self.entries]
        return np.array(range(len(stated)) if None in stated else stated, dtype=np.int64)

    def times(self) -> NDArray[np.float64]:
        """(n,) float64, in the unit of the file; NaN where a frame has none."""
        return np.array([np.nan if e.time is None else e.time for e in self.entries], dtype=np.float64)

    def require_usable(self, path: Path) -> None:
        """Refuses a file without frames, one that ends within a frame, and one with other numbers of atoms later on.

        Raises:
            InputError: says which frame, and how to read those before it.
        """
        count = len(self.entries)
        if self.cut:
            remedy = f"read the {count} before it: {frames_before(count)}"
            raise InputError(
                f"frame {count} is cut short: {self.cut}", str(path), remedy if count else "give the whole file"
            )
        if not count:
            raise InputError("holds no frames", str(path), "give a file with at least one frame")
        for number, entry in enumerate(self.entries):
            if entry.n_atoms != self.entries[0].n_atoms:
                raise InputError(
                    f"frame {number} has {entry.n_atoms} atoms, the first has {self.entries[0].n_atoms}", str(path),
                    f"read frames with one number of atoms: {frames_before(number)}",
                )
            if entry.step is not None and abs(entry.step) >= 2**63:
                what = f"frame {number} has the step {str(entry.step)[:30]}, more than 64 bits hold"
                raise InputError(what, str(path), "correct the file")


class Scanner:
    """Goes through the lines of a file and counts lines and bytes."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self.offset, self.line, self.ended = file, 0, 1, True

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        """The next line."""
        text = next(self._file)
        self.offset += len(text)
        self.line += 1
        self.ended = text.endswith(b"\n")
        return text

    def skip(self, count: int) -> int:
        """Passes over lines; the number of those there were."""
        there, last = 0, b"\n"
        for last in islice(self._file, min(count, sys.maxsize)):
            self.offset += len(last)
            there += 1
        self.line += there
        self.ended = last.endswith(b"\n")
        return there


def open_plain(path: Path) -> IO[bytes]:
    """Opens a text file in which frames can be looked up.

    Raises:
        InputError: it is compressed, or cannot be opened.
    """
    if path.suffix.lower() in PACKED:
        raise InputError("is compressed: single frames of it cannot be looked up", str(path), "unpack it")
    try:
        return path.open("rb")
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", str(path), "give a file that can be read") from error


def lines_of(file: IO[bytes], entry: Entry, where: str) -> list[str]:
    """The lines of a frame, without their ends.

    Raises:
        InputError: it is no text, or the file has changed.
    """
    file.seek(entry.offset)
    content = file.read(entry.size)
    if len(content) < entry.size:
        raise InputError("has become shorter since it was opened", where, "open it again")
    try:
        return content.decode("utf-8").replace("\r\n", "\n").removesuffix("\n").split("\n")
    except UnicodeDecodeError:
        raise InputError(f"line {entry.line} and following: not text in UTF-8", where, "give a text file") from None
