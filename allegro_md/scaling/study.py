"""A scaling study: systems on several numbers of ranks that take turns, and the files it leaves."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from allegro_md.comm import Comm
from allegro_md.config import load_input
from allegro_md.errors import InputError
from allegro_md.io.disk import disk_errors, write_json
from allegro_md.launcher import ranks_named
from allegro_md.scaling.launching import Launcher, StudyProcess
from allegro_md.scaling.measure import Job, Timing, studied
from allegro_md.scaling.sizes import Kind, Size, sizes
from allegro_md.simulation.build import build_structure

STUDY = "study.json"
"""File of a study's settings: the sign that a folder is that of a study."""

OF_STUDY = (f"{STUDY}*", "ranks-*", "scaling.*", "job-*.sh*", "submit.sh*")
"""All files that a study leaves, those among them that a kill left unfinished."""


@dataclass(frozen=True)
class Study:
    """Settings of a study.

    Attributes:
        kind: of the study.
        source: the input file.
        assignments: changed keys, as of ``--set``.
        ranks: numbers of ranks, ascending.
        launcher: starts the ranks.
        timing: steps of each number of ranks.
        folder: for all files of the study.
    """

    kind: Kind
    source: Path
    assignments: tuple[str, ...]
    ranks: tuple[int, ...]
    launcher: Launcher
    timing: Timing
    folder: Path

    def job(self, size: Size, ask: bool) -> Job:
        """The order for the process of one size."""
        changed = (*self.assignments, *size.assignments)
        return Job(self.source.absolute(), self.result(size.ranks).absolute(), size.ranks, changed, self.timing, ask)

    def command(self, size: Size) -> list[str]:
        """The command line of a process that waits for its turns."""
        return [*self.launcher.words(size.ranks), sys.executable, *self.job(size, ask=True).words()]

    def result(self, ranks: int) -> Path:
        """The file with the turns of one number of ranks."""
        return self.folder / f"ranks-{ranks}.json"

    def prepare(self, overwrite: bool) -> list[Size]:
        """Reads the input, works out the sizes and makes the folder.

        Args:
            overwrite: an earlier study in the folder may be replaced.

        Raises:
            InputError: the input is wrong, its system cannot be repeated, or the folder is in use.
        """
        config = studied(load_input(self.source, self.assignments), self.source, self.folder, self.timing)
        system = build_structure(config.system, Comm.serial())
        cell = system.cell
        found = sizes(self.kind, config, system.n_total, cell.heights, cell.periodic, self.ranks)
        for size in found:  # a fault in one of them would show only on its ranks
            load_input(self.source, (*self.assignments, *size.assignments))
        make_folder(self.folder, overwrite)
        settings = {
            "kind": self.kind, "input": str(self.source.absolute()), "assignments": list(self.assignments),
            "launcher": self.launcher.text, **asdict(self.timing),
            "sizes": [{"ranks": size.ranks, "atoms": size.atoms} for size in found],
        }  # fmt: skip
        write_json(self.folder / STUDY, settings)
        return found


def make_folder(folder: Path, overwrite: bool) -> None:
    """Makes an empty folder for a study, or empties that of an earlier one.

    Raises:
        InputError: something else is there, or an earlier study that may not be replaced.
    """
    if folder.exists():
        if not folder.is_dir():
            raise InputError("is a file", str(folder), "choose another place: --out DIR")
        if any(folder.iterdir()) and not any(folder.glob(OF_STUDY[0])):
            raise InputError("is not empty, and not the folder of a study", str(folder), "choose another: --out DIR")
        if any(folder.iterdir()) and not overwrite:
            raise InputError("holds a study already", str(folder), "choose another: --out DIR, or give --overwrite")
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        for pattern in OF_STUDY:
            for path in folder.glob(pattern):
                shutil.rmtree(path) if path.is_dir() else path.unlink()


def measure_all(study: Study, found: Sequence[Size], say: Callable[[str], None]) -> None:
    """Makes all turns; sizes that fail leave a result that says why.

    All sizes are there at the same time and take turns, so that what else the machine does meets all of them alike.
    One that lacks memory is tried again alone. Where the launcher cannot hold several programs they come one after
    another.

    Args:
        study: its settings.
        found: its sizes.
        say: prints a line about the progress.
    """
    if study.launcher.alternates:
        alone = _alternate(study, found, say)
        found = alone if len(found) > 1 else ()
    elif len(found) > 1:
        say("srun without --overlap: the numbers of ranks are measured one after another, not in turns")
    for size in found:
        _alternate(study, [size], say)


def _alternate(study: Study, found: Sequence[Size], say: Callable[[str], None]) -> list[Size]:
    """Lets some sizes take turns, and returns those that lacked memory."""
    short: list[Size] = []
    with ExitStack() as stack:
        processes: dict[Size, StudyProcess] = {}
        for size in found:
            say(f"{ranks_named(size.ranks)}: {size.atoms} atoms, starting")
            process = StudyProcess(study.command(size), study.folder / f"ranks-{size.ranks}.log")
            processes[size] = stack.enter_context(process)
            if not process.wait():
                _give_up(study, processes, size, short, say)
        for turn in range(study.timing.turns):
            say(f"turn {turn + 1} of {study.timing.turns}")
            for size in list(processes):
                if not processes[size].turn():
                    _give_up(study, processes, size, short, say)
    return short


def _give_up(
    study: Study, processes: dict[Size, StudyProcess], size: Size, short: list[Size], say: Callable[[str], None]
) -> None:
    """Takes a size out of the turns, and leaves a result that says why."""
    process = processes.pop(size)
    say(f"{ranks_named(size.ranks)}: {process.fault}")
    document: dict[str, Any] = {"ranks": size.ranks, "atoms": size.atoms, "error": process.fault}
    write_json(study.result(size.ranks), document)
    if process.lacked_memory:
        short.append(size)
