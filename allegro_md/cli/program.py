"""Finds the subcommand of `allegro-md`, and turns every failure into one message and one exit status.

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

from allegro_md.cli import (
    analyze,
    check,
    convert,
    doctor,
    evaluation,
    importing,
    info,
    plan,
    report,
    run,
    scale,
    train,
    tune,
    verify,
    warm,
)
from allegro_md.comm import FAILURE_SECONDS, Comm
from allegro_md.config.fields import nearest
from allegro_md.errors import AllegroError, InputError, InterruptedRun, ResourceError, out_of_memory, unusable_path
from allegro_md.launcher import launcher_rank

COMMANDS: dict[str, Callable[..., Any]] = {
    "run": run.run, "check": check.check, "verify": verify.verify, "info": info.info, "import": importing.import_model,
    "doctor": doctor.doctor, "train": train.train, "eval": evaluation.evaluate,
    "analyze": analyze.analyze, "report": report.report, "convert": convert.convert,
    "scale": scale.scale, "tune": tune.tune, "plan": plan.plan, "warm": warm.warm,
}
"""Subcommand → function; its file holds the help text."""

UNBUILT = ("label", "distill", "blend")
"""Subcommands of the contract that are not built yet."""

RANKLESS = ("check", "info", "report", "scale", "plan", "warm")
"""Subcommands that never start MPI, so that they run where it may not be started, as on login nodes."""

EXAMPLES = {
    "run": "Example: mpirun -n 4 allegro-md argon.toml --set dynamics.steps=2000",
    "check": "Example: allegro-md check argon.toml --ranks 4",
    "verify": "Example: mpirun -n 2 allegro-md verify argon.toml --json certificate.json",
    "train": "Example: allegro-md train copper.toml --set training.epochs=100",
    "eval": "Example: allegro-md eval cu.allegro test.extxyz --worst 10 --out errors",
    "convert": "Example: allegro-md convert run/trajectory.h5 frames.extxyz --frames 100::10",
    "info": "Example: allegro-md info cu.allegro",
    "import": "Example: allegro-md import trained_model/ cu.allegro",
    "analyze": "Example: mpirun -n 4 allegro-md analyze rdf run/trajectory.h5 --out analysis --rmax 10",
    "report": "Example: allegro-md report run/",
    "scale": "Example: allegro-md scale strong argon.toml --ranks 1,2,4",
    "tune": "Example: mpirun -n 4 allegro-md tune argon.toml --out faster.toml",
    "plan": "Example: allegro-md plan argon.toml --ranks 128 --device h100 --network infiniband-ndr",
    "doctor": "Example: mpirun -n 4 allegro-md doctor",
    "warm": "Example: srun --nodes 1 --ntasks 1 allegro-md warm ag.allegro",
}

app = typer.Typer(
    name="allegro-md", add_completion=False, pretty_exceptions_enable=False, no_args_is_help=True,
    context_settings={"help_option_names": ["--help", "-h"]},
    epilog="Example: mpirun -n 4 allegro-md argon.toml   (the same as: allegro-md run argon.toml)",
)
KEYS_AS_OPTIONS = {"allow_extra_args": True, "ignore_unknown_options": True}
"""Of a subcommand that reads options of its own from what is left of the command line."""

for _name, _function in COMMANDS.items():
    _settings = KEYS_AS_OPTIONS if _name == "analyze" else {}
    app.command(_name, epilog=EXAMPLES[_name], context_settings=_settings)(_function)


@app.callback(invoke_without_command=True)
def _program(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    """Molecular dynamics with strictly local Allegro models on any number of MPI ranks."""
    if version:
        from importlib.metadata import version as installed

        typer.echo(f"allegro-md {installed('allegro-md')}")
        raise typer.Exit


def run_program(arguments: list[str], signaled: Callable[[], bool]) -> int:
    """Runs the program on this rank and returns its exit status, see `allegro_md.cli.main`.

    Args:
        arguments: what follows the program's name.
        signaled: tells if a signal has come: whatever fails after it is its consequence.
    """
    try:
        comm = Comm.serial() if _needs_no_ranks(arguments) else Comm.world()
    except AllegroError as error:  # every process takes itself for rank 0: only the launcher knows better
        if launcher_rank() == 0:
            _say(error)
        return error.exit_status
    is_root = (launcher_rank() if _needs_no_ranks(arguments) else comm.rank) == 0
    with _only_root_prints(is_root), warnings.catch_warnings():
        if not sys.warnoptions:  # what libraries remark, once per rank, would bury the message
            warnings.simplefilter("ignore")
        try:
            return _dispatch(arguments, comm)
        except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001  the one place where everything ends
            expected = InterruptedRun("interrupted") if signaled() else _expected(error)
            if expected is None:
                _crash(comm)
            if is_root:
                _say(expected)
            if not comm.barrier(FAILURE_SECONDS):  # raised on some ranks only: the others would wait for ever
                if comm.rank > 0:
                    _say(expected)
                comm.abort(expected.exit_status)
            return expected.exit_status


def _needs_no_ranks(arguments: Sequence[str]) -> bool:
    """True where MPI is not started, also below mpirun: every process does the same, and the first one prints."""
    return not arguments or arguments[0] in RANKLESS or any(a in ("--help", "-h", "--version") for a in arguments)


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
    if status == InterruptedRun.exit_status:  # so typer answers a KeyboardInterrupt
        raise InterruptedRun("interrupted")
    return status if isinstance(status, int) else 0


def _expected(error: BaseException) -> AllegroError | None:
    """The failure as one of ours, or None for a fault of the program."""
    if isinstance(error, AllegroError):
        return error
    if out_of_memory(error):
        return ResourceError("out of memory — use more ranks or nodes, or a smaller system")
    if isinstance(error, (typer.Abort, KeyboardInterrupt)):
        return InterruptedRun("interrupted")
    if (fault := unusable_path(error)) is not None:
        return fault
    if hasattr(error, "format_message"):  # typer's usage errors share no public base class
        context = getattr(error, "ctx", None)
        command = "allegro-md" if context is None else context.command_path
        return InputError(error.format_message().rstrip("."), "command line", f"see {command} --help")
    return None


def _say(error: AllegroError) -> None:
    """A line on the terminal for each fault."""
    for fault in error.faults if isinstance(error, InputError) else (error,):
        print("allegro-md: " + " ".join(str(fault).split()), file=sys.stderr, flush=True)


def _crash(comm: Comm) -> NoReturn:
    """Shows the traceback of an unexpected exception and ends all ranks."""
    if comm.rank > 0:
        time.sleep(1.0)  # when rank 0 has the same fault its report ends this process first
    traceback.print_exc()
    comm.abort(1)


@contextlib.contextmanager
def _only_root_prints(is_root: bool) -> Iterator[None]:
    """Help texts and results appear once, not once per rank."""
    if is_root:
        yield
        return
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
        yield
