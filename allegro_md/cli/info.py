"""``allegro-md info MODEL``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def info(
    context: typer.Context, model: Annotated[Path, typer.Argument(metavar="MODEL", help="A file NAME.allegro.")]
) -> None:
    """Print what a model file holds."""
    comm = context.obj
    from allegro_md.models.modelfile import describe

    with comm.together():
        if comm.rank == 0:
            typer.echo(describe(model))
