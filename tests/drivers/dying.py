"""The program with one fault built in: ``python dying.py '{"fault": …}' ARGUMENTS`` runs ``allegro-md ARGUMENTS``.

The fault is a JSON table:
    fault: kill (this process, while it writes), or in an evaluation of the model: die, nan, exception, disk (from
        then on no file may grow beyond 4 KiB); or tables (those of the fused engine are wrong from the start); or
        observer (one that talks to no other rank raises)
    rank: on which rank only; null: on all
    call: at which call of what is counted, from 1: system calls that write, or evaluations
    after: file before whose appearance nothing counts
    log: file that gets the time of it, or at the end, if it never came, how many calls there were
"""

from __future__ import annotations

import atexit
import json
import os
import resource
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from allegro_md.cli import main
from allegro_md.comm import Comm


class Fault:
    """Counts calls and strikes at one of them."""

    def __init__(self, kind: str, call: int, log: str, after: str = ".") -> None:
        self.kind, self.call, self.log, self.after, self.count = kind, call, Path(log), Path(after), 0

    def due(self) -> bool:
        self.count += self.after.exists()
        due = self.count == self.call  # before the log is written: other threads count, too
        if due:
            self.log.write_text(f"struck {time.time()}\n")
        return due

    def farewell(self) -> None:
        if self.count < self.call:
            self.log.write_text(f"calls {self.count}\n")

    def around(self, name: str) -> Callable[..., Any]:
        """A system call during which this process dies: before it, after it, or in the middle of a write."""
        call = getattr(os, name)

        def counted(*args: Any, **options: Any) -> Any:
            if self.due():
                if name == "pwrite" and self.call % 3 == 2:
                    fd, data, offset = args
                    call(fd, bytes(data)[: len(data) // 2], offset)
                elif self.call % 3 == 1:
                    call(*args, **options)
                os.kill(os.getpid(), signal.SIGKILL)
            return call(*args, **options)

        return counted


def strike(fault: Fault) -> None:
    """Puts the fault in its place."""
    if fault.kind == "kill":
        for name in ("pwrite", "fsync", "replace", "ftruncate"):
            setattr(os, name, fault.around(name))
        return
    {"tables": wrong_tables, "observer": observer}.get(fault.kind, evaluation)(fault)


def wrong_tables(fault: Fault) -> None:
    from allegro_md.models.fused.tables import Tables

    make = Tables.__init__

    def wrong(self: Tables, *model: Any) -> None:
        make(self, *model)
        self.table = 1.001 * self.table

    Tables.__init__ = wrong  # type: ignore[method-assign, assignment]


def observer(fault: Fault) -> None:
    from allegro_md.errors import ResourceError
    from allegro_md.simulation.progress import Progress

    def give_up(self: Progress, snapshot: Any) -> None:
        if fault.due():
            raise ResourceError("an observer has no room here")

    Progress.__call__ = give_up  # type: ignore[method-assign]


def evaluation(fault: Fault) -> None:
    from allegro_md.models.fused.packing import FusedEvaluator

    evaluate = FusedEvaluator.__call__

    def faulty(self: Any, atoms: Any, *rest: Any) -> Any:
        if fault.due():
            if fault.kind == "nan":
                atoms = atoms._replace(position=atoms.position * float("nan"))
            elif fault.kind == "exception":
                raise ZeroDivisionError("deep inside the model")
            elif fault.kind == "die":
                os.kill(os.getpid(), signal.SIGKILL)
            elif fault.kind == "disk":
                resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
        return evaluate(self, atoms, *rest)

    FusedEvaluator.__call__ = faulty  # type: ignore[method-assign, assignment]


if __name__ == "__main__":
    what = json.loads(sys.argv[1])
    if what["rank"] in (None, Comm.world().rank):
        fault = Fault(what["fault"], what["call"], what["log"], what.get("after", "."))
        atexit.register(fault.farewell)
        strike(fault)
    sys.exit(main(sys.argv[2:]))
