"""The option ``--json`` of the subcommands that have results."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from allegro_md.errors import InputError

JsonFile = Annotated[
    Path | None,
    typer.Option("--json", metavar="FILE", help="Write the results as JSON; - prints them instead of the table."),
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
        InputError: the file cannot be written.
    """
    text = json.dumps(document, indent=2, ensure_ascii=False)
    if path == TERMINAL:
        typer.echo(text)
    elif path is not None:
        try:
            path.write_text(text + "\n", encoding="utf-8")
        except OSError as error:
            raise InputError(f"cannot be written: {error.strerror}", str(path), "choose another place") from error
