"""GROMACS (.gro) and Protein Data Bank files: ASE reads them, but it cuts the names of atoms to one letter."""

from __future__ import annotations

import io
import re
from pathlib import Path

import numpy as np

from allegro_md.config.fields import SYMBOLS
from allegro_md.errors import InputError
from allegro_md.io.structure.contents import Contents, ReadOptions, from_ase, standard_masses
from allegro_md.io.structure.elements import of_atom_names, of_symbols
from allegro_md.io.structure.frames import open_text, pick

_ATOM = ("ATOM  ", "HETATM")

_SILENT = ("atomtypes", "residuenames", "residuenumbers", "tags", "occupancy", "bfactor")


def read_gro(path: Path, options: ReadOptions, where: str) -> Contents:
    """Reads a .gro file of one frame.

    Args:
        path: the file.
        options: `types` names the elements of the names of atoms.
        where: the file, for messages.

    Raises:
        InputError: names that can be read in more than one way, or a fault.
    """
    from ase.io.gromacs import read_gromacs

    with open_text(path) as file:
        lines = file.read().rstrip().splitlines()
    if len(lines) < 3 or not lines[1].strip().isdigit():
        raise InputError("its second line should be the number of atoms", where, "give a .gro file")
    wanted = int(lines[1])
    if len(lines) != wanted + 3:
        raise InputError(
            f"says {wanted} atoms, but has {len(lines) - 3} lines of them: it was cut, or holds several frames", where,
            "give one whole frame, such as gmx trjconv -dump writes",
        )
    points = [match.start() for match in re.finditer(r"\.", lines[2][20:])]
    if len(points) < 3 or points[1] - points[0] != 8:
        raise InputError(
            "its coordinates are not written with three decimals, which the reader expects", where,
            "write it with three decimals (the default of gmx editconf)",
        )
    with open_text(path) as file:
        atoms = read_gromacs(file)
    contents = from_ase(atoms, where, _SILENT)
    return _with_names(contents, [str(n) for n in atoms.arrays["atomtypes"]], options, where)


def read_pdb(path: Path, options: ReadOptions, where: str) -> Contents:
    """Reads a model of a PDB file.

    Args:
        path: the file.
        options: `frame` counts the models; `types` names the elements of names of atoms, or of elements that are none.
        where: the file, for messages.

    Raises:
        InputError: partial occupancies, alternate locations, names that can be read in more than one way, or a fault.
    """
    from ase.io.proteindatabank import read_proteindatabank

    with open_text(path) as file:
        models = _models(file.read().splitlines())
    lines, number, count = pick(iter(models), options.frame, where)
    atoms = [line for line in lines if line.startswith(_ATOM)]
    remarks: list[str] = []
    for line in atoms:
        occupancy = line[54:60].strip()
        if line[16:17].strip() or (occupancy and 0.0 < float(occupancy) < 0.9995):
            raise InputError(
                f"atom {line[6:11].strip()} has an alternate location or is occupied to less than 1",
                where,
                "leave one whole atom per site, with an occupancy of 1 and no letter for its location",
            )
    symbols, names = [line[76:78].strip() for line in atoms], [line[12:16].strip() for line in atoms]
    if all(symbols):
        numbers = of_symbols(symbols, options.types, where)
    else:
        numbers, remark = of_atom_names(names, options.types, where)
        remarks += [remark] if remark else []
    written = iter(numbers.tolist())
    for index, line in enumerate(lines):
        if line.startswith(_ATOM):
            lines[index] = f"{line:<76.76}{SYMBOLS[next(written) - 1].upper():>2}"
        elif line.startswith("CRYST1") and line.split()[1:4] == ["1.000"] * 3:
            lines[index] = ""
            remarks.append("the cell of 1 Å stands for none (as of PDB files without a crystal)")
    contents = from_ase(read_proteindatabank(io.StringIO("\n".join(lines)), index=0), where, _SILENT)
    contents.remarks += remarks
    contents.frame, contents.n_frames = number, count
    return contents


def _models(lines: list[str]) -> list[list[str]]:
    """The lines of each model, with the cell that precedes it."""
    models: list[list[str]] = []
    header: dict[str, str] = {}
    atoms: list[str] = []
    for line in [*lines, "END"]:
        if line.startswith(("CRYST1", "ORIGX")):
            header[line[:6]] = line
        elif line.startswith(_ATOM):
            atoms.append(line)
        elif line.startswith(("END", "MODEL")) and atoms:
            models.append([*header.values(), *atoms])
            atoms = []
    return models


def _with_names(contents: Contents, names: list[str], options: ReadOptions, where: str) -> Contents:
    contents.numbers, remark = of_atom_names(names, options.types, where)
    contents.masses = standard_masses(np.asarray(contents.numbers))
    contents.remarks += [remark] if remark else []
    return contents
