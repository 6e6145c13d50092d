"""POSCAR and CONTCAR files of VASP: ASE reads them, after a look at what it passes over."""

from __future__ import annotations

import io
import re
from pathlib import Path

from allegro_md.config.fields import SYMBOLS
from allegro_md.errors import InputError
from allegro_md.io.structure.contents import Contents, ReadOptions, from_ase
from allegro_md.io.structure.frames import open_text


def read_poscar(path: Path, options: ReadOptions, where: str) -> Contents:
    """Reads a POSCAR or CONTCAR file.

    Args:
        path: the file.
        options: `types` names the elements of a file of VASP 4, which does not.
        where: the file, for messages.

    Raises:
        InputError: no elements, velocities in direct coordinates, or a fault.
    """
    from ase.io.vasp import read_vasp

    with open_text(path) as file:
        lines = file.read().splitlines()
    remarks: list[str] = []
    counts_at = 5 if len(lines) > 5 and lines[5].split() and lines[5].split()[0].isdigit() else 6
    counts = _counts(lines, counts_at, where)
    if counts_at == 5:
        elements = _elements(lines[0], len(counts), options, where, remarks)
        lines[5:5] = [" ".join(elements)]
    elif options.types is not None:
        raise InputError("names its elements itself", where, "remove system.types")
    first = 8
    selective = len(lines) > 7 and lines[7].strip()[:1].lower() == "s"
    if selective:
        first += 1
    atoms_end = first + sum(counts)
    if len(lines) < atoms_end:
        raise InputError(
            f"says {sum(counts)} atoms, but has {max(0, len(lines) - first)} lines of them: it was cut", where,
            "give the whole file",
        )
    _check_velocities(lines[atoms_end:], sum(counts), where, remarks)
    contents = from_ase(read_vasp(io.StringIO("\n".join(lines) + "\n")), where)
    contents.remarks += remarks
    contents.n_frames = 1
    return contents


def _counts(lines: list[str], at: int, where: str) -> list[int]:
    words = lines[at].split("!")[0].split() if len(lines) > at else []
    if not words or not all(word.isdigit() for word in words):
        raise InputError(
            f"line {at + 1} should hold the numbers of atoms of each element", where,
            'give a POSCAR or CONTCAR file, or say what it is with system.format',
        )
    return [int(word) for word in words]


def _elements(title: str, n_kinds: int, options: ReadOptions, where: str, remarks: list[str]) -> list[str]:
    """Symbols of the kinds of a file of VASP 4: the key `types`, else its first line where that holds nothing else."""
    if options.types is not None:
        missing = [str(k) for k in range(1, n_kinds + 1) if str(k) not in options.types]
        if missing:
            raise InputError(f"has {n_kinds} kinds of atoms, and system.types does not name kind {missing[0]}", where,
                             "name an element for each kind")
        return [options.types[str(k)] for k in range(1, n_kinds + 1)]
    words = title.split()
    if len(words) == n_kinds and all(word in SYMBOLS for word in words):
        remarks.append(f"elements taken from the first line: {', '.join(words)}")
        return words
    example = ", ".join(f'"{symbol}"' for symbol in ("Ar", "Kr", "Xe", "Ne")[:n_kinds])
    raise InputError(
        "does not name its elements (VASP 4)", where,
        f"name them in the line before the numbers of atoms, or for example system.types = [{example}]",
    )


def _check_velocities(rest: list[str], n_atoms: int, where: str, remarks: list[str]) -> None:
    """Refuses velocities that ASE would take for Å/fs although they are not, and a block that was cut."""
    if rest and rest[0].strip().lower().startswith("l"):  # lattice velocities: state, 3 vectors, 3 rows
        remarks.append("not used of the file: lattice velocities")
        rest = rest[8:]
    if not rest:
        return
    block = [line.split() for line in rest[1 : 1 + n_atoms]]
    if not block or len(block[0]) < 2:  # nothing, or what a predictor and corrector needs
        return
    if len(block) < n_atoms or any(len(words) != 3 for words in block):
        raise InputError("its block of velocities is not whole", where, "correct it, or remove it")
    if re.match(r"[dD]", rest[0].strip()):
        raise InputError(
            "gives velocities in direct coordinates: in cell vectors per POTIM, and POTIM is in another file", where,
            "remove the block of velocities, or write it in cartesian coordinates (Å/fs)",
        )
