"""The run directory: never overwritten unasked, used by one run at a time."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from allegro_md.comm import Comm
from allegro_md.errors import InputError
from allegro_md.io.disk import disk_errors, finish, unfinished

LOCK = ".lock"
RUN = "run.json"
RESULTS = ("thermo.csv", "trajectory.h5", "trajectory", "*.part")
"""What a run that starts from the beginning replaces, as patterns."""

OURS = (*RESULTS, "checkpoint-*.h5", "emergency-*.h5", "emergency-*.extxyz", "log.txt", RUN)
"""What a run leaves in its directory; all that `overwrite` removes, the sign that it is ours last."""


class RunDirectory:
    """A run directory this run has locked; rank 0 does the writing.

    Attributes:
        path: the directory.
    """

    def __init__(self, path: Path, comm: Comm, *, overwrite: bool = False, resume: bool = False) -> None:
        """Creates or takes over the directory; collective.

        Args:
            path: the directory; parents are created.
            comm: all ranks of the simulation.
            overwrite: remove what an earlier run left.
            resume: go on in it; without a checkpoint the results of the earlier attempt are removed.

        Raises:
            InputError: it is there already, cannot be written, or is in use by another run.
        """
        self.path, self._comm = path, comm
        self._lock: int | None = None
        with comm.together():
            if comm.rank == 0:
                self._enter(overwrite, resume)

    @staticmethod
    def check(path: Path, *, overwrite: bool = False, resume: bool = False) -> None:
        """What can be said without writing; on one rank.

        Raises:
            InputError: a file is in the way, or a run that may be neither replaced nor continued, or files named like
                ours that would be removed but are not of a run.
        """
        if path.exists() and not path.is_dir():
            raise InputError("is a file", str(path), "choose another output.directory")
        if path.is_dir() and any(p.name != LOCK for p in path.iterdir()) and not (overwrite or resume):
            raise InputError(
                "the run directory exists already",
                str(path),
                "--resume goes on in it, --overwrite replaces it, or choose another output.directory",
            )
        doomed = _found(path, OURS if overwrite else RESULTS)
        if doomed and (overwrite or _starts_anew(path)) and not _of_a_run(path):
            raise InputError(
                f"holds {doomed[0].name}, which would be removed, but no run.json: not the directory of a run",
                str(path),
                "choose another output.directory, or remove it yourself",
            )

    def __enter__(self) -> RunDirectory:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def write_run_json(self, record: dict[str, Any]) -> None:
        """Replaces ``run.json``; collective, rank 0's record counts."""
        path = self.path / RUN
        with self._comm.together(), disk_errors(path):
            if self._comm.rank == 0:
                unfinished(path).write_text(json.dumps(record, indent=2, default=str) + "\n")
                finish(path)

    def close(self) -> None:
        """Gives the lock back."""
        if self._lock is not None:
            (self.path / LOCK).unlink(missing_ok=True)
            os.close(self._lock)
            self._lock = None

    def _enter(self, overwrite: bool, resume: bool) -> None:
        try:
            self.check(self.path, overwrite=overwrite, resume=resume)
            self.path.mkdir(parents=True, exist_ok=True)
            self._lock = _lock(self.path / LOCK)
            if overwrite and not resume:
                _remove(self.path, OURS)
            elif resume and _starts_anew(self.path):
                _remove(self.path, RESULTS)
        except OSError as error:
            what = f"cannot be used as run directory: {error.strerror}"
            raise InputError(what, str(self.path), "choose another output.directory") from error


def _of_a_run(directory: Path) -> bool:
    """Whether a run was here, even one that was killed before it wrote ``run.json``."""
    names = {path.name for path in directory.iterdir()}
    return RUN in names or LOCK in names or {"log.txt", "thermo.csv"} <= names


def _starts_anew(directory: Path) -> bool:
    """Whether a continuation has no checkpoint to go on from."""
    return not any(directory.glob("checkpoint-*.h5"))


def _found(directory: Path, patterns: Sequence[str]) -> list[Path]:
    return [path for pattern in patterns for path in directory.glob(pattern)]


def _remove(directory: Path, patterns: Sequence[str]) -> None:
    """Removes what fits the patterns, and nothing else."""
    for path in _found(directory, patterns):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


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
    """Whether the process that wrote a lock is known to be gone."""
    if len(holder) != 2 or not holder[0].isdigit() or holder[1] != socket.gethostname():
        return False
    try:
        os.kill(int(holder[0]), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False
