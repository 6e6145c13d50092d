"""``allegro-md verify INPUT.toml``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from allegro_md.cli.loading import Assignments, InputFile, load
from allegro_md.errors import InputError

if TYPE_CHECKING:
    from allegro_md.verify.result import Certificate


def verify(
    context: typer.Context,
    input_file: InputFile,
    assignments: Assignments = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write the results as JSON; - prints them instead of "
                                  "the table.")
    ] = None,
) -> None:
    """Check the physics of an input on its own system, on as many MPI ranks as mpirun started; run nothing."""
    comm = context.obj
    config = load(comm, input_file, assignments)
    with comm.together():
        if comm.rank == 0 and json_file is not None and not json_file.parent.is_dir():
            raise InputError("no such folder", str(json_file.parent), "make it, or choose another place")
    from allegro_md.simulation.certificate import certify

    certificate = certify(config, comm)
    with comm.together():
        if comm.rank == 0:
            _show(certificate, json_file)
    certificate.require()


def _show(certificate: Certificate, json_file: Path | None) -> None:
    """The table, and the JSON document where it is wanted."""
    document = json.dumps(certificate.as_dict(), indent=2, ensure_ascii=False)
    if json_file == Path("-"):
        typer.echo(document)
        return
    _table(certificate)
    if json_file is not None:
        try:
            json_file.write_text(document + "\n")
        except OSError as error:
            raise InputError(f"cannot be written: {error.strerror}", str(json_file), "choose another place") from error


def _table(certificate: Certificate) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("check", "", "off by", "allowed", "atom", "compared", "worst", box=None, pad_edge=False)
    for result in certificate.results:
        status = "FAILED" if not result.passed else "passed" if result.compared else "-"
        figures = ["", "", ""]
        if result.compared:
            allowed = f"{result.tolerance:.1e}" if result.tolerance else "no bit"
            atom = "" if result.atom is None else str(result.atom)
            figures = [f"{result.measured:.1e} {result.unit}", allowed, atom]
        table.add_row(result.name, status, *figures, str(result.compared), result.explanation)
    console = Console(highlight=False)
    console.print(table)
    for remark in certificate.remarks:
        console.print(remark)
    console.print(f"{certificate.samples} sampled atoms, {certificate.seconds:.1f} s")
