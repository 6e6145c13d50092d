"""What the subcommands that take an input file share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from allegro_md.comm import Comm
from allegro_md.config import Input, load_input

InputFile = Annotated[Path, typer.Argument(metavar="INPUT.toml", help="The input file.")]
Assignments = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override a key, for example dynamics.steps=100; may be repeated. "
                 "Paths are relative to the input file."),
]


def load(comm: Comm, path: Path, assignments: list[str] | None, check_grid: bool = True) -> Input:
    """The validated input on every rank; only rank 0 reads it, and all fail together.

    Args:
        comm: the ranks.
        path: the input file.
        assignments: of ``--set``.
        check_grid: refuse a rank grid that does not fit the number of ranks.
    """
    config = None
    with comm.together():
        if comm.rank == 0:
            config = load_input(path, assignments or ())
            if check_grid:
                config.parallel.grid_for(comm.size, f"{path}, parallel.grid")
    config = comm.bcast(config)
    return config

