"""XYZ and extended XYZ files: keys in any case, columns that ASE drops, and where in the file a fault is."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from allegro_md.config.fields import SYMBOLS
from allegro_md.errors import InputError
from allegro_md.io.structure.contents import Contents, ReadOptions, left_out, standard_masses
from allegro_md.io.structure.elements import of_symbols
from allegro_md.io.structure.frames import CutShort, number_remedy, numbered, open_text, pick

_KEYS = {"lattice": "Lattice", "properties": "Properties", "pbc": "pbc", "periodic": "pbc"}
"""Keys of the comment line that mean something to us, in small letters, as ASE writes them."""

_COLUMNS = {
    "species": "species", "symbols": "species", "element": "species", "pos": "pos", "positions": "pos", "z": "Z",
    "numbers": "Z", "mass": "masses", "masses": "masses", "momenta": "momenta", "move_mask": "move_mask",
}
"""Columns that mean something to us, in small letters, as ASE calls them."""

_CELL_LIKE = {"cell", "box", "unit_cell", "cell_vectors"}

_VELOCITIES = ("vel", "velo", "velocity", "velocities")
"""Columns that look like velocities; only the first has a unit, that of GPUMD."""

VELOCITY_UNITS = {"Å/fs": 1.0, "A/fs": 1.0, "Å/ps": 1e-3, "A/ps": 1e-3, "nm/ps": 1e-2, "m/s": 1e-5}
"""Å/fs per unit."""


_WIDTHS = {"species": 1, "Z": 1, "pos": 3, "masses": 1, "momenta": 3, **dict.fromkeys(_VELOCITIES, 3)}

_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?|[-+]?(nan|inf|infinity)", re.IGNORECASE)


@dataclass
class TextFrame:
    """A frame of the file as text.

    Attributes:
        start: number of its first line.
        comment: its second line.
        lines: one per atom.
    """

    start: int
    comment: str
    lines: list[str]


def read_extxyz(path: Path, options: ReadOptions, where: str) -> Contents:
    """Reads a frame of an XYZ or extended XYZ file.

    Args:
        path: the file.
        options: `frame`, `types` and `velocity_unit` count.
        where: the file, for messages.

    Raises:
        InputError: the frame is cut or faulty, or its elements are not known.
    """
    with open_text(path) as file:
        frame, number, count = pick(text_frames(numbered(file), where), options.frame, where)
    before = number - 1 if count is not None and number == count - 1 else None
    contents, table, info = parse(frame, options, where, before)
    contents.remarks += left_out([*unused_columns(table), *info])
    contents.frame, contents.n_frames = number, count
    return contents


def parse(
    frame: TextFrame, options: ReadOptions, where: str, before: int | None = None
) -> tuple[Contents, dict[str, NDArray[np.str_]], dict[str, Any]]:
    """The atoms of a frame, all its columns as words (n, width), and the entries of its comment line that are left.

    Args:
        frame: the frame.
        options: `types` and `velocity_unit` count.
        where: the file, for messages.
        before: number of the frame before, where this is the last of the file.

    Raises:
        InputError: the frame is cut or faulty, or its elements are not known.
    """
    if not frame.lines:
        raise InputError("holds no atoms", where, "give a structure with atoms")
    info = _info(frame, where)
    columns = _columns(info.pop("Properties", "species:S:1:pos:R:3"), frame, where)
    table = _table(frame, columns, where, before)
    if "pos" not in table:
        raise InputError("has no column pos", where, "write the coordinates in Å as pos:R:3")
    numbers = _elements(table, columns, options, where)
    amu = reals(table, "masses", frame, where)
    masses = standard_masses(numbers) if amu is None else amu[:, 0]
    position = reals(table, "pos", frame, where)
    assert position is not None
    rows, periodic = _cell(info, frame, where)
    remarks: list[str] = []
    velocity = _velocities(table, masses, options.velocity_unit, frame, where, remarks)
    fixed = _fixed(table, frame, where)
    return Contents(rows, periodic, numbers, masses, position, velocity, remarks, fixed), table, info


def unused_columns(table: Mapping[str, NDArray[np.str_]]) -> list[str]:
    """The columns of a frame that are not atoms as `Contents` has them; `table` has words (n, width) by column."""
    return [name for name in table if name not in {*_COLUMNS.values(), *_VELOCITIES}]


def text_frames(lines: Iterator[tuple[int, str]], where: str) -> Iterator[TextFrame]:
    """The frames of a file; blank lines may stand between them.

    Raises:
        CutShort: it ends within one.
        InputError: a frame does not begin with a number of atoms.
    """
    for number, line in lines:
        if not line.strip():
            continue
        if not line.split()[0].isdigit():
            raise InputError(
                f"line {number}: a frame should begin with its number of atoms, found {line.strip()[:40]!r}",
                where,
                "give that number and as many lines of atoms, or another system.format",
            )
        n_atoms = int(line.split()[0])
        comment = next(lines, None)
        if comment is None:
            raise CutShort("it ends after its number of atoms")
        frame = TextFrame(number, comment[1], [])
        while len(frame.lines) < n_atoms:
            following = next(lines, None)
            if following is None:
                raise CutShort(f"{len(frame.lines)} of {n_atoms} atoms")
            frame.lines.append(following[1])
        yield frame


def _info(frame: TextFrame, where: str) -> dict[str, Any]:
    """The entries of the comment line, those that matter under the names of the format.

    Raises:
        InputError: an entry twice, or a cell under a name that the format does not have.
    """
    from ase.io.extxyz import key_val_str_to_dict

    written: dict[str, str] = {}
    line = frame.start + 1

    def proper(match: re.Match[str]) -> str:
        name = _KEYS.get(match.group(2).lower(), "")
        if name in written:
            message = f"line {line}: has {written[name]} and {match.group(2)}, which mean the same"
            raise InputError(message, where, "leave one of them")
        written[name] = match.group(2)
        return f"{match.group(1)}{name}="

    comment = re.sub(rf"(^|\s)({'|'.join(_KEYS)})\s*=\s*", proper, frame.comment, flags=re.IGNORECASE)
    comment = re.sub(r"(^|\s)(virial|stress)\s*=", r"\1\2_=", comment)  # ASE refuses any but nine numbers of these
    try:
        info = {key.removesuffix("_"): value for key, value in key_val_str_to_dict(comment).items()}
    except ValueError:
        remedy = number_remedy(frame.comment)
        raise InputError(f"line {line}: Lattice should be nine numbers", where, remedy) from None
    except IndexError:
        what = f"line {line}: the entries cannot be told apart"
        raise InputError(what, where, "write them as key=value, values with blanks in quotation marks") from None
    if not {"Lattice", "Properties", "pbc"} & set(info):  # an ordinary comment
        info = {key: value for key, value in info.items() if key.lower() in _CELL_LIKE and np.size(value) in (3, 9)}
    near = [key for key in info if key.lower() in _CELL_LIKE]
    if "Lattice" not in info and near:
        raise InputError(
            f"line {line}: gives {near[0]}, but a cell is called Lattice in extended XYZ",
            where,
            'write Lattice="ax ay az bx by bz cx cy cz"',
        )
    return info


def _columns(properties: Any, frame: TextFrame, where: str) -> list[tuple[str, int]]:
    """Names and widths of the columns, those that matter under the names of the format.

    Raises:
        InputError: the entry Properties is not made of names, types and widths, or names a column twice.
    """
    words = str(properties).split(":")
    line = f"line {frame.start + 1}: Properties={properties}"
    names, kinds, widths = words[::3], words[1::3], words[2::3]
    if len(words) % 3 or not all(names) or not set(kinds) <= set("RISL") or not all(w.isdigit() for w in widths):
        raise InputError(
            f"{line} cannot be read: names, types (R, I, S or L) and widths should alternate",
            where,
            "write it as species:S:1:pos:R:3, without colons within a name",
        )
    columns = [(_COLUMNS.get(name.lower(), name), int(width)) for name, width in zip(names, widths, strict=True)]
    for name, width in columns:
        twice = [given for given, (other, _) in zip(names, columns, strict=True) if other == name]
        if len(twice) > 1:
            raise InputError(f"{line} has the columns {' and '.join(twice)}, which mean the same", where, "rename one")
        if width != _WIDTHS.get(name, width):
            raise InputError(f"{line}: {name} should have {_WIDTHS[name]} columns, not {width}", where, "correct it")
    return columns


def _table(
    frame: TextFrame, columns: list[tuple[str, int]], where: str, before: int | None
) -> dict[str, NDArray[np.str_]]:
    """The words of each column, (n, width); `before` is the number of the frame before, where this is the last.

    Raises:
        InputError: a line has too few words.
    """
    total = sum(width for _, width in columns)
    words = [line.split() for line in frame.lines]
    for index, row in enumerate(words):
        if len(row) < total:
            what = f"line {frame.start + 2 + index} has {len(row)} columns, but {total} are declared"
            remedy = "correct the line, or Properties"
            if before is not None and row is words[-1]:
                what += ": the file was cut"
                remedy = f"frame = {before} is the last whole one" if before >= 0 else "give the whole file"
            raise InputError(what, where, remedy)
    table, at = {}, 0
    for name, width in columns:
        table[name] = np.array([row[at : at + width] for row in words])
        at += width
    return table


def reals(table: dict[str, NDArray[np.str_]], name: str, frame: TextFrame, where: str) -> NDArray[np.float64] | None:
    """(n, width) numbers of a column, or None where there is none.

    Raises:
        InputError: names the line of the word that is no number.
    """
    if name not in table:
        return None
    try:
        return table[name].astype(np.float64)
    except ValueError:
        for index, row in enumerate(table[name].tolist()):
            for word in row:
                if not _NUMBER.fullmatch(word):
                    what = f"line {frame.start + 2 + index}: {word!r} in the column {name} is not a number"
                    raise InputError(what, where, number_remedy(word)) from None
        raise InputError(f"the column {name} does not consist of numbers", where, "correct it") from None


def _fixed(table: dict[str, NDArray[np.str_]], frame: TextFrame, where: str) -> NDArray[np.bool_] | None:
    """(n, 3) components that the column move_mask fixes, or None; of one flag per atom or three, T where it moves."""
    if "move_mask" not in table:
        return None
    words = table["move_mask"]
    moves = np.isin(words, ("1", "T", "True"))
    wrong = ~moves & ~np.isin(words, ("0", "F", "False"))
    if wrong.any() or words.shape[1] not in (1, 3):
        row, column = np.argwhere(wrong)[0] if wrong.any() else (0, 0)
        what = f"line {frame.start + 2 + row}: move_mask should be one of T and F, or three; found {words[row, column]}"
        raise InputError(what, where, "write move_mask:L:1")
    fixed = np.broadcast_to(~moves, (len(words), 3))
    return fixed.copy() if fixed.any() else None


def _elements(
    table: dict[str, NDArray[np.str_]], columns: list[tuple[str, int]], options: ReadOptions, where: str
) -> NDArray[np.int64]:
    """(n,) atomic numbers, of symbols or of a column of atomic numbers."""
    if "species" in table:
        return of_symbols(table["species"][:, 0].tolist(), options.types, where)
    if "Z" not in table:
        raise InputError("says of no atom which element it is", where, "write a column species:S:1")
    words = table["Z"][:, 0].tolist()
    if options.types is not None:
        return of_symbols(words, options.types, where)
    bad = next((word for word in words if not word.isdigit() or not 1 <= int(word) <= len(SYMBOLS)), None)
    if bad is not None:
        raise InputError(
            f"has atoms with atomic number {bad}: are these types?",
            where,
            f'name the elements, for example system.types = {{ {bad} = "Ar" }}',
        )
    return np.array([int(word) for word in words], dtype=np.int64)


def _cell(info: dict[str, Any], frame: TextFrame, where: str) -> tuple[NDArray[np.float64], tuple[bool, bool, bool]]:
    """(3, 3) Å lattice rows and which axes are periodic; both entries are taken out of `info`."""
    lattice, flags = info.pop("Lattice", None), info.pop("pbc", None)
    if lattice is not None and np.shape(lattice) != (3, 3):
        remedy = number_remedy(frame.comment)
        raise InputError(f"line {frame.start + 1}: Lattice should be nine numbers", where, remedy)
    if flags is None:
        flags = lattice is not None
    three = np.ravel(flags).tolist() * (3 if np.ndim(flags) == 0 else 1)
    if len(three) != 3 or not all(flag in (0, 1) for flag in three):
        raise InputError(f"line {frame.start + 1}: pbc should be three of T and F", where, 'write pbc="T T F"')
    rows = np.zeros((3, 3)) if lattice is None else np.array(lattice, dtype=np.float64).T
    return rows, (bool(three[0]), bool(three[1]), bool(three[2]))


def _velocities(
    table: dict[str, NDArray[np.str_]], masses: NDArray[np.float64], unit: str | None, frame: TextFrame, where: str,
    remarks: list[str],
) -> NDArray[np.float64] | None:
    """Velocities (n, 3) Å/fs of a column whose meaning is certain, or None; `masses` (n,) amu."""
    from ase.units import fs

    momenta = reals(table, "momenta", frame, where)
    near = [name for name in table if name.lower() in _VELOCITIES]
    if momenta is not None and unit is None:
        remarks += left_out(near, "columns")
        return momenta / masses[:, None] * fs
    if not near:
        if unit is not None:
            raise InputError(
                "system.velocity_unit is given, but the file has no column of velocities", where,
                "remove the key" + ("; momenta have the unit of ASE" if momenta is not None else ""),
            )
        return None
    name = near[0]
    values = reals(table, name, frame, where)
    assert values is not None
    if unit is not None:
        return values * VELOCITY_UNITS[unit]
    if name.lower() == "vel":
        remarks.append("velocities taken from the column vel in Å/fs, as of GPUMD; system.velocity_unit says otherwise")
        return values
    remarks.append(
        f"velocities left out: the column {name} does not say its unit; "
        'name it, for example system.velocity_unit = "Å/ps", to use it'
    )
    return None
