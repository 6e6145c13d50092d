"""``allegro-md convert IN OUT``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from allegro_md.cli.frames import Frames, Timestep, Topology, Types, Units, VelocityUnit, open_source, slice_of


def convert(
    context: typer.Context,
    source: Annotated[Path, typer.Argument(metavar="IN", help="A trajectory or structure: H5MD, extended XYZ, LAMMPS "
                                           "dump or data, and what MDAnalysis or ASE reads.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The file to write; its name says the format: .h5, "
                                        ".extxyz, .data, .dump, .dcd, or as ASE has it.")],
    frames: Frames = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace OUT if it is there.")] = False,
    topology: Topology = None,
    timestep: Timestep = None,
    types: Types = None,
    units: Units = None,
    velocity_unit: VelocityUnit = None,
) -> None:
    """Convert a trajectory or a structure into another format.

    What the new format cannot hold is said in a line each.
    """
    comm = context.obj
    chosen = slice_of(frames)
    from allegro_md.io.convert import convert as write

    with comm.collective_errors():
        if comm.rank == 0:
            trajectory = open_source(
                source, chosen, topology=topology, timestep=timestep, types=types, units=units,
                velocity_unit=velocity_unit,
            )  # fmt: skip
            with trajectory:
                count = write(trajectory, chosen, out, lambda line: typer.echo(f"remark: {line}", err=True), overwrite)
            typer.echo(f"wrote {count} frame{'s' * (count != 1)} of {trajectory.n_atoms} atoms to {out}")
