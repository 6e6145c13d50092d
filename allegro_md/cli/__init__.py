"""The program `allegro-md`: finds the subcommand, and turns every failure into one message and one exit status.

Torch and everything above it are imported inside the subcommands, after the input has been validated.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from allegro_md.cli import check, doctor, evaluation, importing, info, run, train, verify
from allegro_md.comm import Comm
from allegro_md.config.fields import nearest
from allegro_md.errors import AllegroError, InputError, InterruptedRun, ResourceError, out_of_memory

COMMANDS: dict[str, Callable[..., Any]] = {
    "run": run.run, "check": check.check, "verify": verify.verify, "info": info.info, "import": importing.import_model,
    "doctor": doctor.doctor, "train": train.train, "eval": evaluation.evaluate,
}
"""Subcommand → function; its file holds the help text."""

UNBUILT = ("analyze", "report", "scale", "plan")
"""Subcommands of the contract that are not built yet."""

PATIENCE = 5.0
"""Seconds within which all ranks are expected to fail together."""

EXAMPLES = {
    "run": "Example: mpirun -n 4 allegro-md argon.toml --set dynamics.steps=2000",
    "check": "Example: mpirun -n 4 allegro-md check argon.toml",
    "verify": "Example: mpirun -n 2 allegro-md verify argon.toml --json certificate.json",
    "train": "Example: allegro-md train copper.toml --set training.epochs=100",
    "eval": "Example: allegro-md eval cu.allegro test.extxyz --worst 10 --out errors",
    "info": "Example: allegro-md info cu.allegro",
    "import": "Example: allegro-md import trained_model/ cu.allegro",
    "doctor": "Example: mpirun -n 4 allegro-md doctor",
}

app = typer.Typer(
    name="allegro-md", add_completion=False, pretty_exceptions_enable=False, no_args_is_help=True,
    context_settings={"help_option_names": ["--help", "-h"]},
    epilog="Example: mpirun -n 4 allegro-md argon.toml   (the same as: allegro-md run argon.toml)",
)
for _name, _function in COMMANDS.items():
    app.command(_name, epilog=EXAMPLES[_name])(_function)


@app.callback(invoke_without_command=True)
def _program(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    """Molecular dynamics with strictly local Allegro models on any number of MPI ranks."""
    if version:
        from importlib.metadata import version as installed

        typer.echo(f"allegro-md {installed('allegro-md')}")
        raise typer.Exit


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the program on this rank.

    Args:
        arguments: what follows the program's name; None takes them from the command line.

    Returns:
        The exit status, the same on every rank: 0 done, 2 input, 3 physics, 4 resources, 130 interrupted.
    """
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    try:
        comm = Comm.world()
    except AllegroError as error:  # every process takes itself for rank 0: only the launcher knows better
        if _launcher_rank() == 0:
            _say(error)
        return error.exit_status
    with _only_root_prints(comm), warnings.catch_warnings():
        if not sys.warnoptions:  # warnings of libraries, once per rank, would hide the message
            warnings.simplefilter("ignore")
        try:
            return _dispatch(arguments, comm)
        except (Exception, KeyboardInterrupt) as error:  # the one place where everything ends
            expected = _expected(error)
            if expected is None:
                _crash(comm)
            if comm.rank == 0:
                _say(expected)
            if not comm.barrier(PATIENCE):  # raised on some ranks only: the others would wait for ever
                if comm.rank > 0:
                    _say(expected)
                comm.abort(expected.exit_status)
            return expected.exit_status


def _dispatch(arguments: list[str], comm: Comm) -> int:
    """Calls the subcommand; a first word that is none of them is an input file."""
    first = arguments[0] if arguments else "--help"
    if first in UNBUILT:
        raise InputError(f"'{first}' is not yet available", "allegro-md", f"available: {', '.join(COMMANDS)}")
    if first not in (*COMMANDS, "--help", "-h", "--version"):
        near = nearest(first, COMMANDS)
        if near and not Path(first).exists():
            raise InputError("no such input file or subcommand", first, f"did you mean '{near}'?")
        arguments = ["run", *arguments]
    status = app(args=arguments or [first], prog_name="allegro-md", standalone_mode=False, obj=comm)
    return status if isinstance(status, int) else 0


def _expected(error: BaseException) -> AllegroError | None:
    """The failure as one of ours, or None for a fault of the program."""
    if isinstance(error, AllegroError):
        return error
    if out_of_memory(error):
        return ResourceError("out of memory — use more ranks or nodes, or a smaller system")
    if isinstance(error, (typer.Abort, KeyboardInterrupt)):
        return InterruptedRun("interrupted")
    if hasattr(error, "format_message"):  # typer's usage errors share no public base class
        return InputError(error.format_message().rstrip("."), "command line", "see allegro-md --help")
    return None


def _say(error: AllegroError) -> None:
    """One line on the terminal."""
    print("allegro-md: " + " ".join(str(error).split()), file=sys.stderr, flush=True)


def _crash(comm: Comm) -> NoReturn:
    """Shows the traceback of an unexpected exception and ends all ranks."""
    if comm.rank > 0:
        time.sleep(1.0)  # when rank 0 has the same fault its report ends this process first
    traceback.print_exc()
    comm.abort(1)


def _launcher_rank() -> int:
    names = ("PMI_RANK", "PMIX_RANK", "OMPI_COMM_WORLD_RANK", "SLURM_PROCID")
    return next((int(os.environ[n]) for n in names if os.environ.get(n, "").isdigit()), 0)


@contextlib.contextmanager
def _only_root_prints(comm: Comm) -> Iterator[None]:
    """Help texts and results appear once, not once per rank."""
    if comm.rank == 0:
        yield
        return
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
        yield
