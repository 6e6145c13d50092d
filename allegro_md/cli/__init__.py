"""The program `allegro-md`: answers signals and says what it does before anything slow is imported."""

from __future__ import annotations

import gc
import sys
from collections.abc import Sequence
from contextlib import suppress

from allegro_md.launcher import launcher_rank
from allegro_md.stopping import interrupt_on_signals

SILENT_COMMANDS = ("check", "eval", "info", "import", "doctor", "plan", "tune", "verify")
"""Subcommands whose standard output is a result that other programs may read."""


GARBAGE_EVERY = 50_000
"""Objects made between two searches for garbage: with Python's 700 they take a fifth of a start, and find nothing."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the program on this rank.

    Args:
        arguments: what follows the program's name; None takes them from the command line: the process ends after it.

    Returns:
        The exit status, the same on every rank: 0 done, 2 input, 3 physics, 4 resources, 130 interrupted.
    """
    if arguments is None:
        gc.set_threshold(GARBAGE_EVERY)
        status = main(sys.argv[1:])
        gc.freeze()  # Python would look through all that is left before it ends
        return status
    arguments = list(arguments)
    with interrupt_on_signals() as signaled:
        try:
            _say_what_is_read(arguments)
            from allegro_md.cli.program import run_program

            return run_program(arguments, signaled)
        except KeyboardInterrupt:  # before the ranks know of each other, or after they have parted
            if launcher_rank() == 0:
                print("allegro-md: interrupted before the run began", file=sys.stderr, flush=True)
            return 130


def _say_what_is_read(arguments: Sequence[str]) -> None:
    """Prints one line on rank 0: the imports that follow take seconds."""
    files = [a for a in arguments if a.endswith(".toml")]
    if files and arguments[0] not in SILENT_COMMANDS and "--help" not in arguments and launcher_rank() == 0:
        with suppress(OSError):  # nobody listens any more: no reason to stop
            print(f"reading {files[0]}", flush=True)
