"""The atoms of one frame of a file in our units, and what was left out of it or had to be assumed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from allegro_md.errors import InputError

_TAKEN = {"numbers", "positions", "momenta", "masses"}
_NOT_WORTH_A_WORD = {"spacegroup_kinds", "spacegroup", "unit_cell", "occupancy", "comment"}


@dataclass(frozen=True)
class ReadOptions:
    """The keys of ``[system]`` that say how a structure file is read.

    Attributes:
        frame: number of the frame, 0 the first; negative counts from the end.
        format: ASE's name of the format; None: by name and content.
        types: element of each type number or name of the file, or None.
        units: LAMMPS units of a file that does not state them, or None.
        velocity_unit: unit of the velocity columns of an extended XYZ file, or None.
    """

    frame: int = -1
    format: str | None = None
    types: Mapping[str, str] | None = None
    units: str | None = None
    velocity_unit: str | None = None


@dataclass
class Contents:
    """The atoms of a frame.

    Attributes:
        rows: (3, 3) Å, lattice vectors; zero rows where the file has none.
        periodic: one flag per axis, as the file says.
        numbers: (n,) atomic numbers.
        masses: (n,) amu.
        position: (n, 3) Å.
        velocity: (n, 3) Å/fs, or None where the file has none.
        remarks: sentences about what was assumed or left out.
        fixed: (n, 3) components of positions that the file fixes, or None where it fixes none.
        unknown_constraints: names of constraints of other kinds.
        format: name of the format.
        frame: number of the frame; negative where it was counted from the end.
        n_frames: frames of the file, or None where they were not counted.
    """

    rows: NDArray[np.float64]
    periodic: tuple[bool, bool, bool]
    numbers: NDArray[np.int64]
    masses: NDArray[np.float64]
    position: NDArray[np.float64]
    velocity: NDArray[np.float64] | None = None
    remarks: list[str] = field(default_factory=list)
    fixed: NDArray[np.bool_] | None = None
    unknown_constraints: tuple[str, ...] = ()
    format: str = ""
    frame: int = 0
    n_frames: int | None = None


def standard_masses(numbers: NDArray[np.int64]) -> NDArray[np.float64]:
    """(n,) amu, ASE's masses of atomic numbers (n,)."""
    from ase.data import atomic_masses

    return np.asarray(atomic_masses[numbers], dtype=np.float64)


def left_out(names: Sequence[str], what: str = "entries") -> list[str]:
    """The remark about entries of a file that are not used; empty where there are none."""
    return [f"not used of the file: {what} {', '.join(names)}"] if names else []


def from_ase(atoms: Any, where: str, silent: Sequence[str] = ()) -> Contents:
    """Contents of an `ase.Atoms`.

    Args:
        atoms: what a reader of ASE made of a frame.
        where: the file, for messages.
        silent: names of arrays that need no remark when they are left out.
    """
    from ase import units

    fixed, unknown = _fixed(atoms)
    velocity = None
    if atoms.has("momenta"):
        velocity = np.array(atoms.get_velocities(), dtype=np.float64) * units.fs  # ASE's unit of time is its own
    names = [*atoms.arrays, *atoms.info, *(getattr(atoms.calc, "results", {}) if atoms.calc is not None else {})]
    flags = atoms.get_pbc()
    return Contents(
        rows=np.array(atoms.cell.array, dtype=np.float64),
        periodic=(bool(flags[0]), bool(flags[1]), bool(flags[2])),
        numbers=np.array(atoms.numbers, dtype=np.int64),
        masses=np.array(atoms.get_masses(), dtype=np.float64),
        position=np.array(atoms.positions, dtype=np.float64),
        velocity=velocity,
        fixed=fixed,
        unknown_constraints=unknown,
        remarks=left_out([n for n in names if n not in {*_TAKEN, *_NOT_WORTH_A_WORD, *silent}]),
    )


def _fixed(atoms: Any) -> tuple[NDArray[np.bool_] | None, tuple[str, ...]]:
    """(n, 3) components that constraints of ASE fix, or None; and the names of constraints of other kinds."""
    if not atoms.constraints:  # the module below loads a large part of ASE and scipy
        return None, ()
    from ase.constraints import FixAtoms, FixCartesian, FixScaled

    fixed, unknown = np.zeros((len(atoms), 3), dtype=np.bool_), []
    for constraint in atoms.constraints:
        if isinstance(constraint, FixAtoms):
            fixed[constraint.index] = True
        elif isinstance(constraint, (FixCartesian, FixScaled)):  # the latter in fractional coordinates
            fixed[constraint.index] |= np.asarray(constraint.mask, dtype=np.bool_)
        else:
            unknown.append(type(constraint).__name__)
    return (fixed if fixed.any() else None), tuple(sorted(set(unknown)))


def settle_constraints(contents: Contents, honor: bool, where: str) -> None:
    """Keeps that atoms are fixed as a whole, or drops all constraints, and remarks on it.

    Args:
        contents: as read.
        honor: constraints are to be kept.
        where: the file, for messages.

    Raises:
        InputError: constraints of other kinds, or of some components only, are to be kept.
    """
    fixed, unknown = contents.fixed, contents.unknown_constraints
    if not honor:
        if fixed is not None or unknown:
            contents.remarks.append("the constraints of the file are ignored, as system.constraints says")
        contents.fixed, contents.unknown_constraints = None, ()
        return
    remedy = 'remove them from the file, or set system.constraints = "ignore"'
    if unknown:
        raise InputError(f"holds constraints ({', '.join(unknown)}); only fixed atoms are available", where, remedy)
    if fixed is not None:
        partly = fixed.any(axis=1) & ~fixed.all(axis=1)
        if partly.any():
            atom = int(np.flatnonzero(partly)[0])
            axes = ", ".join(np.array(("x", "y", "z"))[fixed[atom]])
            raise InputError(
                f"fixes some components only of atom {atom} ({axes}); atoms can be fixed as a whole only", where, remedy
            )
        count = int(fixed.all(axis=1).sum())
        contents.remarks.append(
            f"the file fixes {count} of its {len(fixed)} atoms: they do not move, unless system.constraints = "
            '"ignore" lets them'
        )


def set_masses(contents: Contents, masses: Mapping[str, float], where: str) -> None:
    """Puts the masses of the input (amu per chemical symbol) in place of the file's.

    Raises:
        InputError: a mass for an element that is not there.
    """
    from ase.data import atomic_numbers, chemical_symbols

    present = sorted({chemical_symbols[z] for z in contents.numbers.tolist()})
    for symbol, mass in masses.items():
        if symbol not in present:
            raise InputError(f"system.masses names {symbol}, which is not in the system", where,
                             f"it has {', '.join(present)}")
        contents.masses[contents.numbers == atomic_numbers[symbol]] = mass
