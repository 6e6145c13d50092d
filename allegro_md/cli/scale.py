"""``allegro-md scale strong|weak INPUT.toml`` and ``allegro-md scale collect DIR``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from allegro_md.cli.loading import Assignments
from allegro_md.errors import InputError
from allegro_md.launcher import MOST_RANKS, is_rank_of_many

KINDS = ("strong", "weak")
COLLECT = "collect"

MOST_COUNTS = 64
"""Numbers of ranks of one study."""

Folder = Annotated[Path | None, typer.Option("--out", metavar="DIR", help="Folder of the study; default: "
                                             "scaling-KIND-NAME of the input.")]
Ranks = Annotated[str, typer.Option("--ranks", metavar="N,N,…", help="Numbers of ranks.")]
LauncherText = Annotated[str | None, typer.Option("--launcher", metavar="WORDS", help="Starts {n} ranks, for example "
                                                  "\"srun --overlap -n {n}\"; default: mpirun -n {n}; in "
                                                  "job scripts srun as the installed MPI needs it.")]


def scale(
    context: typer.Context,
    kind: Annotated[str, typer.Argument(metavar="strong|weak|collect", help="strong: the same system on all ranks; "
                                        "weak: the system of the input on each rank; collect: the results of jobs.")],
    source: Annotated[Path, typer.Argument(metavar="INPUT.toml|DIR", help="The input file; of collect the folder of "
                                           "the study.")],
    ranks: Ranks = "1,2,4",
    launcher: LauncherText = None,
    steps: Annotated[int, typer.Option(min=1, help="Timed steps of a turn.")] = 100,
    warmup: Annotated[int, typer.Option(min=1, help="Steps before the first turn.")] = 20,
    repeats: Annotated[int, typer.Option(min=1, help="Turns of each number of ranks; medians count.")] = 5,
    out: Folder = None,
    assignments: Assignments = None,
    with_output: Annotated[bool, typer.Option("--with-output", help="Write the files of the input within the timed "
                                              "steps; else they are without any output.")] = False,
    slurm: Annotated[bool, typer.Option("--slurm", help="Write job scripts instead of measuring.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an earlier study in the folder.")] = False,
) -> None:
    """Measure how a simulation scales with the number of ranks: table, CSV, plot, advice.

    Starts its ranks by itself, so it is not started with mpirun. The numbers of ranks take turns in making steps.
    """
    if is_rank_of_many():
        raise InputError("starts its ranks by itself", "allegro-md scale", "start it without mpirun")
    if kind == COLLECT:
        _refuse_options_of_a_study(context)
        _report(source)
        return
    if kind not in KINDS:
        raise InputError(f"there is no study '{kind}'", "scale", f"choose {', '.join((*KINDS, COLLECT))}")
    counts, folder = numbers(ranks), Path(f"scaling-{kind}-{source.stem}") if out is None else out
    from allegro_md.scaling.launching import Launcher
    from allegro_md.scaling.measure import Timing
    from allegro_md.scaling.sizes import Kind
    from allegro_md.scaling.slurm import require_nameable, srun, write_scripts
    from allegro_md.scaling.study import Study, measure_all

    starter = Launcher(srun() if slurm and launcher is None else launcher, here=not slurm)
    timing = Timing(steps, warmup, repeats, with_output)
    which: Kind = "weak" if kind == "weak" else "strong"
    study = Study(which, source, tuple(assignments or ()), counts, starter, timing, folder)
    if slurm:
        require_nameable(folder)
    sizes = study.prepare(overwrite)
    if slurm:
        _print(write_scripts(study, sizes))
        return
    measure_all(study, sizes, typer.echo)
    _report(folder)


def numbers(text: str) -> tuple[int, ...]:
    """Reads numbers of ranks, in ascending order.

    Raises:
        InputError: it is not a list of different positive numbers.
    """
    words, remedy = [word.strip() for word in text.split(",")], "write for example 1,2,4"
    if not text.strip():
        raise InputError("is empty", "--ranks", remedy)
    for word in words:
        if not word.isdecimal():
            raise InputError(f"'{word}' is not a number of ranks", f"--ranks {text}", remedy)
        if len(word.lstrip("0")) > len(str(MOST_RANKS)) or int(word) > MOST_RANKS:
            what = f"{word[:20]}{'…' * (len(word) > 20)} ranks are too many"
            raise InputError(what, "--ranks", f"give at most {MOST_RANKS}")
        if int(word) == 0:
            raise InputError("there is no study on 0 ranks", f"--ranks {text}", remedy)
    if twice := [word for word in words if [int(w) for w in words].count(int(word)) > 1]:
        raise InputError(f"{int(twice[0])} is given twice", f"--ranks {text}", "give each number once")
    if len(words) > MOST_COUNTS:
        raise InputError(f"{len(words)} numbers of ranks are too many", "--ranks", f"give at most {MOST_COUNTS}")
    return tuple(sorted(int(word) for word in words))


def _refuse_options_of_a_study(context: typer.Context) -> None:
    """Raises InputError where an option is given that only a measurement reads."""
    for option in context.command.params:
        source = context.get_parameter_source(option.name or "")
        if option.param_type_name == "option" and source is not None and source.name == "COMMANDLINE":
            raise InputError("does not apply to collect", option.opts[0], "give the folder of the study alone")


def _report(folder: Path) -> None:
    """Prints what a study has found; without any result the exit status is that of a fault."""
    from allegro_md.scaling.report import lines, write_files
    from allegro_md.scaling.results import read_results

    results = read_results(folder)
    _print(lines(results))
    typer.echo(write_files(results, folder))
    if not results.rows:
        raise typer.Exit(InputError.exit_status)


def _print(lines: list[str]) -> None:
    for line in lines:
        typer.echo(line)
