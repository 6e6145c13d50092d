"""Frames of text files: one of them found without the others being kept, and whether the file was cut."""

from __future__ import annotations

import codecs
import re
from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any, TypeVar

from allegro_md.errors import InputError

T = TypeVar("T")

_MARKS = {
    codecs.BOM_UTF8: "begins with a byte order mark, which is not part of the format",
    codecs.BOM_UTF16_LE: "is text in UTF-16", codecs.BOM_UTF16_BE: "is text in UTF-16",
}  # fmt: skip

_FORTRAN = re.compile(r"(?<![\w.])[-+]?((\d+\.\d*|\.\d+)[dD][-+]?\d+|\d+[dD][-+]\d+)(?![\w.])")
"""A number with the exponent that Fortran writes in double precision, such as 1.0D+00."""


class CutShort(Exception):  # noqa: N818  not a fault by itself: an earlier frame may be wanted
    """The file ends within a frame; the message says what there is of it."""


def open_text(path: Path) -> IO[Any]:
    """Opens a text file, also a compressed one."""
    from ase.io.formats import open_with_compression

    return open_with_compression(str(path), "rt")


def require_unmarked(path: Path, where: str) -> None:
    """Refuses text that begins with a byte order mark: readers would take it for a part of the first word.

    Raises:
        InputError: it does.
    """
    from ase.io.formats import open_with_compression

    try:
        with open_with_compression(str(path), "rb") as file:
            start = file.read(4)
    except (OSError, EOFError):  # a fault that its reader names
        return
    for mark, what in _MARKS.items():
        if start.startswith(mark):
            raise InputError(what, where, "save it as UTF-8 without a byte order mark (BOM)")


def number_remedy(text: str, otherwise: str = "correct it") -> str:
    """The remedy for text that should hold numbers: exponents with E where it has D, or else `otherwise`."""
    found = _FORTRAN.search(text)
    if found is None:
        return otherwise
    return f"write exponents with E: {re.sub('[dD]', 'E', found.group())} in place of {found.group()}"


def pick(frames: Iterator[T], frame: int, where: str) -> tuple[T, int, int | None]:
    """One frame of a file.

    Args:
        frames: all frames in turn; raises `CutShort` where the file ends within one.
        frame: number of the wanted one; negative counts from the end.
        where: the file, for messages.

    Returns:
        The frame, its number from the front, and the number of all frames, None where they were not counted.

    Raises:
        InputError: no such frame, or it is the one that was cut.
    """
    last: deque[T] = deque(maxlen=1 if frame >= 0 else -frame)
    count = 0
    try:
        for item in frames:
            last.append(item)
            count += 1
            if count == frame + 1:
                return item, frame, None
    except CutShort as cut:
        remedy = f"frame = {count - 1} is the last whole one" if count else "give the whole file"
        raise InputError(f"frame {count} is cut short: {cut}", where, remedy) from None
    if count == 0:
        raise InputError("holds no atoms", where, "give a structure with atoms")
    if frame >= 0 or count < -frame:
        number = "1 frame" if count == 1 else f"{count} frames"
        raise InputError(
            f"has no frame {frame}; it holds {number}", where, f"0 is the first frame, {count - 1} or -1 the last"
        )
    return last[0], count + frame, count


def numbered(file: Iterable[str]) -> Iterator[tuple[int, str]]:
    """Lines of a file with their numbers from 1, less the ends of lines."""
    for number, line in enumerate(file, 1):
        yield number, line.rstrip("\r\n")
