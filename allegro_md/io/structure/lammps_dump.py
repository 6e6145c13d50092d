"""LAMMPS dump files in text form (`dump custom`, `dump atom`), whatever they are called."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from allegro_md.errors import InputError
from allegro_md.io.structure.contents import Contents, ReadOptions, left_out, standard_masses
from allegro_md.io.structure.elements import listed, of_masses, of_symbols, of_types
from allegro_md.io.structure.frames import CutShort, number_remedy, numbered, open_text, pick
from allegro_md.io.structure.lammps_units import assumed_units, choose_units

WRAPPED = (("x", "y", "z"), ("xs", "ys", "zs"))
"""Columns of coordinates that LAMMPS has wrapped, in the unit of length and as fractions of the cell."""

UNWRAPPED = (("xu", "yu", "zu"), ("xsu", "ysu", "zsu"))
"""Columns of unwrapped coordinates, in the unit of length and as fractions of the cell."""

_COORDINATES = (WRAPPED[0], UNWRAPPED[0], WRAPPED[1], UNWRAPPED[1])
_VELOCITIES = ("vx", "vy", "vz")
_QUIET = {"id", "type", "element", "mass", "ix", "iy", "iz", *_VELOCITIES, *"xyz"}
_QUIET |= {name for names in _COORDINATES for name in names}


@dataclass
class DumpFrame:
    """A frame of the file as text.

    Attributes:
        start: number of its first line.
        items: words behind the name of each item, and its lines.
        units: as ``ITEM: UNITS`` of this or an earlier frame says, or None.
    """

    start: int
    items: dict[str, tuple[list[str], list[str]]] = field(default_factory=dict)
    units: str | None = None


def looks_like(head: list[str]) -> bool:
    """Tells if the first lines of a file are those of a dump."""
    first = next((line for line in head if line.strip()), "")
    return first.startswith("ITEM:") and any(line.startswith("ITEM: TIMESTEP") for line in head)


def read_dump(path: Path, options: ReadOptions, where: str) -> Contents:
    """Reads a frame of a dump file.

    Args:
        path: the file.
        options: `frame`, `types` and `units` count.
        where: the file, for messages.

    Raises:
        InputError: the frame is cut or faulty, its elements or units are not known.
    """
    with open_text(path) as file:
        frame, number, count = pick(dump_frames(numbered(file)), options.frame, where)
    contents, table, _ = parse(frame, options, where)
    contents.remarks += unused_columns(table, contents)
    contents.frame, contents.n_frames = number, count
    return contents


def parse(
    frame: DumpFrame, options: ReadOptions, where: str
) -> tuple[Contents, dict[str, NDArray[np.str_]], NDArray[np.float64]]:
    """The atoms of a frame by ascending id, their columns as words (n,) in that order, the corner (3,) Å of the box.

    Args:
        frame: the frame.
        options: `types` and `units` count.
        where: the file, for messages.

    Raises:
        InputError: the frame is faulty, its elements or units are not known.
    """
    units = choose_units(frame.units, options.units, where)
    columns, lines = frame.items["ATOMS"]
    table = _table(columns, lines, frame.start, where)
    if "id" in columns:
        order = np.argsort(ids_of(table, where), kind="stable")
        table = {name: values[order] for name, values in table.items()}
    rows, origin, periodic = box(frame, where)
    remarks: list[str] = []
    numbers, masses = _elements(table, options, where, remarks)
    velocity = None
    if set(_VELOCITIES) <= set(columns):
        velocity = vectors(table, _VELOCITIES, where) * units.velocity
        remarks += assumed_units(frame.units, options.units)
    position = positions(table, rows, origin, where) * units.length
    contents = Contents(rows * units.length, periodic, numbers, masses, position, velocity, remarks)
    return contents, table, origin * units.length


def ids_of(table: Mapping[str, NDArray[np.str_]], where: str) -> NDArray[np.int64]:
    """(n,) numbers of the atoms, of the column id of `table`, which has words (n,) by column.

    Raises:
        InputError: one is no whole number.
    """
    try:
        return table["id"].astype(np.int64)
    except (ValueError, OverflowError):
        bad = next((w for w in table["id"].tolist() if not re.fullmatch(r"[-+]?\d{1,18}", w)), "")
        raise InputError(f"{bad!r} in the column id is no whole number", where, "correct the file") from None


def unused_columns(table: Mapping[str, NDArray[np.str_]], contents: Contents, used: Collection[str] = ()) -> list[str]:
    """The remark about columns of a frame that are not used.

    Args:
        table: column → words (n,).
        contents: made of them.
        used: columns that the caller uses.
    """
    quiet = _QUIET if contents.velocity is not None else _QUIET - set(_VELOCITIES)
    return left_out([name for name in table if name not in quiet and name not in used], "columns")


def dump_frames(lines: Iterator[tuple[int, str]]) -> Iterator[DumpFrame]:
    """The frames of a dump.

    Raises:
        CutShort: it ends within one.
    """
    frame, units, name = DumpFrame(1), None, ""
    for number, line in lines:
        if line.startswith("ITEM:"):
            name, words = _item(line[5:])
            if name in ("TIMESTEP", "UNITS", "TIME") and "ATOMS" in frame.items:
                yield _whole(frame)
                frame = DumpFrame(number)
            frame.items[name] = (words, [])
        elif name and line.strip():
            frame.items[name][1].append(line)
            if name == "UNITS":
                units = line.strip()
        frame.units = units
    if frame.items:
        yield _whole(frame)


def _item(text: str) -> tuple[str, list[str]]:
    words = text.split()
    for name in ("BOX BOUNDS", "NUMBER OF ATOMS"):
        if text.strip().startswith(name):
            return name, words[len(name.split()) :]
    return (words[0], words[1:]) if words else ("", [])


def _whole(frame: DumpFrame) -> DumpFrame:
    """The frame, unless something of it is missing.

    Raises:
        CutShort: says what is missing.
    """
    if not {"NUMBER OF ATOMS", "BOX BOUNDS", "ATOMS"} <= set(frame.items) or not frame.items["NUMBER OF ATOMS"][1]:
        raise CutShort("it ends before its atoms")
    wanted = frame.items["NUMBER OF ATOMS"][1][0].strip()
    columns, lines = frame.items["ATOMS"]
    if not wanted.isdigit() or len(lines) != int(wanted):
        raise CutShort(f"{len(lines)} of {wanted} atoms")
    if lines and len(lines[-1].split()) < len(columns):
        raise CutShort(f"the line of its last atom has {len(lines[-1].split())} of {len(columns)} columns")
    return frame


def _table(columns: list[str], lines: list[str], start: int, where: str) -> dict[str, NDArray[np.str_]]:
    """The columns of the atoms as words."""
    words = [line.split() for line in lines]
    for index, row in enumerate(words):
        if len(row) != len(columns):
            raise InputError(
                f"atom {index} of the frame that begins in line {start} has {len(row)} columns, not {len(columns)}",
                where,
                "correct the line",
            )
    return {name: np.array([row[k] for row in words]) for k, name in enumerate(columns)}


def vectors(table: dict[str, NDArray[np.str_]], names: tuple[str, str, str], where: str) -> NDArray[np.float64]:
    """(n, 3) of three columns."""
    try:
        return np.stack([table[name].astype(np.float64) for name in names], axis=1)
    except ValueError as error:
        raise InputError(
            f"columns {' '.join(names)}: {error}", where, number_remedy(str(error), "correct the file")
        ) from None


def box(frame: DumpFrame, where: str) -> tuple[NDArray[np.float64], NDArray[np.float64], tuple[bool, bool, bool]]:
    """(3, 3) lattice rows, (3,) origin, in the file's unit, and which axes are periodic."""
    words, lines = frame.items["BOX BOUNDS"]
    flags = words[-3:] if len(words) >= 3 else ["pp", "pp", "pp"]
    periodic = (flags[0] == "pp", flags[1] == "pp", flags[2] == "pp")
    try:
        bounds = np.array([[float(x) for x in line.split()] for line in lines])
        if words[:2] == ["abc", "origin"]:
            return bounds[:, :3], bounds[:, 3], periodic
        lower, upper = bounds[:, 0].copy(), bounds[:, 1].copy()
        xy, xz, yz = bounds[:, 2] if bounds.shape[1] == 3 else (0.0, 0.0, 0.0)
    except (ValueError, IndexError):
        raise InputError(
            f"the box of the frame that begins in line {frame.start} cannot be read", where,
            number_remedy("\n".join(lines)),
        ) from None
    # A tilted box comes as its bounding box.
    lower -= (min(0.0, xy, xz, xy + xz), min(0.0, yz), 0.0)
    upper -= (max(0.0, xy, xz, xy + xz), max(0.0, yz), 0.0)
    x, y, z = upper - lower
    return np.array([[x, 0.0, 0.0], [xy, y, 0.0], [xz, yz, z]]), lower, periodic


