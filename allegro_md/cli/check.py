"""``allegro-md check INPUT.toml``."""

from __future__ import annotations

import typer

from allegro_md.cli.loading import Assignments, InputFile, load


def check(context: typer.Context, input_file: InputFile, assignments: Assignments = None) -> None:
    """Validate an input and print it with every default, what was read of the structure (elements, cell, temperature,
    what was left out), rank grid, memory per rank and disk needed; run nothing.

    Fails with status 4 where the ranks there are (of mpirun) do not have the memory, or the disk is too small.
    """
    comm = context.obj
    config = load(comm, input_file, assignments, check_grid=False)
    from allegro_md.io.structure import rows
    from allegro_md.simulation.resource_estimate import estimate_resources

    plan = estimate_resources(config, comm)
    n_ranks = config.parallel.ranks_wanted(comm.size)
    typer.echo(config.to_toml())
    for name, value in (rows(plan.system) | plan.rows(n_ranks)).items():
        typer.echo(f"# {name}: {value}")
    if n_ranks == comm.size:
        plan.require()
