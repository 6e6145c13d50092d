"""``allegro-md report RUN_DIR``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from allegro_md.cli.document import check_folder, file_name
from allegro_md.errors import InputError
from allegro_md.launcher import launcher_rank

PORT = 8000


def report(
    directory: Annotated[Path, typer.Argument(metavar="RUN_DIR", help="The directory of a run.")],
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", parser=file_name, help="The page; RUN_DIR/report.html if not given."),
    ] = None,
    watching: Annotated[
        bool, typer.Option("--watch", help="Serve a page that follows the run; writes no file. Ctrl-C ends it.")
    ] = False,
    port: Annotated[
        int | None, typer.Option("--port", metavar="N", min=1, max=65535, help=f"Of --watch; {PORT} if not given.")
    ] = None,
) -> None:
    """Write one page about a run: what ran, warnings, means with errors, plots, observables and the atoms."""
    if launcher_rank() > 0:
        return
    if watching and out is not None:
        raise InputError("--watch and --out exclude each other", "command line", "leave one out")
    if port is not None and not watching:
        raise InputError("--port belongs to --watch", "command line", "add --watch, or leave it out")
    from allegro_md.report.page import NAME, write_report
    from allegro_md.report.watch import watch

    if watching:
        watch(directory, PORT if port is None else port, lambda line: print(line, flush=True))
        return
    check_folder(out)
    if out is not None and out.is_dir():
        raise InputError("is a folder", str(out), f"give a file, for example {out / NAME}")
    page = directory / NAME if out is None else out
    write_report(directory, page)
    typer.echo(f"report written to {page}")
