"""Facts about labels that ASE's readers hide: see the functions."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

from allegro_md.errors import InputError

STRESS, VIRIAL = "stress", "virial"

_MARK = "allegro_md_"
_HIDDEN = re.compile(r'(?<=\s)(stress|virial)(?=\s*=)|^(stress|virial)(?=\s*=)')
_ITERATION = re.compile(r"-+ Iteration\s+(\d+)\(\s*(\d+)\)")
_UNITS = {"metal": "eV", "real": "kcal/mol"}


def with_marked_stresses(text: str) -> str:
    """The text of an extended XYZ file in which ASE does not know stress and virial.

    ASE refuses six numbers in these two, and takes six of nine even where they are not symmetric.

    Args:
        text: of the file; one that is not of this format comes back as it is, for ASE to complain.
    """
    lines = text.splitlines(keepends=True)
    start = 0
    while start + 1 < len(lines):
        try:
            count = int(lines[start])
        except ValueError:
            break
        lines[start + 1] = _HIDDEN.sub(lambda match: _MARK + match[0], lines[start + 1])
        start += count + 2
    return "".join(lines)


def unmarked(name: str) -> str:
    """The name of an entry as the file has it."""
    return name.removeprefix(_MARK) if name in (_MARK + STRESS, _MARK + VIRIAL) else name


def check_dump(path: Path) -> str | None:
    """The unit of energies in a LAMMPS dump, None where it says nothing.

    Raises:
        InputError: it has types without elements, which ASE takes for hydrogen, helium, …; or unknown units.
    """
    unit = None
    with path.open(encoding="utf-8", errors="replace") as file:
        for line in file:
            if line.startswith("ITEM: UNITS"):
                style = next(file, "").strip()
                if style not in _UNITS:
                    remedy = "convert the file to metal units"
                    raise InputError(f"is in the units '{style}' of LAMMPS, which are not read", str(path), remedy)
                unit = _UNITS[style]
            if line.startswith("ITEM: ATOMS"):
                if "element" not in line.split():
                    remedy = "dump the column element, and name the elements with dump_modify … element"
                    raise InputError("has numbered atom types and no elements", str(path), remedy)
                return unit
    return unit


def vasp_convergence(path: Path, text: str) -> list[bool]:
    """Convergence of the electronic iteration in each ionic step of an OUTCAR or a vasprun.xml.

    A step is not converged if it took the largest number of iterations, NELM.

    Args:
        path: tells which of the two.
        text: its content.

    Returns:
        A flag per ionic step; empty where the file does not tell.
    """
    if path.name.lower().partition(".xml")[1]:
        return _of_xml(text)
    match = re.search(r"^\s*NELM\s*=\s*(\d+)", text, re.MULTILINE)
    last: dict[int, int] = {}
    for iteration in _ITERATION.finditer(text):
        last[int(iteration[1])] = int(iteration[2])
    return [count < int(match[1]) for count in last.values()] if match else []


def _of_xml(text: str) -> list[bool]:
    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError:  # cut off: ASE reads what is there
        return []
    limit = root.find(".//parameters//i[@name='NELM']")
    if limit is None or not (limit.text or "").strip().isdigit():
        return []
    return [len(step.findall("scstep")) < int((limit.text or "").strip()) for step in root.findall("calculation")]
