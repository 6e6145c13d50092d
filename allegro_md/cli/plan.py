"""``allegro-md plan INPUT.toml --ranks N``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from allegro_md.cli.document import TERMINAL, JsonFile, check_folder, file_name, write_document
from allegro_md.cli.loading import Assignments, InputFile, load
from allegro_md.comm import Comm
from allegro_md.errors import InputError
from allegro_md.launcher import MOST_RANKS, launcher_rank


def plan(
    input_file: InputFile,
    ranks: Annotated[int, typer.Option("--ranks", metavar="N", min=1, max=MOST_RANKS, help="Number of ranks.")],
    device: Annotated[
        str | None,
        typer.Option("--device", metavar="NAME", help="What a rank runs on: a core or GPU of the table; this machine "
                     "if not given."),
    ] = None,
    network: Annotated[
        str | None, typer.Option("--network", metavar="NAME", help="Between nodes; infiniband-hdr if not given.")
    ] = None,
    launcher: Annotated[
        str | None,
        typer.Option("--launcher", metavar="COMMAND", help='Measure messages between two ranks that it starts '
                     'here, for example "mpirun -n {n}".'),
    ] = None,
    assignments: Assignments = None,
    json_file: JsonFile = None,
    plot: Annotated[
        Path | None, typer.Option("--plot", metavar="FILE", parser=file_name,
                           help="Draw time and efficiency to 10⁵ ranks, 10¹² atoms."),
    ] = None,
) -> None:
    """Predict memory per rank, time per step by part, communication and efficiency of a run on N ranks.

    Measures the input's potential, list and integrator for some seconds on one core of this machine, with a few copies
    of its system. Times on a device of the table follow from that; they are a forecast. Only --launcher starts MPI. Of
    several stages the first that makes steps of a timestep is planned, of replicas one.
    """
    if launcher_rank() > 0:
        return
    check_folder(json_file)
    check_folder(plot)
    if plot is not None and plot.suffix.lower() != ".png":
        raise InputError("is not the name of a PNG file", f"--plot {plot}", "let it end with .png")
    config = load(Comm.serial(), input_file, assignments, check_grid=False)
    from allegro_md.figures import png
    from allegro_md.io.disk import write_whole
    from allegro_md.scaling.links import measure_link
    from allegro_md.scaling.machine import require_known
    from allegro_md.scaling.plan import document, make_plan
    from allegro_md.scaling.plan_plot import draw
    from allegro_md.scaling.stage import measured_stage
    from allegro_md.scaling.wording import lines

    require_known(device, network)
    one = config if config.replicas is None else config.replica(0)
    one.parallel.grid_for(ranks, f"{input_file}, parallel.grid")
    measured_stage(one, str(input_file))
    measured = None if launcher is None else measure_link(launcher)
    made = make_plan(one, device, network, measured)
    if json_file != TERMINAL:
        typer.echo("\n".join(lines(made, ranks)))
    write_document(document(made, ranks) if json_file else {}, json_file)
    if plot is not None:
        write_whole(plot, png(draw(made)))
        if json_file != TERMINAL:
            typer.echo(f"picture written to {plot}")
