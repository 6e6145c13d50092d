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
    trust: Annotated[bool, typer.Option("--trust", help="Allow code in the file to run. A package always runs its own "
                                        "Python code when it is loaded, and most checkpoints name code to run; give "
                                        "this only for a file whose origin you know.")] = False,
) -> None:
    """Convert a trained model into our model file (packages and checkpoints need the extra `import`).

    The archive is looked into first; a file whose loading would run code is refused without --trust. A folder with
    config.json and weights.npz holds numbers only and never runs code.
    """
    comm = context.obj
    from allegro_md.models.convert.importer import import_model as convert

    with comm.collective_errors():
        if comm.rank == 0:
            convert(source, out, trust=trust)
