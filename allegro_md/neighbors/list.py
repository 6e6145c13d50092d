"""The neighbor list of a rank's local atoms, and the test for its being stale."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import torch
from numpy.typing import NDArray

from allegro_md.neighbors.cell_list import build_pairs
from allegro_md.neighbors.grid import cells_around, place_of, sorted_into
from allegro_md.state import AtomState

_MARGIN = 1e-6  # Å, far above rounding: with skin 0 a pair at the cutoff must not be lost to the last bit
_SHARE = 0.01  # of the skin, that may be lost to rounding of the reference positions


class NeighborList:
    """For each local atom the atoms (local and ghost) within cutoff + skin, in ascending (id, S) order.

    S is the integer lattice shift of the pair. The order and the set of pairs within the cutoff depend on positions
    and ids only, so neither rebuilding nor the skin can be seen in what is computed from the list.

    Attributes:
        cutoff: Å.
        skin: Å.
        offsets: (n_centers + 1,) int64; the neighbors of center i are ``neighbors[offsets[i]:offsets[i + 1]]``.
        neighbors: (pairs,) int32 indices of local atoms and ghosts.
        max_approach: Å, upper bound of how much closer any two atoms of the list have come since it was built; updated
            by `skin_excess`, whether or not the cell has changed.
        max_separation: Å, likewise of how much farther apart.
    """

    def __init__(self, cutoff: float, skin: float, reach: float | None = None) -> None:
        """`reach` is the width of the halo without skin, Å, if it is more than the cutoff."""
        self._reach = cutoff if reach is None else reach
        self.cutoff = cutoff
        self.skin = skin
        self.offsets: NDArray[np.int64] = np.zeros(1, dtype=np.int64)
        self.neighbors: NDArray[np.int32] = np.zeros(0, dtype=np.int32)
        self.max_approach = self.max_separation = np.inf
        self._distance = cutoff + skin + _MARGIN
        self._reference: NDArray[Any] = np.zeros((0, 3))
        self._rounding = 0.0
        self._reference_inverse = np.eye(3)
        self._reference_matrix: NDArray[np.float64] | None = None

    @property
    def n_centers(self) -> int:
        """Atoms that have a list."""
        return len(self.offsets) - 1

    def clear(self) -> None:
        """Forgets the pairs, the largest array of a run, so that its memory is free while atoms migrate."""
        self.offsets, self.neighbors = np.zeros(1, dtype=np.int64), np.zeros(0, dtype=np.int32)
        self._reference_matrix = None

    def sort_atoms(self, state: AtomState) -> None:
        """Puts the local atoms in the order of cells, which makes building fast and neighbors near in memory.

        Shifts must be set; ghosts are dropped.
        """
        state.resize(state.n_local, 0)
        if state.n_local == 0:
            return
        position, shift = state.local("position").cpu().numpy(), state.local("shift").cpu().numpy()
        grid = cells_around(position, shift, state.cell, self._distance)
        _, members = sorted_into(grid, position, shift, 0, state.n_local)
        if len(members):
            state.permute(torch.from_numpy(members))

    def build(self, state: AtomState) -> None:
        """Finds all pairs from the state's positions and shifts; ghosts must be in place."""
        self.clear()
        self.offsets, self.neighbors = build_pairs(
            state.all("position").cpu().numpy(),
            state.all("shift").cpu().numpy(),
            state.all("id").cpu().numpy(),
            state.cell,
            state.n_local,
            self._distance,
        )
        self._remember(state)
        self._reference_matrix = state.cell.matrix
        self._reference_inverse = state.cell.inverse
        self.max_approach = self.max_separation = 0.0

    def _remember(self, state: AtomState) -> None:
        """Keeps the wrapped positions of the local atoms, as float32 unless rounding would use up the skin.

        Wrapped positions are near the box however far the unwrapped ones have travelled.
        """
        where = state.local("position").cpu().numpy(), state.local("shift").cpu().numpy(), np.array(state.cell.matrix)
        rounding = np.sqrt(3.0) * 2.0**-24 * _farthest(*where)
        fits = 2.0 * rounding <= _SHARE * self.skin
        self._rounding = rounding if fits else 0.0
        self._reference = np.empty((state.n_local, 3), dtype=np.float32 if fits else np.float64)
        _places(*where, self._reference)

    def skin_excess(self, state: AtomState) -> float:
        """Distance by which atoms have moved beyond the skin of this rank's list, Å; stale if positive on any rank.

        With F = h₀⁻¹h the deformation of the cell since the build and u the largest displacement beyond it, a pair now
        within the cutoff was then within ‖F⁻¹‖ (cutoff + 2u): that must not exceed cutoff + skin, and likewise for the
        reach of the halo, which asks for more. Infinite before the first build.

        A pair vector r₀ of the list has become r₀F + d with |d| ≤ 2u, so that its length changed by at most 2u beyond
        what the singular values of F make of |r₀| ≤ cutoff + skin: this bounds `max_approach` and `max_separation`.
        """
        if self._reference_matrix is None:
            return np.inf
        matrix = np.array(state.cell.matrix)
        fixed = np.array_equal(matrix, self._reference_matrix)
        deformation = np.eye(3) if fixed else self._reference_inverse @ matrix
        displacement = _largest_displacement(
            state.local("position").cpu().numpy(), state.local("shift").cpu().numpy(), matrix, self._reference,
            deformation, fixed,
        ) + self._rounding * float(np.linalg.norm(deformation, 2))
        if fixed:
            self.max_approach = self.max_separation = 2.0 * displacement
            return self.max_approach - self.skin
        stretches = np.linalg.svd(deformation, compute_uv=False)
        self.max_approach = 2.0 * displacement + max(0.0, 1.0 - float(stretches[-1])) * self._distance
        self.max_separation = 2.0 * displacement + max(0.0, float(stretches[0]) - 1.0) * self._distance
        return (self._reach + 2.0 * displacement) / float(stretches[-1]) - (self._reach + self.skin)


