"""Output of each epoch of a training: ``history.csv``, TensorBoard events, and lines or a live table."""

from __future__ import annotations

import csv
import math
import sys
import time
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.live import Live
from rich.table import Table

from allegro_md.errors import InputError
from allegro_md.io.disk import disk_errors, write_whole
from allegro_md.timers import duration

HISTORY, EVENTS = "history.csv", "tensorboard"

ERRORS = ("loss", "energy_mae", "energy_rmse", "force_mae", "force_rmse", "stress_rmse")
"""Per set of frames; energies in meV/atom, force components in meV/Å, stress components in GPa."""

COLUMNS = (
    "epoch", *(f"train_{name}" for name in ERRORS), *(f"val_{name}" for name in ERRORS),
    "learning_rate", "seconds", "left_s",
)
"""Of ``history.csv``; `seconds` are of the epoch, `left_s` is the time that remains, estimated."""

SHOWN = 12
"""Epochs in the live table."""

_HEADINGS = (
    "epoch", "E train\nmeV/atom", "E val\nmeV/atom", "F train\nmeV/Å", "F val\nmeV/Å", "(MAE)\nmeV/Å",
    "learning\nrate", "seconds/\nepoch", "time\nleft",
)

_LINE = (
    "epoch {:>5}  E train {:>8} val {:>8} meV/atom  F train {:>8} val {:>8} (MAE {}) meV/Å  "
    "rate {}  {} s/epoch  {} left"
)


class Progress:
    """Rows of errors, one per epoch, each on the disk before the next epoch begins."""

    def __init__(self, directory: Path, resume_epoch: int | None = None) -> None:
        """Begins the files, or takes them up.

        Args:
            directory: of the training; exists.
            resume_epoch: the last epoch that counts; rows after it are taken off. None: a new training.

        Raises:
            InputError: a history that is not one.
            ResourceError: the disk is full.
        """
        self._path = directory / HISTORY
        rows = [] if resume_epoch is None else [row for row in read_history(self._path) if row["epoch"] <= resume_epoch]
        write_whole(self._path, "".join([",".join(COLUMNS) + "\n", *map(_line, rows)]).encode())
        with disk_errors(self._path):
            self._file = self._path.open("a", encoding="utf-8")
            self._events = _Events(directory / EVENTS, resume_epoch)
        console = Console(file=sys.stdout)
        self._live = Live(console=console, auto_refresh=False) if console.is_terminal else None
        self._last: deque[Mapping[str, float]] = deque(rows, maxlen=SHOWN)

    def row(self, epoch: int, values: Mapping[str, float]) -> None:
        """Adds and shows an epoch.

        Args:
            epoch: from 1.
            values: of all `COLUMNS` but the epoch; NaN if unknown.
        """
        row = {"epoch": epoch, **values}
        with disk_errors(self._path):
            self._file.write(_line(row))
            self._file.flush()
            self._events.add(epoch, values)
        self._last.append(row)
        with suppress(OSError):  # nobody listens any more: no reason to stop a training
            self._show(row)

    def close(self) -> None:
        """Ends the live table and closes the files."""
        if self._live is not None:
            self._live.stop()
        self._file.close()
        self._events.close()

    def _show(self, row: Mapping[str, float]) -> None:
        if self._live is None:
            print(_LINE.format(*_cells(row)), flush=True)
            return
        title = "root mean squares of the errors, and MAE"
        table = Table(title=title, box=box.SIMPLE_HEAD, padding=(0, 0), pad_edge=False)
        for heading in _HEADINGS:
            table.add_column(heading, justify="right", no_wrap=True)
        for shown in self._last:
            table.add_row(*_cells(shown))
        self._live.start()  # only now: a fault before this leaves the terminal as it was
        self._live.update(table, refresh=True)


def read_history(path: Path) -> list[dict[str, float]]:
    """The rows of a ``history.csv``; a last line cut short by a kill is left out.

    Raises:
        InputError: it is missing, or holds other columns.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    except OSError as error:
        raise InputError(f"cannot be read ({error.strerror})", str(path), "train again with --overwrite") from None
    if not lines or lines[0] != ",".join(COLUMNS) + "\n":
        raise InputError("is not the history of a training", str(path), "restore it, or train with --overwrite")
    whole = [line for line in lines[1:] if line.endswith("\n")]
    rows = csv.reader(whole)
    return [{name: float(text) for name, text in zip(COLUMNS, row, strict=True)} for row in rows]


class _Events:
    """A TensorBoard event file, written at once: no thread holds rows back that a kill would lose."""

    def __init__(self, directory: Path, resume_epoch: int | None) -> None:
        from tensorboardX.event_file_writer import EventsWriter
        from tensorboardX.proto import event_pb2, summary_pb2

        self._event, self._summary = event_pb2.Event, summary_pb2.Summary
        directory.mkdir(exist_ok=True)
        begun = 0 if resume_epoch is None else resume_epoch
        self._writer = EventsWriter(str(directory / "events"), filename_suffix=f".{begun}")
        if resume_epoch is not None:  # TensorBoard forgets what earlier files say of these steps
            start = event_pb2.SessionLog(status=event_pb2.SessionLog.START)
            self._write(step=resume_epoch + 1, session_log=start)

    def add(self, epoch: int, values: Mapping[str, float]) -> None:
        found = [
            self._summary.Value(tag=name.replace("_", "/", 1) if name.startswith(("train_", "val_")) else name,
                                simple_value=value)
            for name, value in values.items() if not math.isnan(value)
        ]
        self._write(step=epoch, summary=self._summary(value=found))

    def close(self) -> None:
        self._writer.close()

    def _write(self, **content: Any) -> None:
        self._writer.write_event(self._event(wall_time=time.time(), **content))
        self._writer.flush()


def _line(row: Mapping[str, float]) -> str:
    """Shortest digits that give back the same float."""
    return ",".join([str(int(row["epoch"])), *(repr(float(row[name])) for name in COLUMNS[1:])]) + "\n"


def _cells(row: Mapping[str, float]) -> list[str]:
    """Formats the values of a row, in the order of `_HEADINGS`."""
    names = ("train_energy_rmse", "val_energy_rmse", "train_force_rmse", "val_force_rmse", "val_force_mae")
    errors = [f"{row[name]:.{2 if row[name] > 99.9 else 3}f}" for name in names]
    left = duration(row["left_s"]) if math.isfinite(row["left_s"]) else "?"
    return [f"{int(row['epoch'])}", *errors, f"{row['learning_rate']:.2e}", f"{row['seconds']:.1f}", left]
