"""``allegro-md check INPUT.toml``."""

from __future__ import annotations

import typer

from allegro_md.cli.loading import Assignments, InputFile, load


def check(context: typer.Context, input_file: InputFile, assignments: Assignments = None) -> None:
    """Validate an input and print it with every default, rank grid, memory per rank and disk needed; run nothing."""
    comm = context.obj
    config = load(comm, input_file, assignments, check_grid=False)
    from allegro_md.simulation.plan import plan_run

    plan = {}
    with comm.together():
        if comm.rank == 0:
            plan = plan_run(config, config.parallel.ranks_wanted(comm.size))
    typer.echo(config.to_toml())
    for name, value in plan.items():
        typer.echo(f"# {name}: {value}")
