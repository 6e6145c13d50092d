"""The run directory: never overwritten unasked, used by one run at a time."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import socket
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from allegro_md.comm import Comm
from allegro_md.errors import InputError
from allegro_md.io.disk import UNFINISHED, write_whole
from allegro_md.reporting import OBSERVE

LOCK = ".lock"
LISTED = "observer_files"
"""Entry of a record: files of the observers of the run, as names or patterns."""


@dataclass(frozen=True)
class Contents:
    """File name patterns of all files that a run writes in its directory.

    Attributes:
        record: the file that tells what was run: the sign that the directory is ours.
        results: files that a run from the first step replaces, beside those that its record lists.
        checkpoints: files that a run can continue from.
        rest: all else that `overwrite` removes.
        early: files that together tell of a run killed before its record was written.
        unlisted: further results of a run whose record lists none: it is of an earlier version, or missing.
    """

    record: str
    results: tuple[str, ...]
    checkpoints: tuple[str, ...]
    rest: tuple[str, ...]
    early: frozenset[str]
    unlisted: tuple[str, ...] = ()

    def listed(self, directory: Path) -> tuple[str, ...]:
        """Files of the observers of the run in a directory, as names or patterns within it."""
        try:
            patterns = json.loads((directory / self.record).read_text())[LISTED]
            return tuple(pattern for pattern in patterns if _fault(pattern) is None)
        except (OSError, ValueError, KeyError, TypeError):  # no record, or not as this version writes it
            return self.unlisted

    def doomed(self, directory: Path, everything: bool) -> tuple[str, ...]:
        """Patterns of what a run from the first step replaces, or of `everything` that `overwrite` removes.

        Files that were being written, see `disk.unfinished`, are among them.
        """
        results = (*self.results, *self.listed(directory))
        patterns = (*results, *self.checkpoints, *self.rest, self.record) if everything else (*results, self.record)
        return (*(pattern + UNFINISHED for pattern in patterns), *(patterns if everything else results))


DYNAMICS = Contents(
    record="run.json",
    results=(OBSERVE,),
    checkpoints=("checkpoint-[0-9]*.h5",),
    rest=("emergency-[0-9]*.h5", "emergency-[0-9]*.extxyz", "log.txt", "report.html"),
    early=frozenset({"log.txt", "thermo.csv"}),
    unlisted=("thermo.csv", "uncertain.extxyz", "trajectory.h5", "trajectory"),
)
TRAINING = Contents(
    record="train.json",
    results=("history.csv", "tensorboard", "split.json", "*.png", "report.html"),
    checkpoints=("checkpoint.safetensors", "seed-*"),
    rest=("model*.allegro", "model*.npz"),
    early=frozenset({"history.csv", "split.json"}),
)


class RunDirectory:
    """A run directory this run has locked; rank 0 does the writing.

    Attributes:
        path: the directory.
    """

    def __init__(
        self, path: Path, comm: Comm, *, overwrite: bool = False, resume: bool = False, contents: Contents = DYNAMICS
    ) -> None:
        """Creates or takes over the directory; collective.

        Args:
            path: the directory; parents are created.
            comm: all ranks of the simulation.
            contents: the files of a run of this kind.
            overwrite: remove what an earlier run left.
            resume: continue the run in it; without a checkpoint the results of the earlier attempt are removed.

        Raises:
            InputError: it is there already, cannot be written, or is in use by another run.
        """
        self.path, self._comm, self._contents = path, comm, contents
        self._lock: int | None = None
        self._files: set[str] = set()
        with comm.collective_errors():
            if comm.rank == 0:
                self._enter(overwrite, resume)

    @staticmethod
    def check(
        path: Path, *, overwrite: bool = False, resume: bool = False, contents: Contents = DYNAMICS
    ) -> None:
        """Makes the checks that need no writing; on one rank.

        Raises:
            InputError: a file is in the way, or a run that may be neither replaced nor continued, or files named like
                ours that would be removed but are not of a run.
        """
        try:
            there = path.exists()
        except OSError as error:  # a name that is too long, for example
            what = f"cannot be used as run directory: {error.strerror}"
            raise InputError(what, str(path), "choose another output.directory") from error
        if there and not path.is_dir():
            raise InputError("is a file", str(path), "choose another output.directory")
        if path.is_dir() and any(p.name != LOCK for p in path.iterdir()) and not (overwrite or resume):
            raise InputError(
                "the run directory exists already",
                str(path),
                "--resume continues it, --overwrite replaces it, or choose another output.directory",
            )
        doomed = _found(path, contents.doomed(path, everything=overwrite))
        if doomed and (overwrite or _starts_anew(path, contents)) and not _of_a_run(path, contents):
            raise InputError(
                f"holds {doomed[0].name}, which would be removed, but no {contents.record}: not the directory of a run",
                str(path),
                "choose another output.directory, or remove it yourself",
            )

    def __enter__(self) -> RunDirectory:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def add_files(self, patterns: Iterable[str]) -> None:
        """Lists files of observers in the records to come, beside those of the run that is continued.

        Args:
            patterns: names or patterns, relative to the directory.

        Raises:
            ValueError: one leads out of the directory, or would fit files of others; none is listed.
        """
        patterns = list(patterns)
        for pattern in patterns:
            if fault := _fault(pattern):
                raise ValueError(f"'{pattern}' {fault}")
        self._files.update(patterns)

    def write_record(self, record: dict[str, Any]) -> None:
        """Replaces the record (``run.json``); collective, rank 0's counts."""
        path = self.path / self._contents.record
        if self._files:
            record = record | {LISTED: sorted(self._files)}
        with self._comm.collective_errors():
            if self._comm.rank == 0:
                write_whole(path, (json.dumps(record, indent=2, default=str) + "\n").encode())

    def close(self) -> None:
        """Gives the lock back."""
        if self._lock is not None:
            (self.path / LOCK).unlink(missing_ok=True)
            os.close(self._lock)
            self._lock = None

    def _enter(self, overwrite: bool, resume: bool) -> None:
        try:
            self.check(self.path, overwrite=overwrite, resume=resume, contents=self._contents)
            self.path.mkdir(parents=True, exist_ok=True)
            self._lock = _lock(self.path / LOCK)
            if overwrite and not resume:
                _remove(self.path, self._contents.doomed(self.path, everything=True))
            elif resume and _starts_anew(self.path, self._contents):
                _remove(self.path, self._contents.doomed(self.path, everything=False))
            elif resume:
                self._files.update(self._contents.listed(self.path))
        except OSError as error:
            what = f"cannot be used as run directory: {error.strerror}"
            raise InputError(what, str(self.path), "choose another output.directory") from error


