"""``allegro-md warm [MODEL …]``."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Annotated

import typer

from allegro_md.errors import InputError
from allegro_md.kernel_cache import kept_kernels
from allegro_md.launcher import rank_on_host


def warm(
    models: Annotated[
        list[Path] | None, typer.Argument(metavar="[MODEL]...", help="Files NAME.allegro that runs will use.")
    ] = None,
) -> None:
    """Compile all kernels for this kind of processor, make the tables of the models, and keep both, so that no run has
    to. Takes minutes the first time, seconds when all is there.

    Kernels of different kinds of processors are kept beside each other, also in a home that hosts share. Of several
    processes on a host, only the first compiles; MPI is never started. Start it once on each kind of node.
    """
    if rank_on_host() > 0:
        return
    kept = kept_kernels()
    if kept is None:
        raise InputError("there is no folder that only this user can write, to keep kernels in", "kernel cache",
                         "set XDG_CACHE_HOME to a folder of your own that others cannot write")
    from allegro_md.cache_folder import cache_folder
    from allegro_md.simulation.warming import trials

    with tempfile.TemporaryDirectory() as place:
        for trial in trials(models or [], Path(place)):
            before, began = _files(kept), time.perf_counter()
            trial.run(Path(place))
            new, seconds = len(_files(kept) - before), time.perf_counter() - began
            typer.echo(f"{trial.name}: {f'{new} kernels compiled' if new else 'nothing to compile'}, {seconds:.1f} s")
    files = _files(kept)
    size = sum(file.stat().st_size for file in files)
    typer.echo(f"kernels: {len(files)} files, {size / 1e6:.1f} MB, in {kept}")
    if models:
        typer.echo(f"tables of models: in {cache_folder() or 'no folder: there is none that only this user can write'}")


def _files(folder: Path) -> set[Path]:
    """Compiled kernels in a folder, those for other processors included."""
    return set(folder.rglob("*.nbc"))
