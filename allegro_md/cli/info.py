"""``allegro-md info MODEL``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def info(
    context: typer.Context, model: Annotated[Path, typer.Argument(metavar="MODEL", help="A file NAME.allegro.")]
) -> None:
    """Print the contents of a model file, and the engine that will run it."""
    comm = context.obj
    from allegro_md.models.modelfile import describe, load_model
    from allegro_md.potentials.allegro import choose

    with comm.collective_errors():
        if comm.rank == 0:
            typer.echo(describe(model))
            network = load_model(model)
            description = choose(network, network.architecture.symbols).info.description
            typer.echo("  on CPUs         " + description.replace("; ", f"\n{' ':18}"))
