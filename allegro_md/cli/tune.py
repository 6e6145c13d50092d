"""``allegro-md tune INPUT.toml``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from allegro_md.cli.document import check_folder, file_name
from allegro_md.cli.loading import Assignments, InputFile, load
from allegro_md.errors import AllegroError, InputError


def tune(
    context: typer.Context,
    input_file: InputFile,
    assignments: Assignments = None,
    repeats: Annotated[int, typer.Option(min=1, help="Trials of each setting; medians count.")] = 7,
    out: Annotated[Path | None, typer.Option("--out", metavar="FILE", parser=file_name,
                                             help="Write the fragment to a file; default: print it.")] = None,
) -> None:
    """Find the fastest skin and rank grid by short trials on the ranks of mpirun; print them as a part of an input.

    No result depends on these values. A change is proposed only where it is faster beyond the noise.
    """
    comm = context.obj
    config = load(comm, input_file, assignments)
    with comm.collective_errors():
        if comm.rank == 0:
            check_folder(out)
            if out is not None and out.exists():
                raise InputError("exists already", str(out), "remove it, or choose another name")
    from allegro_md.io.disk import write_whole
    from allegro_md.scaling.tuning import tune as find

    def say(line: str) -> None:
        if comm.rank == 0:
            typer.echo(line, err=True)

    text = find(config, input_file, repeats, comm, say)
    with comm.collective_errors():
        if comm.rank == 0 and out is not None:
            try:
                write_whole(out, text.encode())
            except AllegroError:
                typer.echo(text, nl=False)  # the trials are not lost
                raise
    typer.echo(text if out is None else f"the fragment is in {out}", nl=out is not None)
