"""The simulation cell: three lattice rows, each periodic or free."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from allegro_md.errors import InputError


@dataclass(frozen=True, eq=False)
class Cell:
    """Immutable triclinic cell.

    Attributes:
        matrix: (3, 3) Å, rows are lattice vectors; always of full rank (absent vectors of free axes are completed
            with unit vectors, see `from_rows`).
        periodic: one flag per axis.
        origin: (3,) Å, the corner of the box.
        absent: axes without a vector of their own; the cell has no volume where there is one.
    """

    matrix: NDArray[np.float64]
    periodic: tuple[bool, bool, bool] = (True, True, True)
    origin: NDArray[np.float64] = None  # type: ignore[assignment]
    absent: tuple[bool, bool, bool] = (False, False, False)

    def __post_init__(self) -> None:
        origin = np.zeros(3) if self.origin is None else self.origin
        for name, array in (("matrix", self.matrix), ("origin", origin)):
            frozen = np.array(array, dtype=np.float64)
            frozen.setflags(write=False)
            object.__setattr__(self, name, frozen)

    @staticmethod
    def from_rows(rows: NDArray[np.float64], periodic: tuple[bool, bool, bool], where: str = "cell") -> Cell:
        """Cell from lattice rows (Å) in which the vectors of free axes may be zero.

        Raises:
            InputError: a periodic axis without a vector, vectors that are not finite, or linearly dependent.
        """
        rows = np.array(rows, dtype=np.float64).reshape(3, 3)
        flags = (bool(periodic[0]), bool(periodic[1]), bool(periodic[2]))
        if not np.all(np.isfinite(rows)):
            raise InputError("cell vectors are not finite", where, "correct the cell")
        absent = np.linalg.norm(rows, axis=1) < 1e-12
        for axis in range(3):
            if absent[axis] and flags[axis]:
                raise InputError(
                    f"the cell is periodic along axis {axis} but has no vector there",
                    where,
                    "give the cell vector, or set periodic to false for that axis",
                )
        matrix = _complete(rows, absent)
        if abs(_triple(matrix)) < 1e-9 * np.prod(np.linalg.norm(matrix, axis=1)):
            raise InputError("the cell has no volume (its vectors are linearly dependent)", where, "correct the cell")
        return Cell(matrix, flags, absent=(bool(absent[0]), bool(absent[1]), bool(absent[2])))

    def with_matrix(self, matrix: NDArray[np.float64]) -> Cell:
        """The same cell with other lattice rows: `matrix` (3, 3) Å."""
        return Cell(matrix, self.periodic, self.origin, self.absent)

    @property
    def bounded(self) -> bool:
        """Tells if all three vectors are the cell's own, so that it has a volume."""
        return not any(self.absent)

    @property
    def given_rows(self) -> NDArray[np.float64]:
        """(3, 3) Å, the lattice vectors as they are written to files: zero where the cell has none."""
        return np.where(np.array(self.absent)[:, None], 0.0, self.matrix)

    @cached_property
    def inverse(self) -> NDArray[np.float64]:
        """(3, 3), 1/Å: fractional = (x − origin) @ inverse.

        From cofactors: plain products and sums have the same bits on every machine, a library's solver may not, and
        ranks must agree on who owns an atom on a face.
        """
        a, b, c = self.matrix
        cofactors = np.stack([_cross(b, c), _cross(c, a), _cross(a, b)], axis=1)
        return np.asarray(cofactors / _triple(self.matrix), dtype=np.float64)

    @property
    def volume(self) -> float:
        """Volume, Å³, with the same bits on every machine, as `inverse`; NaN where the cell has none."""
        return abs(_triple(self.matrix)) if self.bounded else float("nan")

    @property
    def heights(self) -> NDArray[np.float64]:
        """(3,) Å, distance between opposite faces."""
        return np.asarray(1.0 / np.linalg.norm(self.inverse, axis=0), dtype=np.float64)

    @property
    def lengths(self) -> tuple[float, float, float]:
        """Lengths of the lattice vectors, Å."""
        a, b, c = (float(length) for length in np.linalg.norm(self.matrix, axis=1))
        return a, b, c

    @property
    def angles(self) -> tuple[float, float, float]:
        """Angles α (between b and c), β (a and c) and γ (a and b), degrees."""
        unit = self.matrix / np.linalg.norm(self.matrix, axis=1)[:, None]
        cosines = ((unit[i] * unit[j]).sum() for i, j in ((1, 2), (0, 2), (0, 1)))
        alpha, beta, gamma = (float(np.degrees(np.arccos(np.clip(cosine, -1.0, 1.0)))) for cosine in cosines)
        return alpha, beta, gamma


VACUUM = 5.0
"""Å; a gap between atoms of this width along an axis counts as vacuum: no layers of a crystal are so far apart."""


def occupied_span(counts: NDArray[np.int64], height: float) -> float:
    """Finds the part of a periodic axis that atoms take up, which is all of it but the longest vacuum.

    Args:
        counts: (bins,) number of atoms in equal parts of the axis.
        height: Å, distance of the faces it is between.

    Returns:
        Fraction of the axis; 1 where no gap is as wide as `VACUUM`.
    """
    taken = np.flatnonzero(counts)
    if len(taken) == 0:
        return 1.0
    gap = np.diff(np.append(taken, taken[0] + len(counts))).max() - 1
    return 1.0 if gap * height < VACUUM * len(counts) else float(1.0 - gap / len(counts))


def product(left: NDArray[np.float64], right: NDArray[np.float64]) -> NDArray[np.float64]:
    """Matrix product (3, 3) of `left` (3, 3) and `right` (3, 3), by plain products and sums.

    It has the same bits on every machine. A library's product may not, and all ranks must have the same cell.
    """
    return np.asarray((left[:, :, None] * right).sum(axis=1))


def _cross(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """Cross product (3,) of `a` (3,) and `b` (3,), by plain products and differences."""
    return np.array([a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]])


def _triple(rows: NDArray[np.float64]) -> float:
    """Determinant a · (b × c) of the rows a, b, c: `rows` (3, 3), by plain products and sums."""
    a, n = rows[0], _cross(rows[1], rows[2])
    return float(a[0] * n[0] + a[1] * n[1] + a[2] * n[2])


def _complete(rows: NDArray[np.float64], absent: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Fills absent rows with unit vectors orthogonal to the given ones (right-handed where possible)."""
    matrix = rows.copy()
    missing = np.flatnonzero(absent)
    if len(missing) == 3:
        return np.eye(3)
    if len(missing) == 0:
        return matrix
    given = matrix[~absent]
    _, _, basis = np.linalg.svd(given)  # the last rows span the complement
    matrix[missing] = basis[len(given) :]
    if _triple(matrix) < 0:
        matrix[missing[-1]] *= -1.0
    return matrix
