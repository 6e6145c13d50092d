"""``allegro-md run INPUT.toml``, or just ``allegro-md INPUT.toml``."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from allegro_md.cache_folder import NO_CACHE
from allegro_md.cli.loading import Assignments, InputFile, continued_by_resume, load
from allegro_md.errors import InputError


def run(
    context: typer.Context,
    input_file: InputFile,
    assignments: Assignments = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the newest good checkpoint of the run directory.")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing run directory.")] = False,
    no_cache: Annotated[
        bool, typer.Option("--no-cache", help="Compute tables of models anew; neither read nor keep them.")
    ] = False,
) -> None:
    """Run a simulation on as many MPI ranks as mpirun started."""
    if resume and overwrite:
        raise InputError("--resume and --overwrite exclude each other", "command line", "use one of them")
    if no_cache:
        os.environ[NO_CACHE] = "1"
    comm = context.obj
    config = load(comm, input_file, assignments)
    if config.replicas is not None:
        from allegro_md.simulation.replicas import run_replicas

        with continued_by_resume():
            run_replicas(config, comm, resume=resume, overwrite=overwrite)
        return
    from allegro_md.simulation import Simulation

    with continued_by_resume():
        Simulation.from_config(config, comm, resume=resume, overwrite=overwrite).run()
