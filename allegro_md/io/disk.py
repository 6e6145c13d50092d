"""Files that survive a kill and a full disk: errors with a name, files replaced as a whole."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from allegro_md.errors import DiskFullError, InputError

UNFINISHED = ".part"
"""Suffix of a file that is being written and does not count yet."""


_REMEDIES = {
    errno.EACCES: "allow writing there, or choose another place",
    errno.EPERM: "allow writing there, or choose another place",
    errno.EROFS: "choose another place",
    errno.EISDIR: "remove it",
    errno.EEXIST: "remove it",
    errno.ENOTDIR: "choose another place",
}
"""By number of the error, where the place is wrong and the disk is not full."""


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turns what the system or HDF5 says about a failed write into an error that names the file.

    Raises:
        InputError: the place is wrong: forbidden, below a file, a folder where a file is to be.
        DiskFullError: any other reason. A program that can be continued adds how to its message.
    """
    try:
        yield
    except (OSError, RuntimeError) as error:  # HDF5 reports a full disk as either
        if isinstance(error, RuntimeError) and "nable to" not in str(error):
            raise
        text = getattr(error, "strerror", None) or str(error).splitlines()[0]
        if remedy := _REMEDIES.get(getattr(error, "errno", None) or 0):
            raise InputError(f"cannot be written ({text})", str(path), remedy) from error
        raise DiskFullError(f"cannot write {path}: {text} — free disk space or raise the quota") from error


@contextmanager
def damage(path: Path, remedy: str = "") -> Iterator[None]:
    """Turns whatever goes wrong while a file of ours is read into an InputError: the file is damaged."""
    try:
        yield
    except (InputError, MemoryError):
        raise
    except Exception as error:  # HDF5 and JSON raise anything
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"damaged ({reason})", str(path), remedy) from error


def unfinished(path: Path) -> Path:
    """The name under which a file is written before it counts."""
    return path.with_name(path.name + UNFINISHED)


def pwrite_all(fd: int, rows: NDArray[Any], offset: int) -> None:
    """Writes all bytes of an array, `rows` (n, …) of any dtype, at an offset in a file, in as many calls as needed."""
    data = np.ascontiguousarray(rows).reshape(-1).view(np.uint8).data
    while len(data):
        written = os.pwrite(fd, data, offset)
        data, offset = data[written:], offset + written


def cut_back(path: Path, size: int) -> None:
    """Cuts a file that is only added to back to the length that a checkpoint knows of; 0: there was none yet.

    Raises:
        InputError: it is missing or shorter.
    """
    if size == 0:
        path.unlink(missing_ok=True)
        return
    if not path.is_file() or path.stat().st_size < size:
        raise InputError(
            f"is missing or shorter than the {size} bytes the checkpoint knows of",
            str(path),
            "restore it, or start again with --overwrite",
        )
    with disk_errors(path):
        os.truncate(path, size)


def sync(path: Path) -> None:
    """Returns when a file's content, or a directory's entries, are on the disk."""
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def finish(path: Path) -> None:
    """Gives the unfinished file its name, durably: readers see the old file or the whole new one."""
    sync(unfinished(path))
    os.replace(unfinished(path), path)
    sync(path.parent)


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Gives the name under which to write a file; it gets its own name at the end, and is removed where that fails.

    Raises:
        InputError: the place is wrong, see `disk_errors`.
        DiskFullError: it cannot be written.
    """
    part = unfinished(path)
    try:
        with disk_errors(path):
            yield part
            finish(path)
    except BaseException:
        with suppress(OSError):  # where there can be no file, there is none to remove
            part.unlink(missing_ok=True)
        raise


def write_whole(path: Path, content: bytes) -> None:
    """Writes a file of which readers see nothing, or the old one, until it is whole. Errors as of `whole`."""
    with whole(path) as part:
        part.write_bytes(content)


def write_json(path: Path, document: Any) -> None:
    """Writes a document as JSON, see `write_whole`."""
    write_whole(path, (json.dumps(document, indent=1, ensure_ascii=False) + "\n").encode())
