"""``allegro-md train TRAIN.toml``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from allegro_md.allocator import keep_freed_memory
from allegro_md.cli.loading import Assignments, continued_by_resume, load_with
from allegro_md.config.load import load_training
from allegro_md.errors import InputError


def train(
    context: typer.Context,
    input_file: Annotated[Path, typer.Argument(metavar="TRAIN.toml", help="The training input.")],
    assignments: Assignments = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the checkpoint of the directory.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing training.")] = False,
) -> None:
    """Train a model, or a committee of them, on labeled configurations."""
    if resume and overwrite:
        raise InputError("--resume and --overwrite exclude each other", "command line", "use one of them")
    comm = context.obj
    config = load_with(load_training, comm, input_file, assignments)
    from allegro_md.compilation import CompilationWatch
    from allegro_md.io.run_directory import TRAINING, RunDirectory
    from allegro_md.training.session import TrainingRun

    with comm.collective_errors():
        if comm.rank == 0:
            RunDirectory.check(config.output.directory, resume=resume, overwrite=overwrite, contents=TRAINING)
    keep_freed_memory()
    with CompilationWatch(comm.rank == 0), continued_by_resume():
        TrainingRun(config, comm).run(resume=resume, overwrite=overwrite)