@numba.njit(cache=True)
def _farthest(position: NDArray[np.float64], shift: NDArray[np.int32], matrix: NDArray[np.float64]) -> float:
    """Largest absolute coordinate of a wrapped position, Å.

    Args:
        position: (n, 3) Å, unwrapped.
        shift: (n, 3) lattice translations.
        matrix: (3, 3) Å, lattice rows.
    """
    largest = 0.0
    for i in range(len(position)):
        x, y, z = place_of(position, shift, matrix, i)
        largest = max(largest, abs(x), abs(y), abs(z))
    return largest


@numba.njit(cache=True)
def _places(
    position: NDArray[np.float64], shift: NDArray[np.int32], matrix: NDArray[np.float64], places: NDArray[Any]
) -> None:
    """Writes the wrapped positions.

    Args:
        position: (n, 3) Å, unwrapped.
        shift: (n, 3) lattice translations.
        matrix: (3, 3) Å, lattice rows.
        places: (n, 3) float32 or float64 Å, written.
    """
    for i in range(len(position)):
        places[i, 0], places[i, 1], places[i, 2] = place_of(position, shift, matrix, i)


@numba.njit(cache=True)
def _largest_displacement(
    position: NDArray[np.float64],
    shift: NDArray[np.int32],
    matrix: NDArray[np.float64],
    reference: NDArray[Any],
    deformation: NDArray[np.float64],
    fixed_cell: bool,
) -> float:
    """Largest displacement from the positions at the last build, deformed with the cell, Å.

    Args:
        position: (n, 3) Å, unwrapped.
        shift: (n, 3) lattice translations.
        matrix: (3, 3) Å, lattice rows.
        reference: (n, 3) float32 or float64 Å, wrapped positions at the build.
        deformation: (3, 3) F = h₀⁻¹h.
        fixed_cell: F is the identity.

    Returns:
        The displacement; infinite if a position is not finite.
    """
    largest, sane = 0.0, True
    for i in range(len(position)):
        x, y, z = place_of(position, shift, matrix, i)
        a, b, c = np.float64(reference[i, 0]), np.float64(reference[i, 1]), np.float64(reference[i, 2])
        if not fixed_cell:
            a, b, c = (
                a * deformation[0, 0] + b * deformation[1, 0] + c * deformation[2, 0],
                a * deformation[0, 1] + b * deformation[1, 1] + c * deformation[2, 1],
                a * deformation[0, 2] + b * deformation[1, 2] + c * deformation[2, 2],
            )
        squared = (x - a) * (x - a) + (y - b) * (y - b) + (z - c) * (z - c)
        sane &= squared < np.inf
        if squared > largest:
            largest = squared
    return np.sqrt(largest) if sane else np.inf
