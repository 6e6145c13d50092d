"""``allegro-md verify INPUT.toml``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from allegro_md.cli.document import TERMINAL, JsonFile, check_folder, write_document
from allegro_md.cli.loading import Assignments, InputFile, load

if TYPE_CHECKING:
    from allegro_md.verify.result import VerifyReport


def verify(
    context: typer.Context,
    input_file: InputFile,
    assignments: Assignments = None,
    json_file: JsonFile = None,
) -> None:
    """Check the physics of an input on its own system, on as many MPI ranks as mpirun started; run nothing."""
    comm = context.obj
    config = load(comm, input_file, assignments)
    with comm.collective_errors():
        if comm.rank == 0:
            check_folder(json_file)
    from allegro_md.simulation.certificate import verify_full

    certificate = verify_full(config, comm)
    with comm.collective_errors():
        if comm.rank == 0:
            if json_file != TERMINAL:
                _table(certificate)
            write_document(certificate.as_dict(), json_file)
    certificate.require()


def _table(certificate: VerifyReport) -> None:
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
