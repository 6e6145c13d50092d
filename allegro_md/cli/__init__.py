"""The program `allegro-md`: answers signals and says what it does before anything slow is imported."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from contextlib import suppress

from allegro_md.stopping import interrupt_on_signals

SILENT_COMMANDS = ("check", "eval", "info", "import", "doctor", "plan", "tune", "verify")
"""Subcommands whose standard output is a result that other programs may read."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the program on this rank.

    Args:
        arguments: what follows the program's name; None takes them from the command line.

    Returns:
        The exit status, the same on every rank: 0 done, 2 input, 3 physics, 4 resources, 130 interrupted.
    """
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    with interrupt_on_signals() as signaled:
        try:
            _say_what_is_read(arguments)
            from allegro_md.cli.program import run_program

            return run_program(arguments, signaled)
        except KeyboardInterrupt:  # before the ranks know of each other, or after they have parted
            if launcher_rank() == 0:
                print("allegro-md: interrupted before the run began", file=sys.stderr, flush=True)
            return 130


def launcher_rank() -> int:
    """This rank as the launcher tells it, before MPI is started; 0 without a launcher."""
    names = ("PMI_RANK", "PMIX_RANK", "OMPI_COMM_WORLD_RANK", "SLURM_PROCID")
    return next((int(os.environ[n]) for n in names if os.environ.get(n, "").isdigit()), 0)


def _say_what_is_read(arguments: Sequence[str]) -> None:
    """Prints one line on rank 0: the imports that follow take seconds."""
    files = [a for a in arguments if a.endswith(".toml")]
    if files and arguments[0] not in SILENT_COMMANDS and "--help" not in arguments and launcher_rank() == 0:
        with suppress(OSError):  # nobody listens any more: no reason to stop
            print(f"reading {files[0]}", flush=True)
