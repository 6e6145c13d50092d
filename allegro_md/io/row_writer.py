"""A CSV file that grows by a row per sample: whole rows only, cut back to the checkpoint when a run continues."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from contextlib import suppress
from pathlib import Path
from typing import Any

from allegro_md.comm import Comm
from allegro_md.io.disk import cut_back, disk_errors
from allegro_md.reporting import Snapshot


class RowWriter(ABC):
    """Observer that writes rows; rank 0 writes, each row whole and at once."""

    def __init__(self, path: Path, comm: Comm) -> None:
        """Nothing is written before the first row.

        Args:
            path: the file; an existing one is replaced, unless `load_state_dict` continues it. Its folder is made.
            comm: all ranks of the simulation.
        """
        self._path, self._comm = path, comm
        self._fd: int | None = None
        self._size = 0
        self._last_step = -1

    @abstractmethod
    def header(self, snapshot: Snapshot) -> str:
        """Names of the columns, with units, of a file that begins with this snapshot."""

    @abstractmethod
    def numbers(self, snapshot: Snapshot) -> list[float]:
        """The row of a snapshot behind the number of its step (collective)."""

    def __call__(self, snapshot: Snapshot) -> None:
        """Adds a row; a step that has one already (the first of a continuation) is passed over."""
        if snapshot.step <= self._last_step:
            return
        with self._comm.collective_errors():
            row = ",".join([str(int(snapshot.step)), *(repr(float(x)) for x in self.numbers(snapshot))]) + "\n"
            if self._size == 0:
                row = self.header(snapshot) + "\n" + row
            if self._comm.rank == 0:
                self._append(row.encode())
        self._size = self._comm.bcast(self._size)
        self._last_step = snapshot.step

    def flush(self) -> None:
        """Collective; all rows are on the disk when it returns."""
        with self._comm.collective_errors():
            if self._fd is not None:
                with disk_errors(self._path):
                    os.fsync(self._fd)

    def state_dict(self) -> dict[str, Any]:
        """Length of the file in bytes and the step of its last row; call `flush` first."""
        return {"size": self._size, "last_step": self._last_step}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Cuts the file back to where the checkpoint left it ({}: a new file); collective."""
        if not state:
            return
        self._size, self._last_step = int(state["size"]), int(state["last_step"])
        with self._comm.collective_errors():
            if self._comm.rank == 0 and self._size > 0:
                cut_back(self._path, self._size)

    def close(self) -> None:
        """Collective; everything is on disk when it returns."""
        try:
            self.flush()
        finally:
            if self._fd is not None:
                fd, self._fd = self._fd, None
                with suppress(OSError):  # what there was to say about the disk, `flush` has said
                    os.close(fd)

    def _append(self, row: bytes) -> None:
        """Writes a row behind the last one, or nothing of it."""
        with disk_errors(self._path):
            if self._fd is None:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                flags = os.O_WRONLY | os.O_CREAT | (os.O_TRUNC if self._size == 0 else 0)
                self._fd = os.open(self._path, flags, 0o666)
            if os.pwrite(self._fd, row, self._size) < len(row):  # only a full disk takes a part
                os.ftruncate(self._fd, self._size)
                raise OSError("no space left for a whole row")
        self._size += len(row)
