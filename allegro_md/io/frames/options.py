"""Statements about a trajectory file that does not say all by itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class FrameOptions:
    """Statements about a file.

    Attributes:
        topology: structure file that names the elements of the same atoms in the same order, or None.
        timestep: time between two frames, fs, which replaces the times of the file, or None.
        types: element of each type number or name of the file, or None.
        units: LAMMPS units of a file that does not state them, or None.
        velocity_unit: unit of the velocity columns of an extended XYZ file, or None.
        stop: frames from this number on are not looked at, so that a file may be read that ends within one; or None.
    """

    topology: Path | None = None
    timestep: float | None = None
    types: Mapping[str, str] | None = None
    units: str | None = None
    velocity_unit: str | None = None
    stop: int | None = None


def frames_before(number: int) -> str:
    """Says how to choose the frames before one of them, on the command line and in Python."""
    return f"--frames :{number} (in Python stop={number})"


def named_here(text: str) -> str:
    """A message of a reader of structures, about the keys of ``[system]``, as one about the statements above."""
    for key in ("; system.periodic says otherwise", ", or where it is of another format, name that with system.format"):
        text = text.replace(key, "")  # no statement here
    return text.replace("system.", "")
