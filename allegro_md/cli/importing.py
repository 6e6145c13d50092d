"""``allegro-md import SOURCE OUT.allegro`` (`import` is a keyword of Python, hence the name of this file)."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def import_model(
    context: typer.Context,
    source: Annotated[Path, typer.Argument(metavar="SOURCE", help="A nequip-allegro package or checkpoint, or a folder "
                                           "with config.json and weights.npz.")],
    out: Annotated[Path, typer.Argument(metavar="OUT.allegro", help="The model file to write.")],
) -> None:
    """Convert a trained model into our model file (packages and checkpoints need the extra `import`)."""
    comm = context.obj
    from allegro_md.models.convert.importer import import_model as convert

    with comm.collective_errors():
        if comm.rank == 0:
            convert(source, out)
