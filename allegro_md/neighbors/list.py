"""The neighbor list of a rank's local atoms, and of the ghosts they depend on; and when it has gone stale."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from allegro_md.backends import backend_for
from allegro_md.state import AtomState, DeviceArray, on_host

_MARGIN = 1e-6  # Å, far above rounding: with skin 0 a pair at the cutoff must not be lost to the last bit
_SHARE = 0.01  # of the skin, that may be lost to rounding of the reference positions


class NeighborList:
    """For each center the atoms held within cutoff + skin, in ascending (id, S) order.

    Centers are the local atoms. A message-passing potential of several layers also asks for properties of neighbors
    that depend on neighbors of theirs: with hops > 1 the ghosts within hops − 1 pairs of a local atom are centers, too,
    numbered as they are held. For a strictly local potential ``offsets[: n_local + 1]`` is all it needs.

    S is the integer lattice shift of the pair. The order and the set of pairs within the cutoff depend on positions
    and ids only, so neither rebuilding nor the skin can be seen in what is computed from the list.

    Attributes:
        cutoff: Å.
        skin: Å.
        hops: through how many pairs the energy of a local atom depends on others.
        reach: how far from local atoms ghosts are held, Å.
        offsets: (n_centers + 1,) int64, on the state's device; the neighbors of center i are
            ``neighbors[offsets[i]:offsets[i + 1]]``. There are n_local centers with one hop, else n_all; the lists of
            ghosts that are not needed are empty.
        neighbors: (offsets[-1],) int32, on the same device, indices of atoms held; those of local atoms come first.
        displacement: largest distance, Å, that a local atom has moved since the list was built, apart from what the
            deformation of the cell does; brought up to date by `skin_excess`.
        max_approach: Å, upper bound of how much closer any two atoms of the list have come since it was built; brought
            up to date by `skin_excess`, whether or not the cell has changed.
        max_separation: Å, likewise of how much farther apart.
    """

    def __init__(self, cutoff: float, skin: float, reach: float | None = None, hops: int = 1) -> None:
        """Makes an empty list, which is stale.

        Args:
            cutoff: Å.
            skin: Å.
            reach: how far the halo brings ghosts while the list is not stale, Å; None for hops · cutoff.
            hops: through how many pairs an energy depends on other atoms.

        Raises:
            ValueError: the halo does not bring what the lists of ghosts need.
        """
        self.hops = hops
        self.reach = hops * cutoff if reach is None else reach
        if self.reach < hops * cutoff:
            raise ValueError(f"{hops} hops of {cutoff} Å need ghosts as far away, not only {self.reach} Å")
        self.cutoff = cutoff
        self.skin = skin
        self.offsets: DeviceArray = np.zeros(1, dtype=np.int64)
        self.displacement = np.inf
        self.neighbors: DeviceArray = np.zeros(0, dtype=np.int32)
        self.max_approach = self.max_separation = np.inf
        self._distance = cutoff + skin + _MARGIN
        self._reference: DeviceArray = np.zeros((0, 3))
        self._rounding = 0.0
        self._reference_inverse = np.eye(3)
        self._reference_matrix: NDArray[np.float64] | None = None
        self._lattices = 0
        self._virials = np.empty((0, 6))
        self._longest: int | None = None

    @property
    def n_centers(self) -> int:
        """Number of atoms that have a list, if only an empty one."""
        return len(self.offsets) - 1

    @property
    def longest(self) -> int:
        """Neighbors of the center that has the most; looked for once after each build."""
        if self._longest is None:
            self._longest = int((self.offsets[1:] - self.offsets[:-1]).max()) if self.n_centers else 0
        return self._longest

    def clear(self) -> None:
        """Forgets pairs and reference positions: their memory is free while atoms migrate and pairs are found."""
        self.offsets, self.neighbors = np.zeros(1, dtype=np.int64), np.zeros(0, dtype=np.int32)
        self._reference = np.zeros((0, 3))
        self._reference_matrix, self._virials, self._longest = None, np.empty((0, 6)), None

    def virials(self, n_centers: int) -> NDArray[np.float64]:
        """(n_centers, 6) float64 on the host, for virials of centers that are summed up at once and kept by nobody.

        The same memory until the list is built anew: fresh pages in every step cost as much as the virial itself.
        """
        if len(self._virials) != n_centers:
            self._virials = np.empty((n_centers, 6))
        return self._virials

    def sort_atoms(self, state: AtomState, first: NDArray[np.bool_] | None = None) -> None:
        """Puts the local atoms in the order of cells, which makes building fast and neighbors near in memory.

        Shifts must be set; ghosts are dropped.

        Args:
            state: its local atoms are sorted.
            first: (n_local,) atoms that come before all others; None: there is no such difference.
        """
        state.resize(state.n_local, 0)
        order = backend_for(state.device).lists.sort_order(state, self._distance)
        if first is not None:
            by_cell = np.arange(state.n_local) if order is None else on_host(order)
            ahead = first[by_cell]
            order = state.device_array(np.concatenate([by_cell[ahead], by_cell[~ahead]]))
        if order is not None:
            state.permute(order)

    def build(self, state: AtomState) -> None:
        """Finds all pairs from the state's positions and shifts; ghosts must be in place."""
        self.clear()
        self.offsets, self.neighbors = self._find(state, self._distance)
        for _ in range(self.hops - 1):
            self._add_ghosts(state)
        self._remember(state)
        self._reference_matrix = state.cell.matrix
        self._reference_inverse = state.cell.inverse
        self._lattices = state.lattices
        self.max_approach = self.max_separation = self.displacement = 0.0

    def pairs(self, state: AtomState, distance: float) -> tuple[DeviceArray, DeviceArray]:
        """Finds the neighbors that local atoms have within a distance now, which may be more than the cutoff.

        Args:
            state: the list must not be stale at its positions.
            distance: Å, at most `reach`.

        Returns:
            offsets (n_local + 1,) int64, and neighbors int32, in ascending (id, S) order.

        Raises:
            ValueError: ghosts are not held from so far away.
        """
        if distance > self.reach:
            raise ValueError(f"pairs within {distance} Å: ghosts are held up to {self.reach} Å only")
        return self._find(state, distance)

    @staticmethod
    def _find(state: AtomState, distance: float) -> tuple[DeviceArray, DeviceArray]:
        return backend_for(state.device).lists.find_pairs(state, state.n_local, distance)

    def _add_ghosts(self, state: AtomState) -> None:
        """Lists the neighbors of all ghosts that are in a list so far, anew for those that have one.

        The lists of local atoms stay as they are. Any atom within the cutoff of such a ghost is held: through the same
        chain of pairs it is within reach of a local atom.
        """
        of_local, neighbors = on_host(self.offsets)[: state.n_local + 1], on_host(self.neighbors)
        listed = np.zeros(state.n_all, dtype=np.bool_)
        listed[neighbors] = True
        listed[: state.n_local] = False
        centers = np.flatnonzero(listed)
        order = np.concatenate([centers, np.flatnonzero(~listed)])
        found = backend_for(state.device).lists.find_pairs(
            state, len(centers), self._distance, state.device_array(order)
        )
        offsets, of_ghosts = on_host(found[0]), order.astype(np.int32)[on_host(found[1])]
        counts = np.zeros(state.n_ghost, dtype=np.int64)
        counts[centers - state.n_local] = np.diff(offsets)
        self.neighbors = state.device_array(np.concatenate([neighbors[: of_local[-1]], of_ghosts]))
        self.offsets = state.device_array(np.concatenate([of_local, of_local[-1] + counts.cumsum()]))

    def _remember(self, state: AtomState) -> None:
        """Keeps the wrapped positions of the local atoms, as float32 unless rounding would use up the skin.

        Wrapped positions are near the box however far the unwrapped ones have traveled.
        """
        lists = backend_for(state.device).lists
        rounding = np.sqrt(3.0) * 2.0**-24 * lists.farthest(state)
        fits = 2.0 * rounding <= _SHARE * self.skin
        self._rounding = rounding if fits else 0.0
        self._reference = lists.wrapped(state, np.float32 if fits else np.float64)

    def skin_excess(self, state: AtomState) -> float:
        """Distance by which atoms have moved beyond the skin of this rank's list, Å; stale if positive on any rank.

        With F = h₀⁻¹h the deformation of the cell since the build and u the largest displacement beyond it, a pair now
        within the cutoff was then within ‖F⁻¹‖ (cutoff + 2u): that must not exceed cutoff + skin, and likewise for the
        reach of the halo, which asks for more. Infinite before the first build, and where the
        cell is another one of the same lattice.

        A pair vector r₀ of the list has become r₀F + d with |d| ≤ 2u, so that its length changed by at most 2u beyond
        what the singular values of F make of |r₀| ≤ cutoff + skin: this bounds `max_approach` and `max_separation`.
        """
        if self._reference_matrix is None or self._lattices != state.lattices:
            return np.inf
        matrix = state.cell.matrix
        fixed = matrix is self._reference_matrix or np.array_equal(matrix, self._reference_matrix)
        deformation = None if fixed else self._reference_inverse @ state.cell.matrix
        displacement = backend_for(state.device).lists.largest_displacement(state, self._reference, deformation)
        if deformation is None:
            self.displacement = displacement + self._rounding
            self.max_approach = self.max_separation = 2.0 * self.displacement
            return self.max_approach - self.skin
        displacement += self._rounding * float(np.linalg.norm(deformation, 2))
        self.displacement = displacement
        stretches = np.linalg.svd(deformation, compute_uv=False)
        self.max_approach = 2.0 * displacement + max(0.0, 1.0 - float(stretches[-1])) * self._distance
        self.max_separation = 2.0 * displacement + max(0.0, float(stretches[0]) - 1.0) * self._distance
        return (self.reach + 2.0 * displacement) / float(stretches[-1]) - (self.reach + self.skin)
