"""The option ``--json`` of the subcommands that have results."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from allegro_md.errors import InputError


def file_name(text: str) -> Path:
    """Reads the name of a file to write; a path forgets the slash at the end of a folder's name.

    Raises:
        InputError: it is the name of a folder.
    """
    if text.endswith("/"):
        raise InputError("is the name of a folder", text, "give the name of a file")
    return Path(text)


JsonFile = Annotated[
    Path | None,
    typer.Option("--json", metavar="FILE", parser=file_name,
                 help="Write the results as JSON; - prints them instead of the table."),
]

TERMINAL = Path("-")
"""As the file of ``--json``: standard output."""


def check_folder(path: Path | None) -> None:
    """Raises InputError where a file that is to be written has no folder; call it before the work begins."""
    if path is not None and not path.absolute().parent.is_dir():
        raise InputError("no such folder", str(path.parent), "make it, or choose another place")


def write_document(document: Mapping[str, Any], path: Path | None) -> None:
    """Writes the results where they are wanted.

    Raises:
        InputError: the place is wrong.
        ResourceError: the disk is full.
    """
    from allegro_md.io.disk import disk_errors, write_whole

    text = json.dumps(document, indent=2, ensure_ascii=False)
    if path == TERMINAL:
        typer.echo(text)
    elif path is not None and path.exists() and not path.is_file():  # a pipe or device stays what it is
        with disk_errors(path):
            path.write_text(text + "\n", encoding="utf-8")
    elif path is not None:
        write_whole(path, (text + "\n").encode())
