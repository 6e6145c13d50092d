"""What the subcommands that take an input file share."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated

import typer

from allegro_md.comm import Comm
from allegro_md.config import Input, load_input
from allegro_md.errors import InputError

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
            if check_grid and ranks_wanted(config, comm.size) != comm.size:
                wanted = ranks_wanted(config, comm.size)
                what = f"the grid {list(config.parallel.grid)} is for {wanted} ranks, but there are {comm.size}"
                raise InputError(what, f"{path}, parallel.grid", f'use mpirun -n {wanted}, or grid = "auto"')
    config = comm.bcast(config)
    return config


def ranks_wanted(config: Input, size: int) -> int:
    """How many ranks the input is for: its grid's, or the `size` there are."""
    grid = config.parallel.grid
    return size if isinstance(grid, str) else math.prod(grid)
