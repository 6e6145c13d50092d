"""Loading of input files, shared by the subcommands."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from allegro_md.comm import Comm
from allegro_md.config import Input, load_input
from allegro_md.config.replicas import require_grid_of_groups
from allegro_md.errors import DiskFullError, ResourceError

T = TypeVar("T")

InputFile = Annotated[Path, typer.Argument(metavar="INPUT.toml", help="The input file.")]
Assignments = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override a key, for example dynamics.steps=100; may be repeated. "
                 "Paths are relative to the input file."),
]


@contextmanager
def continued_by_resume() -> Iterator[None]:
    """Adds to the message about a full disk how the work goes on."""
    try:
        yield
    except DiskFullError as error:
        raise ResourceError(f"{error}, then --resume") from error


def load_with(
    read: Callable[[Path, Sequence[str]], T], comm: Comm, path: Path, assignments: list[str] | None,
    check: Callable[[T], None] | None = None,
) -> T:
    """The validated input on every rank; only rank 0 reads it, and all fail together.

    Args:
        read: of an input file of this kind, with overrides.
        comm: the ranks.
        path: the input file.
        assignments: of ``--set``.
        check: what else rank 0 must find right.
    """
    config: Any = None
    with comm.collective_errors():
        if comm.rank == 0:
            config = read(path, assignments or ())
            if check is not None:
                check(config)
    result: T = comm.bcast(config)
    return result


def load(comm: Comm, path: Path, assignments: list[str] | None, check_grid: bool = True) -> Input:
    """The validated input of a simulation, see `load_with`; `check_grid` refuses one for another number of ranks."""

    def check(config: Input) -> None:
        if check_grid:
            require_grid(config, comm.size, path)

    return load_with(load_input, comm, path, assignments, check)


def require_grid(config: Input, size: int, path: Path) -> None:
    """Refuses a rank grid that is for another number of ranks than `size`.

    Raises:
        InputError: names the file and the key.
    """
    where = f"{path}, parallel.grid"
    if config.replicas is None:
        config.parallel.grid_for(size, where)
    else:
        require_grid_of_groups(config.parallel, config.replicas.count, size, where)
