"""Small structure files of all formats as people write them, and a reader for them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from allegro_md.comm import Comm
from allegro_md.errors import InputError
from allegro_md.io.structure import ReadOptions, SystemBuilder

DATA = """{title}

2 atoms
{n} atom types
0 10 xlo xhi
0 10 ylo yhi
0 10 zlo zhi
{masses}
Atoms{style}

2 2 5.0 1.0 1.0
1 1 1.0 1.0 1.0
"""


class Reader:
    """Writes a file and reads it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(
        self, name: str, text: str, masses: Mapping[str, float] | None = None, **options: Any
    ) -> SystemBuilder:
        path = self.folder / name
        path.write_text(text, encoding="utf-8")
        reading = ReadOptions(**options)
        return SystemBuilder.from_structure(path, options=reading, masses=masses, comm=Comm.serial())

    def refuses(self, match: str, name: str, text: str, **options: Any) -> None:
        with pytest.raises(InputError, match=match):
            self(name, text, **options)


def symbols(builder: SystemBuilder) -> list[str]:
    """Symbol of each atom."""
    from ase.data import chemical_symbols

    return [chemical_symbols[z] for z in builder.contents.numbers]


def remarks(builder: SystemBuilder) -> str:
    return "\n".join(builder.contents.remarks)


def data(masses: str = "", style: str = "", title: str = "x") -> str:
    text = f"\nMasses\n\n{masses}\n" if masses else ""
    return DATA.format(title=title, n=2, masses=text, style=style)


DUMP = """ITEM: TIMESTEP
{step}
ITEM: NUMBER OF ATOMS
2
ITEM: BOX BOUNDS pp ff pp
1 11
0 10
0 10
ITEM: ATOMS id {columns}
2 {second}
1 {first}
"""


def dump(columns: str, first: str, second: str, step: int = 0) -> str:
    return DUMP.format(step=step, columns=columns, first=first, second=second)


def xyz(columns: str, *lines: str, keys: str = 'Lattice="10 0 0 0 10 0 0 0 10" pbc="T T T"') -> str:
    return f"{len(lines)}\n{keys} Properties={columns}\n" + "".join(f"{line}\n" for line in lines)


POSCAR = "made by hand\n10\n1 0 0\n0 1 0\n0 0 1\n{names}1 1\nDirect\n0 0 0\n0.4 0 0\n{rest}"


GRO = "x\n3\n{}\n   3.00000   3.00000   3.00000\n"


def pdb_line(name: str, symbol: str = "", occupancy: float = 1.0, location: str = " ", x: float = 0.0) -> str:
    place = f"{location}ALA A   1    {x:8.3f}   0.000   0.000"
    return f"ATOM      1 {name:<4}{place}{occupancy:6.2f}  0.00          {symbol:>2}\n"


CIF = """data_x
_cell_length_a 5
_cell_length_b 5
_cell_length_c 5
_cell_angle_alpha 90
_cell_angle_beta 90
_cell_angle_gamma 90
_space_group_name_H-M_alt 'P 1'
loop_
_atom_site_label
_atom_site_type_symbol
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
_atom_site_{key}
Cu1 Cu 0 0 0 {a}
Au1 Au 0.5 0 0 {b}
"""
