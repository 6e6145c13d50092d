"""LAMMPS data files (`write_data`, `read_data`), whatever they are called."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from allegro_md.errors import InputError
from allegro_md.io.structure.contents import Contents, ReadOptions, left_out, standard_masses
from allegro_md.io.structure.elements import NUMBER_OF, listed, of_masses, of_types
from allegro_md.io.structure.frames import number_remedy
from allegro_md.io.structure.lammps_units import LammpsUnits, assumed_units, choose_units

_COUNT = re.compile(r"\s*(\d+)\s+atoms\s*(#.*)?$")
_BOX = re.compile(r"\s*\S+\s+\S+(\s+\S+)?\s+(xlo\s+xhi|avec)\b")

_HEADER = re.compile(r"(.*?)\s*\b(atoms|xlo xhi|ylo yhi|zlo zhi|xy xz yz|avec|bvec|cvec|abc origin)$")

_COLUMNS = {  # atom_style → columns before the coordinates, with the places of type and molecule
    "atomic": ("id", "type"), "charge": ("id", "type", "q"), "full": ("id", "molecule", "type", "q"),
    "molecular": ("id", "molecule", "type"), "bond": ("id", "molecule", "type"), "angle": ("id", "molecule", "type"),
}


def looks_like(head: list[str]) -> bool:
    """Tells if the first lines of a file are the header of a LAMMPS data file."""
    return any(_COUNT.match(line) for line in head) and any(_BOX.match(line) for line in head)


@dataclass
class _Parts:
    """A data file, cut at its section headers.

    Attributes:
        header: value of each entry of the header.
        sections: name → its lines, as (line number, words, comment).
        style: comment behind ``Atoms``.
        units: as the first line states, or None.
    """

    header: dict[str, str] = field(default_factory=dict)
    sections: dict[str, list[tuple[int, list[str], str]]] = field(default_factory=dict)
    style: str = ""
    units: str | None = None


def read_data(lines: list[str], options: ReadOptions, where: str) -> Contents:
    """Reads a LAMMPS data file, with unwrapped positions where it has image flags.

    Args:
        lines: of the file.
        options: `types` and `units` count; there is one frame.
        where: the file, for messages.

    Raises:
        InputError: the file is cut or faulty, its elements are not known, its atom_style or units are not.
    """
    contents, images, _ = parse(lines, options, where)
    if images is not None:
        contents.position = contents.position + images @ contents.rows
    return contents


def parse(
    lines: list[str], options: ReadOptions, where: str
) -> tuple[Contents, NDArray[np.float64] | None, NDArray[np.float64]]:
    """The atoms of a data file by ascending id, their image flags (n, 3) or None, and the corner (3,) Å of the box.

    Args:
        lines: of the file.
        options: `types` and `units` count.
        where: the file, for messages.

    Raises:
        InputError: the file is cut or faulty, its elements are not known, its atom_style or units are not.
    """
    parts = _cut(lines)
    units = choose_units(parts.units, options.units, where)
    remarks: list[str] = []
    kinds, position, ids, extra = _atoms(parts, where, remarks)
    rows, origin = (values * units.length for values in _box(parts, where))
    masses = _masses(parts, where)
    number = _elements(parts, set(kinds.tolist()), masses, options.types, where, remarks)
    numbers = np.array([number[k] for k in kinds.tolist()], dtype=np.int64)
    amu = standard_masses(numbers)
    if masses:
        amu = np.array([masses.get(k, m) for k, m in zip(kinds.tolist(), amu.tolist(), strict=True)])
    velocity = _velocities(parts, ids, units, where)
    if velocity is not None:
        remarks += assumed_units(parts.units, options.units)
    used = {"Atoms", "Masses", "Velocities", "Atom Type Labels"}
    remarks += left_out([n for n in parts.sections if n not in used], "sections")
    if "q" in _COLUMNS[parts.style]:
        remarks.append("not used of the file: charges")
    remarks.append("the file does not say which axes are periodic: all three; system.periodic says otherwise")
    contents = Contents(
        rows, (True, True, True), numbers, amu, position * units.length, velocity, remarks, n_frames=1
    )
    return contents, extra[:, :3] if extra.shape[1] else None, origin


def _cut(lines: list[str]) -> _Parts:
    """The header and the sections of a file."""
    parts = _Parts()
    stated = re.search(r"units\s*=\s*(\w+)", lines[0]) if lines else None
    parts.units = stated.group(1) if stated else None
    section = ""
    for number, line in enumerate(lines[1:], 2):
        text, _, comment = (part.strip() for part in line.partition("#"))
        if not text:
            continue
        if re.match(r"[A-Z][A-Za-z]", text) and not re.search(r"\d", text.replace("BondBond13", "")):
            section = " ".join(text.split())
            parts.sections[section] = []
            if section == "Atoms":
                parts.style = comment
        elif section:
            parts.sections[section].append((number, text.split(), comment))
        elif match := _HEADER.match(" ".join(text.split())):
            parts.header[match.group(2)] = match.group(1)
    return parts


def _numbers(words: list[str], where: str, line: int) -> list[float]:
    """The words of a line as numbers; line 0 stands for the header."""
    try:
        return [float(word) for word in words]
    except ValueError:
        text, place = " ".join(words), f"line {line}" if line else "the header"
        raise InputError(
            f"{place}: {text!r} should be numbers", where, number_remedy(text, "correct the line")
        ) from None


def _atoms(
    parts: _Parts, where: str, remarks: list[str]
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.int64], NDArray[np.float64]]:
    """Types (n,), coordinates (n, 3) in the file's unit, ids (n,) and image flags (n, 3) or (n, 0), by ascending id."""
    table, wanted = parts.sections.get("Atoms", []), parts.header.get("atoms", "0")
    if len(table) != int(wanted):
        raise InputError(
            f"says {wanted} atoms, but its section Atoms has {len(table)} lines: it was cut or is incomplete",
            where,
            "give the whole file",
        )
    if not table:
        raise InputError("holds no atoms", where, "give a structure with atoms")
    first = table[0][1]
    parts.style = _style(parts.style, first, where, remarks)
    columns = _COLUMNS[parts.style]
    at, width = len(columns), len(first)
    if width not in (at + 3, at + 6):
        raise InputError(
            f"line {table[0][0]}: {width} columns, but atom_style {parts.style} has {at + 3} or, with image flags, "
            f"{at + 6}",
            where,
            "correct the atom_style behind the word Atoms",
        )
    kind = columns.index("type")
    if not first[kind].lstrip("-").isdigit():
        raise InputError(
            f"line {table[0][0]}: gives type labels ({first[kind]}) in place of numbers, which cannot be read",
            where,
            "write the file with numbered types (write_data ... types numeric)",
        )
    for line, words, _ in table:
        if len(words) != width:
            raise InputError(
                f"line {line}: {len(words)} columns, the first atom has {width}", where, "correct the line"
            )
    values = np.array([_numbers(words, where, line) for line, words, _ in table])
    order = np.argsort(values[:, 0], kind="stable")
    values = values[order]
    if len(np.unique(values[:, 0])) != len(values):
        raise InputError("has two atoms with the same id", where, "correct the section Atoms")
    ids, kinds = values[:, 0].astype(np.int64), values[:, kind].astype(np.int64)
    return kinds, values[:, at : at + 3], ids, values[:, at + 3 :]


