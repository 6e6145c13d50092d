"""Parts that LAMMPS dump and data files share: types of atoms, and the box with its corner."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from allegro_md.cell import Cell
from allegro_md.config.fields import SYMBOLS
from allegro_md.io.convert.orientation import Oriented, orient
from allegro_md.io.convert.outline import Outline
from allegro_md.io.frames import StoredFrame

PADDING = 0.5
"""Å around the atoms along axes without a cell vector."""

PER_PS = 1000.0
"""Å/ps in 1 Å/fs: velocities in LAMMPS's units metal."""


@dataclass(frozen=True)
class Types:
    """Types of atoms: one per element and mass.

    Attributes:
        of: (n_atoms,) from 1.
        symbols: of each type.
        masses: (types,) amu.
    """

    of: NDArray[np.int64]
    symbols: list[str]
    masses: NDArray[np.float64]


def types_of(outline: Outline) -> Types:
    """The types of the atoms of a source, by atomic number, then mass."""
    keys = np.empty(outline.source.n_atoms, dtype=[("number", np.int64), ("mass", np.float64)])
    keys["number"], keys["mass"] = outline.source.species, outline.masses
    distinct, index = np.unique(keys, return_inverse=True)
    symbols = [SYMBOLS[z - 1] for z in distinct["number"].tolist()]
    return Types(index.astype(np.int64) + 1, symbols, distinct["mass"].copy())


@dataclass(frozen=True)
class LammpsBox:
    """A box in the restricted orientation.

    Attributes:
        oriented: how vectors are turned into it.
        rows: (3, 3) Å, lower triangular.
        lower: (3,) Å, its corner.
    """

    oriented: Oriented
    rows: NDArray[np.float64]
    lower: NDArray[np.float64]

    @property
    def upper(self) -> NDArray[np.float64]:
        """(3,) Å, the corner plus the lengths along x, y and z."""
        return np.asarray(self.lower + np.diag(self.rows))

    @property
    def tilts(self) -> tuple[float, float, float]:
        """The numbers xy, xz and yz in Å."""
        return float(self.rows[1, 0]), float(self.rows[2, 0]), float(self.rows[2, 1])


def boundary(cell: Cell) -> list[str]:
    """LAMMPS's words for the axes: periodic, shrunk to the atoms where there is no cell vector, or fixed."""
    return ["pp" if p else "ss" if a else "ff" for p, a in zip(cell.periodic, cell.absent, strict=True)]


def box_of(frame: StoredFrame, outline: Outline) -> LammpsBox:
    """The box of a frame; along axes without a cell vector it encloses the atoms.

    Raises:
        InputError: the cell vectors are left-handed.
    """
    cell = frame.cell
    oriented = orient(cell, str(outline.source.path))
    if oriented.rotation is not None:
        outline.say("cell turned so that a lies along x and b in the plane of x and y, as the format asks; "
                    "positions, velocities and forces turned with it")
    rows, lower = oriented.rows.copy(), oriented.turn(cell.origin[None])[0]
    if any(cell.absent):
        fraction = (oriented.turn(frame.position) - lower) @ np.linalg.inv(rows)
        for axis in np.flatnonzero(cell.absent):
            low, high = fraction[:, axis].min() - PADDING, fraction[:, axis].max() + PADDING
            lower = lower + low * rows[axis]
            rows[axis] *= high - low
    return LammpsBox(oriented, rows, lower)
