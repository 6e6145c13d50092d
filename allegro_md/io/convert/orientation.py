"""The orientation of the cell that LAMMPS and DCD ask for: a along x, b in the plane of x and y.

LAMMPS manual, "Triclinic (non-orthogonal) simulation boxes", restricted triclinic.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from allegro_md.cell import Cell
from allegro_md.errors import InputError


@dataclass(frozen=True)
class Oriented:
    """A cell in the orientation asked for.

    Attributes:
        rows: (3, 3) Å, lower triangular with a positive diagonal.
        rotation: (3, 3), x in the new orientation is x @ rotation; None where the cell was oriented so already.
    """

    rows: NDArray[np.float64]
    rotation: NDArray[np.float64] | None

    def turn(self, vectors: NDArray[np.floating]) -> NDArray[np.float64]:
        """Turns positions, velocities or forces, `vectors` (n, 3), with the cell; the same bits where it is not."""
        exact = vectors.astype(np.float64)
        return exact if self.rotation is None else exact @ self.rotation


def orient(cell: Cell, where: str) -> Oriented:
    """Turns a cell into the restricted orientation.

    Raises:
        InputError: its vectors are left-handed, so that no rotation does it.
    """
    rows = cell.matrix
    if np.array_equal(rows, np.tril(rows)) and (np.diag(rows) > 0.0).all():
        return Oriented(rows, None)
    if np.linalg.det(rows) < 0.0:
        raise InputError(
            "the cell vectors are left-handed, which the format does not allow", where,
            "write extended XYZ or H5MD, or exchange two cell vectors",
        )
    q, r = np.linalg.qr(rows.T)  # rows = r.T @ q.T
    sign = np.where(np.diag(r) < 0.0, -1.0, 1.0)
    lower = np.tril(r.T * sign)
    return Oriented(lower, q * sign)
