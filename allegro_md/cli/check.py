"""``allegro-md check INPUT.toml``."""

from __future__ import annotations

import typer

from allegro_md.cli.loading import Assignments, InputFile, load
from allegro_md.config.replicas import divide


def check(context: typer.Context, input_file: InputFile, assignments: Assignments = None) -> None:
    """Validate an input and print it with every default, what was read of the structure (elements, cell, temperature,
    what was left out), rank grid, memory per rank and disk needed; run nothing.

    Fails with status 4 where the ranks there are (of mpirun) do not have the memory, or the disk is too small.
    Of replicas, the division of these ranks and the needs of one replica are shown.
    """
    comm = context.obj
    config = load(comm, input_file, assignments, check_grid=False)
    from allegro_md.io.structure import rows
    from allegro_md.simulation.resource_estimate import estimate_resources

    one, size, division = config, comm.size, {}
    if config.replicas is not None:
        from allegro_md.simulation.replica_groups import division_of

        one, groups = config.replica(0), divide(config.replicas.count, comm.size)
        size, division = len(groups[0].ranks), {"replicas": division_of(groups)}
    plan = estimate_resources(one, comm)
    n_ranks = one.parallel.ranks_wanted(size)
    typer.echo(config.to_toml())
    for name, value in (rows(plan.system) | division | plan.rows(n_ranks)).items():
        typer.echo(f"# {name}: {value}")
    if n_ranks == comm.size and not division:
        plan.require()
