"""The neighbor list of a rank's own atoms, and when it has gone stale."""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

from allegro_md.neighbors.cell_list import build_pairs
from allegro_md.state import AtomState

_MARGIN = 1e-6  # Å, far above rounding: with skin 0 a pair at the cutoff must not be lost to the last bit


class NeighborList:
    """For each own atom the held atoms within cutoff + skin, in ascending (id, S) order.

    S is the integer lattice shift of the pair. The order and the set of pairs within the cutoff depend on positions
    and ids only, so neither rebuilding nor the skin can be seen in what is computed from the list.

    Attributes:
        cutoff: Å.
        skin: Å.
        offsets: (n_centers + 1,) int64; the neighbors of center i are ``neighbors[offsets[i]:offsets[i + 1]]``.
        neighbors: int32 indices of held atoms.
        approach: how much closer any two atoms of the list may have come since it was built, Å; see `excess`.
    """

    def __init__(self, cutoff: float, skin: float, reach: float | None = None) -> None:
        """`reach` is how far the halo must bring ghosts, Å, where that is more than the cutoff."""
        self._reach = cutoff if reach is None else reach
        self.cutoff = cutoff
        self.skin = skin
        self.offsets: NDArray[np.int64] = np.zeros(1, dtype=np.int64)
        self.neighbors: NDArray[np.int32] = np.zeros(0, dtype=np.int32)
        self.approach = np.inf
        self._reference = np.zeros((0, 3))
        self._reference_inverse = np.eye(3)
        self._reference_matrix: NDArray[np.float64] | None = None

    @property
    def n_centers(self) -> int:
        """Atoms that have a list."""
        return len(self.offsets) - 1

    def build(self, state: AtomState) -> None:
        """Finds all pairs from the state's positions and shifts; ghosts must be in place."""
        self.neighbors = self.neighbors[:0].copy()  # the largest array there is: never held twice
        self.offsets, self.neighbors = build_pairs(
            state.all("position").cpu().numpy(),
            state.all("shift").cpu().numpy(),
            state.all("id").cpu().numpy(),
            state.cell,
            state.n_local,
            self.cutoff + self.skin + _MARGIN,
        )
        self._reference = state.local("position").cpu().numpy().copy()
        self._reference_matrix = state.cell.matrix
        self._reference_inverse = state.cell.inverse
        self.approach = 0.0

    def excess(self, state: AtomState) -> float:
        """How far this rank's list is beyond what its skin allows, Å; stale where positive on any rank.

        With F = h₀⁻¹h the deformation of the cell since the build and u the largest displacement beyond it, a pair now
        within the cutoff was then within ‖F⁻¹‖ (cutoff + 2u): that must not exceed cutoff + skin, and likewise for the
        reach of the halo, which asks for more. Infinite before the first build.
        """
        if self._reference_matrix is None:
            return np.inf
        matrix = state.cell.matrix
        positions = state.local("position").cpu().numpy()
        if matrix is self._reference_matrix or np.array_equal(matrix, self._reference_matrix):
            self.approach = 2.0 * _largest_displacement(positions, self._reference, np.eye(3), True)
            return self.approach - self.skin
        self.approach = np.inf
        deformation = self._reference_inverse @ matrix
        shrink = float(np.linalg.norm(np.linalg.inv(deformation), 2))
        displacement = _largest_displacement(positions, self._reference, deformation, False)
        return shrink * (self._reach + 2.0 * displacement) - (self._reach + self.skin)


@numba.njit(cache=True)
def _largest_displacement(
    positions: NDArray[np.float64], reference: NDArray[np.float64], deformation: NDArray[np.float64], fixed_cell: bool
) -> float:
    """Largest |x − x₀F|, Å; infinite when a position is not finite."""
    largest = 0.0
    for i in range(len(positions)):
        squared = 0.0
        for k in range(3):
            if fixed_cell:
                moved = reference[i, k]
            else:
                moved = (
                    reference[i, 0] * deformation[0, k]
                    + reference[i, 1] * deformation[1, k]
                    + reference[i, 2] * deformation[2, k]
                )
            squared += (positions[i, k] - moved) ** 2
        if squared > largest:
            largest = squared
        elif not (squared <= largest):  # NaN
            return np.inf
    return np.sqrt(largest)
