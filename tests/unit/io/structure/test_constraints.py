"""Atoms that a structure file fixes: as ASE writes them in each format, and what cannot be fixed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ase
import ase.io
import numpy as np
import pytest
from ase.build import bulk
from ase.constraints import FixAtoms, FixBondLength, FixCartesian, FixedPlane, FixScaled

from allegro_md.comm import Comm
from allegro_md.errors import InputError
from allegro_md.io.structure import SystemBuilder

SERIAL = Comm.serial()

NAMES = ("x.extxyz", "POSCAR", "x.traj", "x.db", "x.json")


def written(folder: Path, name: str, *constraints: Any) -> Path:
    atoms = bulk("Cu", a=3.61, cubic=True)
    atoms.set_constraint(list(constraints))
    ase.io.write(folder / name, atoms, format="vasp" if name == "POSCAR" else None)
    return folder / name


@pytest.mark.parametrize(
    ("name", "constraint"),
    [
        *((name, FixAtoms([0, 2])) for name in NAMES),
        *((name, FixCartesian([0, 2])) for name in NAMES if name != "POSCAR"),  # ASE does not write them there
        *((name, FixScaled([0, 2])) for name in NAMES if name != "x.extxyz"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_fixed_atoms_of_all_formats(tmp_path: Path, name: str, constraint: Any) -> None:
    """The same two atoms as ASE reads them back, and their copies; the log says how many."""
    path = written(tmp_path, name, constraint)
    builder = SystemBuilder.from_structure(path, repeat=(2, 1, 1), comm=SERIAL)
    back: Any = ase.io.read(path)
    assert sorted({int(i) for c in back.constraints if np.all(getattr(c, "mask", True)) for i in c.index}) == [0, 2]
    assert builder.fixes_atoms and np.flatnonzero(builder.fixed(np.arange(8))).tolist() == [0, 2, 4, 6]
    assert any("fixes 2 of its 4 atoms" in remark for remark in builder.contents.remarks)
    free = SystemBuilder.from_structure(path, honor_constraints=False, comm=SERIAL)
    assert not free.fixes_atoms and not free.fixed(np.arange(4)).any()
    assert any("constraints of the file are ignored" in remark for remark in free.contents.remarks)


@pytest.mark.parametrize("name", NAMES)
def test_files_that_fix_nothing(tmp_path: Path, name: str) -> None:
    builder = SystemBuilder.from_structure(written(tmp_path, name), comm=SERIAL)
    assert not builder.fixes_atoms and not any("fix" in r for r in builder.contents.remarks)


@pytest.mark.parametrize(
    ("name", "constraint", "message"),
    [
        ("x.traj", FixBondLength(0, 1), r"constraints \(FixBondLengths\); only fixed atoms"),
        ("x.db", FixedPlane([0], (0, 0, 1)), r"constraints \(FixedPlane\); only fixed atoms"),
        ("x.traj", FixCartesian([1], (True, False, True)), r"of atom 1 \(x, z\); atoms can be fixed as a whole only"),
        ("x.extxyz", FixCartesian([1], (True, False, True)), r"of atom 1 \(x, z\)"),
        ("POSCAR", FixScaled([1], (False, False, True)), r"of atom 1 \(z\)"),
    ],
)
def test_what_cannot_be_fixed(tmp_path: Path, name: str, constraint: Any, message: str) -> None:
    path = written(tmp_path, name, constraint)
    with pytest.raises(InputError, match=message + '.*system.constraints = "ignore"'):
        SystemBuilder.from_structure(path, comm=SERIAL)
    assert SystemBuilder.from_structure(path, honor_constraints=False, comm=SERIAL).n_total == 4
