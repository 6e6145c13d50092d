"""Positions in a frame that moves with the center of mass, and with the cell where it changes.

Where the cell h changes, the displacement from one sample to the next is that in scaled coordinates,
(s(t₂) − s(t₁)) · h(t₂), and longer ones are sums of these: what the deformation carries along is no diffusion. A cell
that was replaced by a less tilted one of the same lattice (`integrators.steps.reduce_cell`) is compared as if it had
not been.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from allegro_md.cell import Cell, product
from allegro_md.comm import Comm
from allegro_md.errors import InputError
from allegro_md.exact import ExactSum
from allegro_md.io.wrapping import multiplied

UNCLEAR = 0.15
"""Distance of a tilt between two samples from half a lattice vector, of whose length it is a fraction."""


class Comoving:
    """The frame of the atoms of this rank's range of ids.

    Attributes:
        cell: of the last sample.
    """

    def __init__(self, cell: Cell) -> None:
        """Before the first sample, whose cell is `cell`."""
        self.cell = cell
        self._center: NDArray[np.float64] = np.zeros(3)
        self._affine: NDArray[np.float64] | None = None  # (n_own, 3) what the cell's changes have carried along

    def follow(self, cell: Cell, last: Callable[[], NDArray[np.float64]]) -> None:
        """Adds what a change of the cell since the last sample carries along: s · (h − h₀), with s of that sample.

        Args:
            cell: of this sample.
            last: gives the `relative` positions of the last sample.

        Raises:
            InputError: the cell was sheared so much that its lattice vectors cannot be told from others.
        """
        before, self.cell = self.cell, cell
        if np.array_equal(before.matrix, cell.matrix):
            return
        carried = 0.0 if self._affine is None else self._affine
        position = last() + self._center + carried
        change = product(before.inverse, unreduced(cell, before)) - np.eye(3)
        self._affine = carried + multiplied(position - before.origin, change)

    def relative(
        self, position: NDArray[np.float64], masses: NDArray[np.float64], comm: Comm
    ) -> NDArray[np.float64]:
        """Positions in the frame (collective).

        Args:
            position: (n_own, 3) Å, unwrapped, of this rank's range of ids.
            masses: (n_own,) amu.
            comm: all ranks.

        Returns:
            (n_own, 3) Å.
        """
        position = position if self._affine is None else position - self._affine
        self._center = center_of_mass(position, masses, comm)
        moved: NDArray[np.float64] = position - self._center
        return moved

    def state_dict(self) -> dict[str, Any]:
        """Returns center and cell of the last sample."""
        return {"center": self._center.tolist(), "cell": self.cell.matrix.tolist()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes up from a `state_dict`."""
        self._center = np.array(state["center"])
        self.cell = self.cell.with_matrix(np.array(state["cell"]))

    def rows(self) -> dict[str, NDArray[Any]]:
        """Returns what changes of the cell have carried along, (n_own, 3) Å; nothing where it has not changed."""
        return {} if self._affine is None else {"affine": self._affine}

    def load_rows(self, rows: Mapping[str, NDArray[Any]]) -> None:
        """Takes up from `rows`."""
        self._affine = rows.get("affine")


def unreduced(cell: Cell, before: Cell) -> NDArray[np.float64]:
    """Returns (3, 3) Å, the lattice rows of a cell that follow from earlier ones by deformation alone.

    A reduction adds multiples of earlier rows to later ones. So row b is ahead of row b of `before` by a multiple of
    row a if the deformation is small against a: the nearest multiple is taken off.

    Raises:
        InputError: the nearest multiple is not clear.
    """
    rows = np.array(cell.matrix)
    for b, a in ((1, 0), (2, 1), (2, 0)):
        ahead = float(((rows[b] - before.matrix[b]) * before.inverse[:, a]).sum())
        if cell.periodic[a] and cell.periodic[b]:
            multiple = np.rint(ahead)
            if 0.5 - abs(ahead - multiple) < UNCLEAR:
                raise InputError(
                    f"lattice vector {'abc'[b]} has moved by {ahead:.3g} of vector {'abc'[a]} between two samples, and "
                    "it is not clear whether the cell was sheared or replaced by another one of the same lattice",
                    "output.observe",
                    "take samples more often",
                )
            rows[b] -= multiple * rows[a]
    return rows


def center_of_mass(
    rows: NDArray[np.float64], masses: NDArray[np.float64], comm: Comm, kind: str = "mass moment"
) -> NDArray[np.float64]:
    """(3,) mass-weighted mean, the same bits on any number of ranks (collective).

    Args:
        rows: (n, 3) float64, unwrapped positions in Å, of atoms that no other rank gives.
        masses: (n,) float64, amu.
        comm: all ranks.
        kind: of the sum; "momentum" where rows are velocities in Å/fs.
    """
    moment = comm.reduce(ExactSum.of(rows * masses[:, None], kind))
    return np.asarray(moment / comm.reduce(ExactSum.of(masses, "mass")))
