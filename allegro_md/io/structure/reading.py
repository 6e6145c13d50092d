"""One frame of a structure file: which format it has, who reads it, and what a reader's failure means."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from allegro_md.config.fields import nearest
from allegro_md.errors import InputError
from allegro_md.io.structure import lammps_data, lammps_dump
from allegro_md.io.structure.cif import read_cif_file
from allegro_md.io.structure.contents import Contents, ReadOptions, from_ase, set_masses
from allegro_md.io.structure.extxyz import read_extxyz
from allegro_md.io.structure.frames import number_remedy, open_text, require_unmarked
from allegro_md.io.structure.molecular import read_gro, read_pdb
from allegro_md.io.structure.poscar import read_poscar

HEAD_LINES = 60
"""Lines at the beginning of a file that are looked at to know its format."""


def _read_data(path: Path, options: ReadOptions, where: str) -> Contents:
    if options.frame not in (0, -1):
        raise InputError(f"has no frame {options.frame}; a data file holds one", where, "0 or -1 is that frame")
    with open_text(path) as file:
        return lammps_data.read_data(file.read().splitlines(), options, where)


_READERS: dict[str, tuple[Callable[[Path, ReadOptions, str], Contents], set[str]]] = {
    "lammps-data": (_read_data, {"types", "units"}),
    "lammps-dump-text": (lammps_dump.read_dump, {"types", "units"}),
    "extxyz": (read_extxyz, {"types", "velocity_unit"}),
    "vasp": (read_poscar, {"types"}),
    "cif": (read_cif_file, set()),
    "gromacs": (read_gro, {"types"}),
    "proteindatabank": (read_pdb, {"types"}),
}
"""Format → reader, and the keys of `ReadOptions` that it heeds beside frame and format."""

OWN_READERS = frozenset(_READERS)
"""Formats with a reader of this package."""

_SAME = {"xyz": "extxyz", "lammps-dump": "lammps-dump-text", "poscar": "vasp", "pdb": "proteindatabank",
         "gro": "gromacs"}

_GUESSING = {
    "lammps-dump-binary": "does not name the elements of its atoms",
    "gpumd": "does not name the elements of its atoms (xyz.in of GPUMD 2)",
}
"""Formats of which ASE's reader invents the elements."""


def read_structure(path: Path, options: ReadOptions, masses: Mapping[str, float]) -> Contents:
    """Reads one frame of a structure file.

    Args:
        path: the file.
        options: how to read it.
        masses: amu per chemical symbol, in place of the file's.

    Raises:
        InputError: not a structure, no such frame, something in it that cannot be simulated or read in one way only,
            or a mass for an element that is not there.
    """
    where = str(path)
    if not path.is_file():
        raise InputError("no such structure file", where, "correct the path")
    require_unmarked(path, where)
    try:
        name = _format_of(path, options.format, where)
    except OSError as error:  # of a device, for example
        raise InputError(f"cannot be read: {error.strerror}", where, "name a file") from error
    read, keys = _READERS.get(name, (None, set()))
    for key in (f.name for f in fields(ReadOptions)):
        if key not in ("frame", "format", *keys) and getattr(options, key) is not None:
            raise InputError(f"system.{key} says nothing about a file in the format {name}", where, "remove the key")
    try:
        contents = read(path, options, where) if read is not None else _by_ase(path, name, options.frame, where)
    except (MemoryError, InputError):
        raise
    except Exception as error:  # noqa: BLE001  readers of ASE raise anything
        raise _failure(error, name, path) from None
    contents.format = name
    set_masses(contents, masses, where)
    return contents


def _format_of(path: Path, given: str | None, where: str) -> str:
    """ASE's name of the format: as given, as the content says, or as the name of the file does."""
    from ase.io.formats import UnknownFileTypeError, filetype, ioformats

    if given is not None:
        name = _SAME.get(given, given)
        if name not in ioformats or not ioformats[name].can_read:
            near = nearest(given, [*ioformats, *_SAME])
            remedy = f'did you mean "{near}"?' if near else 'for example "lammps-data", "extxyz" or "vasp"'
            raise InputError(f'system.format: ASE reads no format called "{given}"', where, remedy)
        return name
    head = _head(path)
    if lammps_dump.looks_like(head):
        return "lammps-dump-text"
    if lammps_data.looks_like(head):
        return "lammps-data"
    try:
        name = filetype(str(path))
    except (UnknownFileTypeError, ValueError):
        name = ""
    with path.open("rb") as file:
        if file.read(4) == b"\x89HDF":
            raise InputError(
                "is an HDF5 file, as trajectories and checkpoints are, and no structure file", where,
                "write the frame you want as extended XYZ (allegro-md convert FILE start.extxyz --frames -1), or "
                "continue its run with --resume",
            )  # fmt: skip
    if name not in ioformats:
        empty = path.stat().st_size == 0
        raise InputError(
            "is empty" if empty else "neither its name nor its content says which format it has", where,
            "give a whole file" if empty else 'name the format, for example system.format = "lammps-data" or "extxyz"',
        )
    return _SAME.get(name, name)


def _head(path: Path) -> list[str]:
    """The first lines of a file; empty where it is no text."""
    try:
        with open_text(path) as file:
            return [line for line, _ in zip(file, range(HEAD_LINES), strict=False)]
    except (UnicodeDecodeError, OSError, EOFError):
        return []


def _by_ase(path: Path, name: str, frame: int, where: str) -> Contents:
    """A frame as ASE reads it."""
    if name in _GUESSING:
        raise InputError(_GUESSING[name], where, "write it as extended XYZ, or as a text dump with a column element")
    atoms = _frame(path, name, frame)
    if atoms is None:
        raise InputError(f"has no frame {frame}", where, "0 is the first frame, -1 the last")
    contents = from_ase(atoms, where)
    contents.frame = frame
    return contents


def _frame(path: Path, name: str, frame: int) -> Any:
    """One frame of a file as `ase.Atoms`; None where the file ends before it."""
    from ase.io import read

    options: dict[str, Any] = {"format": name, "do_not_split_by_at_sign": True, "parallel": False}
    try:
        if frame >= -1:
            return read(path, index=frame, **options)
        # Some readers clip a negative index to the first frame: count what there is.
        tail = read(path, index=slice(frame, None), **options)
        return tail[0] if len(tail) == -frame else None
    except (IndexError, StopIteration, AssertionError):  # the last: formats that hold one frame only
        if frame in (0, -1):
            raise
        return None


def _failure(error: Exception, name: str, path: Path) -> InputError:
    """Explains the exception of a reader to somebody who does not know the reader."""
    where = str(path)
    text = " ".join(str(error).split())
    if isinstance(error, UnicodeDecodeError):
        text = "it is not a text file"
    elif isinstance(error, StopIteration | EOFError | IndexError):
        text = "it ends too early, or lines or columns of it are missing"
    elif isinstance(error, KeyError):
        text = f"it does not know what {text} is"
    elif isinstance(error, ImportError):
        return InputError(f"ASE needs another package to read {name} ({text})", where, "install it")
    text = text or f"{type(error).__name__}"
    remedy = "give a whole, correct file, or where it is of another format, name that with system.format"
    return InputError(f"cannot be read as {name}: {text[:200]}", where, number_remedy(_beginning(path), remedy))


def _beginning(path: Path) -> str:
    """The first million characters of a file; empty where it is no text."""
    try:
        with open_text(path) as file:
            return str(file.read(1_000_000))
    except (UnicodeDecodeError, OSError, EOFError):
        return ""
