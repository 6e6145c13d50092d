"""Options of the subcommands that read a trajectory, and the trajectory they describe."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from allegro_md.errors import InputError
from allegro_md.units import parse_quantity

if TYPE_CHECKING:
    from allegro_md.io.frames import FrameSource

Frames = Annotated[
    str | None,
    typer.Option(metavar="A:B:C", help="Frames A to B − 1, every C-th, as slices of Python: :100, 50:, ::10; -1 is the "
                 "last one."),
]
Topology = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="A structure of the same atoms, for formats that name no elements, such as DCD "
                 "and XTC."),
]
Timestep = Annotated[
    str | None,
    typer.Option(metavar="TIME", help='Time between two frames, for example "10 fs", in place of the times of the '
                 "file."),
]
Types = Annotated[
    str | None, typer.Option(metavar="ELEMENTS", help="Elements of the types 1, 2, … of the file, for example Li,P,O.")
]
Units = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="LAMMPS units of a file that does not state them: metal (default), real or "
                 "electron."),
]
VelocityUnit = Annotated[
    str | None,
    typer.Option(metavar="UNIT", help="Unit of the column of velocities in an extended XYZ file, for example Å/ps."),
]


def open_source(
    path: Path, chosen: slice, *, topology: Path | None, timestep: str | None, types: str | None, units: str | None,
    velocity_unit: str | None,
) -> FrameSource:
    """Opens a trajectory as the options say; frames behind the chosen ones are not looked at.

    Raises:
        InputError: see `allegro_md.open_frames`.
    """
    from allegro_md.io.frames import open_frames

    between = None if timestep is None else parse_quantity(_number_or_text(timestep), "time", "--timestep")
    elements = None if types is None else [symbol.strip() for symbol in types.split(",")]
    return open_frames(
        path, topology=topology, timestep=between, types=elements, units=units, velocity_unit=velocity_unit,
        stop=_stop_of(chosen),
    )  # fmt: skip


def slice_of(text: str | None) -> slice:
    """Frames as on the command line: A:B:C, or one number.

    Raises:
        InputError: neither.
    """
    words = (text or ":").split(":")
    if len(words) > 3 or not all(re.fullmatch(r"(-?\d+)?", word.strip()) for word in words) or words == [""]:
        raise InputError(f"'{text}' does not name frames", "--frames", "write for example 0:100:10, :50 or -1")
    numbers = [int(word) if word.strip() else None for word in words]
    if len(numbers) == 1 and numbers[0] is not None:
        return slice(numbers[0], numbers[0] + 1 or None)
    if len(numbers) == 3 and numbers[2] is not None and numbers[2] < 1:
        raise InputError("frames are read forwards only", "--frames", "give a step of 1 or more")
    return slice(*numbers)


def _stop_of(chosen: slice) -> int | None:
    """Number of the frame from which on none is needed, where that is known without counting them."""
    counted_from_the_front = (chosen.start is None or chosen.start >= 0) and (chosen.stop or 0) > 0
    return chosen.stop if counted_from_the_front else None


def _number_or_text(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text
