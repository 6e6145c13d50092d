"""The state of a run in plain words: how it ended, or that it goes on."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from allegro_md.io.run_directory import Holder, holder
from allegro_md.io.thermo import NAME as THERMO
from allegro_md.report.numbers import integer
from allegro_md.report.record import Record
from allegro_md.timers import duration

SILENCE = 600.0
"""Seconds without a new row after which a run on another host is doubted."""

CONTINUE = "allegro-md run INPUT.toml --resume continues it from its last checkpoint."


@dataclass(frozen=True)
class Status:
    """The state of a run.

    Attributes:
        kind: "done", "running", "interrupted", "killed" or "failed".
        text: a sentence or two.
        is_complaint: True if the text belongs among the warnings.
    """

    kind: str
    text: str
    is_complaint: bool


def status_of(record: Record, directory: Path, last_step: int) -> Status:
    """Tells how a run ended, or that it goes on.

    Args:
        record: of the run.
        directory: of the run.
        last_step: the last one of which something is known.
    """
    made = f"{integer(last_step)} of {integer(record.steps)} steps"
    if record.status == "done":
        whole = record.step >= record.steps
        text = f"all {integer(record.step)} steps" if whole else f"{made} were made; {_early(record)}"
        return Status("done", f"Done: {text}{' were made' * whole}.", False)
    if record.status == "running":
        return _unfinished(directory, holder(directory), made)
    kind, _, message = record.status.partition(": ")
    if kind == "InterruptedRun":
        return Status("interrupted", f"Interrupted after {made}: {message}. {CONTINUE}", True)
    return Status("failed", f"Failed after {made}: {message}", True)


def _early(record: Record) -> str:
    """The reason why fewer steps were made than the input allows."""
    return "a stage ended when its conditions held" if record.stages else "the method ended by itself"


def _unfinished(directory: Path, by: Holder | None, made: str) -> Status:
    """The state of a run whose record says that it goes on: it does, or it was killed."""
    silent = time.time() - _last_written(directory)
    ago = f"The last row or checkpoint was written {duration(max(0.0, silent))} (h:mm:ss) ago."
    killed = f"Killed after {made}: the record says that the run goes on, but "
    if by is None:
        return Status("killed", f"{killed}no process holds the run directory. {CONTINUE}", True)
    if by.has_ended:
        return Status("killed", f"{killed}process {by.process} on {by.host} has ended. {CONTINUE}", True)
    running = f"Still running, process {by.process} on {by.host}: {made}. {ago}"
    doubt = f" If that process has ended, the run was killed. {CONTINUE}" if silent > SILENCE else ""
    return Status("running", running + doubt, bool(doubt))


def _last_written(directory: Path) -> float:
    """Time of the last change of what a run writes, seconds since the epoch."""
    paths = [directory / THERMO, directory / "run.json", directory / "log.txt", *directory.glob("checkpoint-*.h5")]
    times = []
    for path in paths:
        try:
            times.append(path.stat().st_mtime)
        except OSError:  # removed in between, or not there
            continue
    return max(times, default=0.0)
