"""CIF files: ASE reads them, after a look for sites that are shared, partly empty or disordered."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from allegro_md.errors import InputError
from allegro_md.io.structure.contents import Contents, ReadOptions, from_ase
from allegro_md.io.structure.frames import pick

_FULL = 0.9995
"""An occupancy below is less than 1 as it would be written."""


def read_cif_file(path: Path, options: ReadOptions, where: str) -> Contents:
    """Reads a block of a CIF file.

    Args:
        path: the file.
        options: `frame` counts the blocks that hold a structure.
        where: the file, for messages.

    Raises:
        InputError: no such block, or a site that is not that of one whole atom.
    """
    from ase.io.cif import parse_cif

    with path.open("rb") as file:
        blocks = [block for block in parse_cif(file) if block.has_structure()]
    block, number, count = pick(iter(blocks), options.frame, where)
    _refuse_disorder(block, where)
    contents = from_ase(block.get_atoms(), where)
    if not any("symmetry" in key or "space_group" in key for key in block):
        contents.remarks.append("the file says nothing of its symmetry: taken as P 1, each site as one atom")
    contents.frame, contents.n_frames = number, count
    return contents


def _refuse_disorder(block: Any, where: str) -> None:
    """Raises unless every site is that of one whole atom."""
    labels = block.get("_atom_site_label") or block.get("_atom_site_type_symbol") or []
    for label, value in zip(labels, block.get("_atom_site_occupancy") or [], strict=False):
        text = re.sub(r"\(.*\)", "", str(value))  # the uncertainty
        occupancy = 1.0 if text in (".", "?") else float(text)
        if occupancy < _FULL:
            raise InputError(
                f"site {label} is occupied to {occupancy:g}: partly empty or shared sites are not one structure", where,
                "give an ordered structure, such as one cell of the supercells that the program supercell makes",
            )
    for label, group in zip(labels, block.get("_atom_site_disorder_group") or [], strict=False):
        if str(group) not in (".", "?", "0"):
            raise InputError(
                f"site {label} belongs to the disorder group {group}", where,
                "leave one group in the file, and remove the column _atom_site_disorder_group",
            )
