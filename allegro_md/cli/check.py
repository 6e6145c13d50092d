"""``allegro-md check INPUT.toml``."""

from __future__ import annotations

from typing import Annotated

import typer

from allegro_md.cli.loading import Assignments, InputFile, load, require_grid
from allegro_md.config.replicas import divide
from allegro_md.launcher import MOST_RANKS, Ranks, ranks_started


def check(
    context: typer.Context,
    input_file: InputFile,
    assignments: Assignments = None,
    ranks: Annotated[
        int | None, typer.Option("--ranks", metavar="N", min=1, max=MOST_RANKS, help="For N ranks, on any machine.")
    ] = None,
) -> None:
    """Validate an input and print it with every default, what was read of the structure (elements, cell, temperature,
    what was left out), rank grid, memory per rank and disk needed; run nothing, and never start MPI.

    Without --ranks, the needs are those on as many ranks as the launcher has started, or on one, and status 4 says
    that this host does not have their memory. With --ranks, they are compared with no host. Status 4 also says that the
    disk is too small. Of replicas, the division of the ranks and the needs of one replica are shown.
    """
    comm = context.obj
    config = load(comm, input_file, assignments, check_grid=False)
    there = ranks_started() if ranks is None else Ranks(ranks, here=0)
    if ranks is not None:
        require_grid(config, ranks, input_file)
    from allegro_md.io.structure import rows
    from allegro_md.simulation.resource_estimate import estimate_resources

    one, size, division = config, there.total, {}
    if config.replicas is not None:
        from allegro_md.simulation.replica_groups import division_of

        one, groups = config.replica(0), divide(config.replicas.count, size)
        size, division = len(groups[0].ranks), {"replicas": division_of(groups)}
    plan = estimate_resources(one, comm, there)
    n_ranks = one.parallel.ranks_wanted(size)
    typer.echo(config.to_toml())
    for name, value in (rows(plan.system) | division | plan.rows(n_ranks)).items():
        typer.echo(f"# {name}: {value}")
    if n_ranks == there.total and not division:
        plan.require()
