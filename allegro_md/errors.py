"""Exceptions a user may meet; each knows the exit status it stands for."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence


class AllegroError(Exception):
    """Base of all expected failures.

    Attributes:
        exit_status: process status the command line ends with.
    """

    exit_status = 1


class InputError(AllegroError):
    """The input is wrong: says what, where (file, key) and how to mend it.

    Attributes:
        faults: this one, and others found at the same time.
    """

    exit_status = 2

    def __init__(self, what: str, where: str = "", remedy: str = "", others: Sequence[InputError] = ()) -> None:
        self.what, self.where, self.remedy = what, where, remedy
        self.faults: tuple[InputError, ...] = (self, *others)
        parts = [f"{where}: {what}" if where else what]
        if remedy:
            parts.append(remedy)
        super().__init__(" — ".join(parts))

    def __reduce__(self) -> tuple[type[InputError], tuple[str, str, str, tuple[InputError, ...]]]:
        return type(self), (self.what, self.where, self.remedy, self.faults[1:])

    @staticmethod
    def of(faults: Sequence[InputError]) -> InputError:
        """The first of at least one fault, with the others; those that read alike are one."""
        different = list({str(fault): fault for each in faults for fault in each.faults}.values())
        first = different[0]
        return type(first)(first.what, first.where, first.remedy, different[1:])

    def at(self, place: str) -> InputError:
        """The same faults in a part of the input: `place` stands before each `where`."""
        faults = [InputError(fault.what, f"{place}{fault.where}".rstrip(",. "), fault.remedy) for fault in self.faults]
        return InputError.of(faults)


class PhysicsError(AllegroError):
    """The simulation broke (NaN, runaway force, lost atom, overflow of an exact sum).

    Attributes:
        atoms: ids of the atoms to blame, the worst first; empty where none is known.
    """

    exit_status = 3

    def __init__(self, what: str, atoms: Sequence[int] = ()) -> None:
        self.what, self.atoms = what, tuple(atoms)
        super().__init__(what)

    def __reduce__(self) -> tuple[type[PhysicsError], tuple[str, tuple[int, ...]]]:
        return type(self), (self.what, self.atoms)


class ResourceError(AllegroError):
    """Out of memory or disk."""

    exit_status = 4


class DiskFullError(ResourceError):
    """A file could not be written for lack of space, or by a fault of the disk."""


class InterruptedRun(AllegroError):  # noqa: N818  not a fault
    """Stopped from outside; a checkpoint was written."""

    exit_status = 130


def out_of_memory(error: BaseException) -> bool:
    """Tells if an exception means that memory ran out; torch says so in words only."""
    text = str(error)
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and ("can't allocate memory" in text or "out of memory" in text)
    )


def one_line(error: BaseException) -> str:
    """Returns the message of another library's error, at most 200 characters in one line; its type if it is empty."""
    return " ".join(str(error).split())[:200] or type(error).__name__


_UNUSABLE = (errno.ENAMETOOLONG, errno.EACCES, errno.EPERM, errno.ELOOP)
_LONGEST = 120  # characters of a path in a message


def unusable_path(error: BaseException) -> InputError | None:
    """The message of an exception that means that a path is too long, forbidden or circular; None for others."""
    if not isinstance(error, OSError) or error.errno not in _UNUSABLE or error.filename is None:
        return None
    where = os.fsdecode(error.filename)
    where = where if len(where) <= _LONGEST else where[: _LONGEST - 3] + "..."
    return InputError(f"cannot be used ({error.strerror})", where, "choose another path, or change its permissions")