@dataclass(frozen=True)
class Holder:
    """The process that uses a run directory, or used it when it was killed.

    Attributes:
        process: its number.
        host: where it runs.
        has_ended: True if it is known to have ended; processes of other hosts are not looked at.
    """

    process: int
    host: str
    has_ended: bool


def holder(directory: Path) -> Holder | None:
    """Reads who holds the lock of a run directory, without touching it; None if nobody does."""
    path = directory / LOCK
    if not _is_lock(path):
        return None
    try:
        words = path.read_text().split()
        return Holder(int(words[0]), words[1], _has_ended(words))
    except (OSError, ValueError, IndexError):  # given back in between
        return None


def _of_a_run(directory: Path, contents: Contents) -> bool:
    """Tells if the directory holds a run, even one that was killed before it wrote its record."""
    names = {path.name for path in directory.iterdir()}
    return _is_record(directory / contents.record) or _is_lock(directory / LOCK) or contents.early <= names


def _is_record(path: Path) -> bool:
    """Tells if a file is a record of ours; other programs, too, write files of that name."""
    try:
        record = json.loads(path.read_text())
    except (OSError, ValueError):
        return False
    return isinstance(record, dict) and "status" in record


def _is_lock(path: Path) -> bool:
    """Tells if a file is a lock as `_lock` writes it: process and host."""
    try:
        words = path.read_text(errors="replace").split()
    except OSError:
        return False
    return len(words) == 2 and words[0].isdigit()


def _fault(pattern: str) -> str | None:
    """Says why a name or pattern must not be removed with a run, if so: what fits it has to be the run's own."""
    path = PurePosixPath(pattern)
    if not path.parts or path.is_absolute() or ".." in path.parts:
        return "is not a file within the run directory"
    if path.parts[0][0] in "*?[":
        return "would fit files that the run did not write: begin it with a name, as in 'rdf-*.csv'"
    if any("**" in part for part in path.parts):
        return "has ** in it, which fits whole folders: name the folder"
    return None


def _starts_anew(directory: Path, contents: Contents) -> bool:
    """Tells if there is no checkpoint to continue from."""
    return not _found(directory, contents.checkpoints)


def _found(directory: Path, patterns: Sequence[str]) -> list[Path]:
    return [path for pattern in patterns for path in directory.glob(pattern)]


def _remove(directory: Path, patterns: Sequence[str]) -> None:
    """Removes what fits the patterns, and nothing else."""
    for path in _found(directory, patterns):
        if path.is_dir() and not path.is_symlink():  # of a link only the link is the run's
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)  # its folder may have fitted another pattern


def _lock(path: Path) -> int:
    """Locks a run directory until this process ends, however it does.

    The system's lock goes with its process. Where the file system has none, the file tells who holds it.
    """
    while True:
        fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        holder = os.read(fd, 200).decode(errors="replace").split()
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            free = True
        except BlockingIOError:
            free = False
        except OSError:
            free = not holder or _has_ended(holder)
        if not free:
            os.close(fd)
            who = f"process {holder[0]} on {holder[1]}" if len(holder) == 2 else "another process"
            raise InputError(
                f"the run directory is in use by {who}",
                str(path.parent),
                f"wait for it, choose another output.directory, or remove {path} if that run has ended",
            )
        if path.exists() and os.fstat(fd).st_ino == path.stat().st_ino:
            break
        os.close(fd)  # its holder removed it in between
    os.ftruncate(fd, 0)
    os.pwrite(fd, f"{os.getpid()} {socket.gethostname()}\n".encode(), 0)
    return fd


def _has_ended(holder: list[str]) -> bool:
    """Tells if the process that wrote a lock is known to have ended."""
    if len(holder) != 2 or not holder[0].isdigit() or holder[1] != socket.gethostname():
        return False
    try:
        os.kill(int(holder[0]), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False