def _style(stated: str, first: list[str], where: str, remarks: list[str]) -> str:
    """The atom_style, stated behind ``Atoms`` or certain from the number of columns."""
    style = stated.split()[0] if stated else ""
    if style in _COLUMNS and len(stated.split()) == 1:
        return style
    if stated:
        raise InputError(
            f"has atom_style {stated}, which cannot be read",
            where,
            f"write it with one of {', '.join(_COLUMNS)}, or another format, such as a dump with element x y z",
        )
    whole = [bool(re.fullmatch(r"-?\d+", word)) for word in first]
    if len(first) == 5 or (len(first) == 8 and all(whole[5:])):
        return "atomic"
    if len(first) in (7, 10) and all(whole[:3]):
        remarks.append("the file does not name its atom_style: taken as full from the number of columns")
        return "full"
    raise InputError(
        f"does not name its atom_style, and {len(first)} columns can be read in more than one way",
        where,
        "write it behind the word Atoms, for example: Atoms # charge",
    )


def _box(parts: _Parts, where: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(3, 3) lattice rows and (3,) corner of the box in the file's unit."""
    header: dict[str, Any] = {
        key: _numbers(value.split(), where, 0) for key, value in parts.header.items() if key != "atoms"
    }
    try:
        if "avec" in header:
            rows = np.array([header["avec"], header["bvec"], header["cvec"]], dtype=np.float64).reshape(3, 3)
            return rows, np.array(header.get("abc origin", (0.0, 0.0, 0.0)), dtype=np.float64).reshape(3)
        sides = [header[key] for key in ("xlo xhi", "ylo yhi", "zlo zhi")]
        x, y, z = (high - low for low, high in sides)
        xy, xz, yz = header.get("xy xz yz", (0.0, 0.0, 0.0))
    except (KeyError, ValueError, IndexError):
        raise InputError(
            "its header has no complete box", where, "give the lines xlo xhi, ylo yhi and zlo zhi"
        ) from None
    return np.array([[x, 0.0, 0.0], [xy, y, 0.0], [xz, yz, z]]), np.array([low for low, _ in sides])


def _masses(parts: _Parts, where: str) -> dict[int, float]:
    """Mass of each type, amu, as the section Masses has them, in any order."""
    found = {}
    for line, words, _ in parts.sections.get("Masses", []):
        if len(words) < 2 or not words[0].isdigit():
            raise InputError(f"line {line}: expected a type and its mass", where, "correct the section Masses")
        found[int(words[0])] = _numbers(words[1:2], where, line)[0]
    return found


def _elements(
    parts: _Parts, kinds: set[int], masses: dict[int, float], types: Mapping[str, str] | None, where: str,
    remarks: list[str],
) -> dict[int, int]:
    """Atomic number of each type: the key `types`, what the file says, or the masses where they determine it."""
    named = {int(w[0]): c.split()[0] for _, w, c in parts.sections.get("Masses", []) if c}
    labels = [words for _, words, _ in parts.sections.get("Atom Type Labels", [])]
    named |= {int(words[0]): words[1] for words in labels if len(words) > 1 and words[0].isdigit()}
    said = {kind: NUMBER_OF[named[kind]] for kind in kinds if named.get(kind) in NUMBER_OF}
    if types is not None:
        number = of_types(kinds, types, where)
        if any(said.get(kind, z) != z for kind, z in number.items()):
            remarks.append(f"the file names other elements ({listed(said)}) than system.types, which was followed")
        return number
    if kinds <= set(said):
        return said
    if not kinds <= set(masses):
        return of_types(kinds, None, where)
    number = said | of_masses({kind: masses[kind] for kind in sorted(kinds - set(said))}, where)
    remarks.append(f"elements of the types taken from their masses: {listed(number)}")
    return number


def _velocities(parts: _Parts, ids: NDArray[np.int64], units: LammpsUnits, where: str) -> NDArray[np.float64] | None:
    """Velocities (n, 3) Å/fs in the order of `ids` (n,), or None."""
    table = parts.sections.get("Velocities")
    if table is None:
        return None
    of = {int(words[0]): _numbers(words[1:4], where, line) for line, words, _ in table if words[0].isdigit()}
    missing = [i for i in ids.tolist() if len(of.get(i, ())) != 3]
    if missing:
        what = f"has no velocity of atom {missing[0]}: it was cut or is incomplete"
        raise InputError(what, where, "give the whole file")
    return np.array([of[i] for i in ids.tolist()], dtype=np.float64) * units.velocity
