"""Opens a trajectory of any format: which one it is, and who reads it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

from allegro_md.config.fields import SYMBOLS
from allegro_md.errors import InputError
from allegro_md.io.frame_index import NAME
from allegro_md.io.frames import extxyz, lammps_dump, structure
from allegro_md.io.frames.mdanalysis import open_mdanalysis
from allegro_md.io.frames.options import FrameOptions, named_here
from allegro_md.io.frames.source import FrameSource
from allegro_md.io.trajectory import Trajectory

HEAD_BYTES = 4096
"""Bytes at the beginning of a file that are looked at to know its format."""


@dataclass(frozen=True)
class Format:
    """One format of trajectories.

    Attributes:
        name: for messages.
        recognizes: tells by path and first bytes if a file has it.
        open: opens a file.
        heeds: the statements of `FrameOptions` that say something about such a file.
    """

    name: str
    recognizes: Callable[[Path, bytes], bool]
    open: Callable[[Path, FrameOptions], FrameSource]
    heeds: frozenset[str]


def _is_hdf5(path: Path, head: bytes) -> bool:
    return head.startswith(b"\x89HDF") and path.suffix.lower() not in (".nc", ".ncdf")


FORMATS = (
    Format("H5MD", _is_hdf5, lambda path, options: Trajectory(path, options.stop), frozenset()),
    Format("LAMMPS dump", lammps_dump.recognizes, lammps_dump.open_dump, frozenset({"types", "units", "timestep"})),
    Format("extended XYZ", extxyz.recognizes, extxyz.open_extxyz, frozenset({"types", "velocity_unit", "timestep"})),
    Format("a structure", structure.recognizes, structure.open_structure, frozenset({"types", "units", "timestep"})),
    Format("MDAnalysis", lambda *_: True, open_mdanalysis, frozenset({"topology", "types", "timestep"})),
)
"""All formats; the first that recognizes a file opens it."""


def open_frames(
    path: str | Path,
    *,
    topology: str | Path | None = None,
    timestep: float | None = None,
    types: Mapping[str, str] | Sequence[str] | None = None,
    units: str | None = None,
    velocity_unit: str | None = None,
    stop: int | None = None,
) -> FrameSource:
    """Opens a trajectory: H5MD of this program, LAMMPS dump, extended XYZ, or any format that MDAnalysis or ASE reads.

    Args:
        path: the file.
        topology: structure file that names the elements, of the same atoms in the same order; for formats that do not,
            such as DCD and XTC.
        timestep: time between two frames, fs, in place of the times of the file.
        types: element of each type number or name of the file; a series of elements is that of the types 1, 2, ….
        units: LAMMPS units of a dump that does not state them; metal where none are given.
        velocity_unit: unit of the column of velocities in an extended XYZ file, such as "Å/ps".
        stop: frames from this number on are not looked at, so that a file may be read that ends within one.

    Raises:
        InputError: no such file, no frames, a frame that is cut or has other atoms than the first, elements that are
            not known, or a statement that says nothing about a file of this format.
    """
    named = dict(types.items() if isinstance(types, Mapping) else enumerate(types or (), 1))
    options = FrameOptions(
        None if topology is None else Path(topology), timestep, {str(k): s for k, s in named.items()} or None, units,
        velocity_unit, stop,
    )
    path = Path(path)
    _check(options, str(path))
    form = _format_of(path)
    for field in fields(options):
        if field.name not in form.heeds | {"stop"} and getattr(options, field.name) is not None:
            what = f"{field.name} says nothing about a file in the format {form.name}"
            raise InputError(what, str(path), "leave it out")
    try:
        return form.open(path, options)
    except InputError as error:  # readers of structures name the keys of an input file
        raise InputError(named_here(error.what), error.where, named_here(error.remedy)) from None


def _check(options: FrameOptions, where: str) -> None:
    """Raises InputError for statements that can be true of no file."""
    unknown = [symbol for symbol in (options.types or {}).values() if symbol not in SYMBOLS]
    if unknown:
        raise InputError(f"types names {unknown[0]}, which is no chemical symbol", where, "write for example Li")
    if options.timestep is not None and not (np.isfinite(options.timestep) and options.timestep > 0.0):
        what = f"timestep must be positive, got {options.timestep!r}"
        raise InputError(what, where, "give the time between two frames in fs")
    if options.stop is not None and options.stop < 1:
        raise InputError(f"no frame is before frame {options.stop}", where, "ask for at least one frame")


def _format_of(path: Path) -> Format:
    """The format of a file.

    Raises:
        InputError: there is no such file, or it is empty, a folder or a pipe.
    """
    if path.is_dir():
        raise InputError("is a folder", str(path), f"give the file, for example {path / NAME}")
    if not path.exists():
        raise InputError("no such file", str(path), "correct the path")
    if not path.is_file():
        raise InputError("is a pipe or a device, and cannot be read twice", str(path), "write it to a file first")
    try:
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", str(path), "give a file that can be read") from error
    if not head.strip():
        raise InputError("holds no frames: it is empty", str(path), "give a file with at least one frame")
    return next(form for form in FORMATS if form.recognizes(path, head))
