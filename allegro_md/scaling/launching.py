"""Launchers, and processes that a study has started with them."""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from allegro_md.errors import InputError
from allegro_md.io.disk import disk_errors
from allegro_md.launcher import find_mpirun, launcher_words
from allegro_md.scaling.measure import READY

ONE_THREAD = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")
"""Set to 1 for the ranks where the user has not set them: a run computes on one thread per rank."""

EXIT_SECONDS = 20.0
"""Seconds that a process gets to end by itself."""

LAST_WORDS = 160
"""Characters of the last line of a process that failed."""

KILLED = (137, -9, 9)
"""Exit statuses of a process that was killed, often by the system for want of memory."""


class Launcher:
    """The words that start a program on n ranks.

    Attributes:
        text: as the user gave it, with ``{n}``.
        alternates: several programs started with it can be there at the same time.
    """

    def __init__(self, text: str | None, here: bool = True) -> None:
        """Reads it.

        Args:
            text: its words; None: the mpirun beside this Python, else the one on the path.
            here: it is called on this machine, so it must be there.

        Raises:
            InputError: it does not say where the number of ranks stands, or is not to be found.
        """
        if text is None:
            found = find_mpirun()
            if found is None:
                remedy = "pip install 'allegro-md[mpi]', or name yours: --launcher \"srun -n {n}\""
                raise InputError("there is no mpirun", "--launcher", remedy)
            text = f"{shlex.quote(found)} -n {{n}}"
        if "{n}" not in text:
            raise InputError("does not say where the number of ranks stands", f"--launcher {text}", "write {n} for it")
        words = launcher_words(text, here)
        self.text, self._words = text, words
        self.alternates = Path(words[0]).name != "srun" or "--overlap" in words

    def words(self, n: int) -> list[str]:
        """The command line in front of a program's."""
        return [word.replace("{n}", str(n)) for word in self._words]


class StudyProcess:
    """A process, on its ranks, that takes part in alternating measurements; it sleeps while others have their turn.

    Attributes:
        fault: why it ended before its last turn; empty while all is well.
        lacked_memory: it ended because memory was short, or it was killed.
    """

    def __init__(self, command: Sequence[str], log: Path) -> None:
        """Starts it; what it says goes into a file."""
        self.fault, self.lacked_memory, self._log = "", False, log
        environment = dict.fromkeys(ONE_THREAD, "1") | dict(os.environ)
        with disk_errors(log):
            file = log.open("w")
        with file:
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=file, text=True, env=environment
            )

    def wait(self) -> bool:
        """Waits until it is ready for its next turn; False: it has ended."""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.strip() == READY:
                return True
            with disk_errors(self._log), self._log.open("a") as file:
                file.write(line)
        self._explain(self._process.wait())
        return False

    def turn(self) -> bool:
        """Lets it have a turn and waits for the end of it; False: it has ended."""
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):  # it has ended: `wait` says why
            self._process.stdin.write("\n")
            self._process.stdin.flush()
        return self.wait()

    def _explain(self, status: int) -> None:
        lines = _lines(self._log)
        told = [line.removeprefix("allegro-md: ") for line in lines if line.startswith("allegro-md: ")]
        self.lacked_memory = status == 4 or status in KILLED
        if told:
            self.fault = told[-1]
        elif status in KILLED:
            self.fault = "it was killed, often a sign that the system ran out of memory"
        else:
            self.fault = f"it ended with status {status}: {_last(lines) or 'it said nothing'}"

    def __enter__(self) -> StudyProcess:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Ends it: without a reader of its standard input there are no more turns."""
        process = self._process
        assert process.stdin is not None and process.stdout is not None
        with suppress(BrokenPipeError):
            process.stdin.close()
        if not _ended(process):
            process.terminate()
        if not _ended(process):
            process.kill()
            process.wait()
        process.stdout.close()


def last_words(log: Path) -> str:
    """The last line of a log with something in it, shortened; empty where there is none."""
    return _last(_lines(log)) if log.is_file() else ""


def _lines(log: Path) -> list[str]:
    """The lines of a log."""
    return [line.strip() for line in log.read_text(errors="replace").splitlines()]


def _last(lines: Sequence[str]) -> str:
    """The last line with something in it, shortened; empty where there is none."""
    last = next((line for line in reversed(lines) if line), "")
    return last.removeprefix("allegro-md: ")[:LAST_WORDS]


def _ended(process: subprocess.Popen[str]) -> bool:
    """Waits for the end of a process, but not for ever."""
    try:
        process.wait(EXIT_SECONDS)
        return True
    except subprocess.TimeoutExpired:
        return False