def positions(
    table: dict[str, NDArray[np.str_]], rows: NDArray[np.float64], origin: NDArray[np.float64], where: str,
    choice: Sequence[tuple[str, str, str]] = _COORDINATES,
) -> NDArray[np.float64]:
    """Coordinates (n, 3) in the file's unit, of the first columns of a choice that are there.

    Args:
        table: column → words (n,).
        rows: (3, 3), of the cell, in the file's unit.
        origin: (3,), of the cell, in the file's unit.
        where: the file, for messages.
        choice: names of columns; those that begin with xs are fractions.

    Raises:
        InputError: none is there, or one is no number.
    """
    for names in choice:
        if set(names) <= set(table):
            values = vectors(table, names, where)
            return values @ rows + origin if names[0].startswith("xs") else values
    raise InputError("has no coordinates", where, "write x y z, xu yu zu or xs ys zs")


def _elements(
    table: dict[str, NDArray[np.str_]], options: ReadOptions, where: str, remarks: list[str]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """(n,) atomic numbers and (n,) masses in amu."""
    try:
        mass = table["mass"].astype(np.float64) if "mass" in table else None
        kinds = table["type"].astype(np.int64) if "type" in table else None
    except (ValueError, OverflowError) as error:
        raise InputError(f"columns type and mass: {error}", where, "correct the file") from None
    if "element" in table:
        numbers = of_symbols(table["element"].tolist(), options.types, where, capitals=False)
    elif kinds is not None and (options.types is not None or mass is None):
        number = of_types(kinds.tolist(), options.types, where)
        numbers = np.array([number[kind] for kind in kinds.tolist()], dtype=np.int64)
    elif mass is not None:
        kinds = 1 + np.unique(mass, return_inverse=True)[1] if kinds is None else kinds
        of = dict(zip(kinds.tolist(), mass.tolist(), strict=True))
        number = of_masses(of, where)
        numbers = np.array([number[kind] for kind in kinds.tolist()], dtype=np.int64)
        remarks.append(f"elements of the types taken from their masses: {listed(number)}")
    else:
        raise InputError("says of no atom which element it is", where, "write a column element or type")
    return numbers, standard_masses(numbers) if mass is None else mass
