"""The functions of a backend. A `DeviceArray` is on the device of the state; other arrays are small, or on the host.

Results do not depend on the order of atoms in the arrays nor on the number of ranks, bit for bit, and not on the
backend: every operation is rounded on its own, in the order in which it is written in `cpu`. What decides only when a
list is built anew, or where the box is cut, is exempt: no result depends on it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from allegro_md.exact import ExactSum
from allegro_md.rng import Draw
from allegro_md.state import AtomState, DeviceArray


class Columns(NamedTuple):
    """Parts of the box between planes across x, and across y between two of these.

    Attributes:
        x: (n + 1,) fractional, ascending; atoms outside belong to the nearest part.
        y: (n, m + 1), likewise.
    """

    x: NDArray[np.float64]
    y: NDArray[np.float64]


class Bins(NamedTuple):
    """Intervals of a fractional coordinate; what is outside of all of them counts in the nearest.

    Attributes:
        axis: 0, 1 or 2.
        lower: where the first one begins.
        width: of each.
        n: their number.
    """

    axis: int
    lower: float
    width: float
    n: int


class AtomCost(NamedTuple):
    """Cost of an atom: (number of its listed neighbors + constant) · scale.

    Attributes:
        offsets: (n_local + 1 or more,) int64, of the neighbor list; None where there is none: neighbors do not count.
        constant: in neighbors.
        scale: cost of one neighbor.
    """

    offsets: DeviceArray | None
    constant: float
    scale: float


class StepFunctions(Protocol):
    """Sub-steps of integrators on the local atoms, in place."""

    def kick(self, state: AtomState, factors: NDArray[np.float64]) -> None:
        """Adds force · factor of the species to the velocities, but for atoms of groups in `AtomState.held`.

        Args:
            state: with forces.
            factors: (n_species,) time / mass, Å/fs per fixed-point unit of force.
        """

    def work(self, state: AtomState, time: float) -> None:
        """Adds force · velocity · time to the field `state.WORK` of atoms that are held; `time` in fs/fixed point."""

    def scale_velocities(self, state: AtomState, factor: float, within: int = 0) -> None:
        """Multiplies the velocities of atoms that are not held, and with `within` only of these groups' atoms."""

    def add_forces(self, state: AtomState, forces: NDArray[np.int64], within: int) -> None:
        """Adds forces (n_species, 3), fixed point, to those of atoms of groups `within` that are not held."""

    def drift(self, state: AtomState, time: float) -> None:
        """Adds velocity · time (fs) to the positions."""

    def thermalize(
        self, state: AtomState, keep: NDArray[np.float64], width: NDArray[np.float64], draw: Draw, within: int = 0
    ) -> ExactSum:
        """Replaces velocities v by keep · v + width · R, R a normal deviate per component.

        Args:
            state: its velocities are changed.
            keep: (n_species,) share of the velocity that is kept.
            width: (n_species,) Å/fs, standard deviation of what is added.
            draw: which deviates: those of `rng.normals`.
            within: bits of the groups whose atoms take part; 0: all do. Those that are held never do.

        Returns:
            Σ ½ m (v_new² − v_old²) of the local atoms, eV; one component.
        """

    def strain(self, state: AtomState, deformation: NDArray[np.float64]) -> None:
        """Maps the positions about the cell's origin, x → x₀ + (x − x₀) F; `deformation` (3, 3) is F."""

    def kick_with_cell(
        self, state: AtomState, factors: NDArray[np.float64], damping: NDArray[np.float64], gain: NDArray[np.float64]
    ) -> None:
        """Maps the velocities, v → v D + (force · factor) G, but for atoms of groups in `AtomState.held`.

        Args:
            state: with forces.
            factors: (n_species,) time / mass, Å/fs per fixed-point unit of force.
            damping: (3, 3) D.
            gain: (3, 3) G.
        """

    def drift_with_cell(
        self, state: AtomState, deformation: NDArray[np.float64], flight: NDArray[np.float64]
    ) -> None:
        """Maps the positions about the cell's origin, x → x₀ + (x − x₀) F + v T.

        Args:
            state: its cell is left as it is.
            deformation: (3, 3) F.
            flight: (3, 3) T, fs.
        """

    def combine(self, rows: DeviceArray, factors: NDArray[np.float64], into: int) -> None:
        """Replaces one of k vectors of each atom by a linear combination of all of them.

        Args:
            rows: (n, k, 3) float64, in any unit.
            factors: (k,) of the combination.
            into: index of the vector that is replaced.
        """


class SumFunctions(Protocol):
    """Exact sums over the local atoms; the caller reduces them over ranks."""

    def kinetic_energy(self, state: AtomState, within: int = 0) -> ExactSum:
        """Σ ½ m v² of atoms that are not held, and with `within` of these groups' only, eV; one component."""

    def kinetic_tensor(self, state: AtomState) -> ExactSum:
        """Σ m v ⊗ v of atoms that are not held, eV; six components in Voigt order xx yy zz yz xz xy."""

    def momentum(self, state: AtomState) -> ExactSum:
        """Σ m v, amu·Å/fs; three components."""

    def total_mass(self, state: AtomState) -> ExactSum:
        """Σ m, amu; one component."""

    def summed(self, values: DeviceArray, kind: str, state: AtomState) -> ExactSum:
        """Σ of a quantity: `values` (n_local,) or (n_local, k) float64, in the unit of the exact sum's `kind`."""

    def products(self, rows: DeviceArray, chosen: Sequence[int], state: AtomState) -> ExactSum:
        """Σ of the scalar products of some of k vectors of each atom with all k.

        Args:
            rows: (n_local, k, 3) float64, vectors of lengths up to 1.
            chosen: indices of m of them.
            state: of the atoms.

        Returns:
            m k components, all products of the first chosen vector first.
        """


class LimitFunctions(Protocol):
    """The extremes that guards look at."""

    def largest_length(self, rows: DeviceArray) -> float:
        """Largest length of `rows` (n, 3) float64 or int64, in their unit; infinite if one is not finite."""

    def least_clearance(
        self, state: AtomState, lists: tuple[DeviceArray, DeviceArray], shortest: NDArray[np.float64]
    ) -> tuple[float, int, int]:
        """Finds the listed pair that is closest to its limit.

        Args:
            state: local atoms and ghosts.
            lists: offsets (n_centers + 1,) int64 and neighbors (offsets[-1],) int32.
            shortest: (n_species, n_species) Å; pairs with 0 have no limit.

        Returns:
            Least distance − limit, Å, and the indices of the two atoms; (inf, −1, −1) without such pairs.
        """


class ListFunctions(Protocol):
    """Neighbor lists, and how far atoms have moved since one was built."""

    def sort_order(self, state: AtomState, distance: float) -> DeviceArray | None:
        """Returns the order of the local atoms by cells for pairs within `distance` (Å), (n_local,); None: they are."""

    def find_pairs(
        self, state: AtomState, n_centers: int, distance: float, order: DeviceArray | None = None
    ) -> tuple[DeviceArray, DeviceArray]:
        """Finds all neighbors of some atoms.

        Args:
            state: local atoms and ghosts.
            n_centers: the first so many atoms get a list; fastest if these are in the order of cells.
            distance: Å.
            order: (n_all,) int64, indices of atoms: they are taken in this order; None: as they are held.

        Returns:
            offsets (n_centers + 1,) int64 and neighbors int32, per center in ascending (id, shift) order; indices count
            atoms in the order asked for.
        """

    def farthest(self, state: AtomState) -> float:
        """Largest absolute coordinate of a wrapped position of the local atoms, Å."""

    def wrapped(self, state: AtomState, dtype: type[np.floating[Any]]) -> DeviceArray:
        """Positions of the local atoms in the rank's frame, x + shift · h, (n_local, 3) of a floating-point type, Å."""

    def largest_displacement(
        self, state: AtomState, reference: DeviceArray, deformation: NDArray[np.float64] | None
    ) -> float:
        """Largest displacement of a local atom beyond the deformation of the cell, Å; infinite if one is not finite.

        Args:
            state: now.
            reference: (n_local, 3) float32 or float64 Å, wrapped positions then.
            deformation: (3, 3) h₀⁻¹h of the cell since then; None: the cell is the same.
        """


class DomainFunctions(Protocol):
    """The rank an atom belongs to, and the ranks that need it as a ghost."""

    def first_beyond(self, state: AtomState, farthest: float) -> int:
        """The first local atom with a coordinate that is NaN or not below `farthest` (Å) in size; −1: none."""

    def extremes(self, state: AtomState) -> NDArray[np.float64]:
        """(6,) the largest −f, then the largest f, of the fractional coordinates f; −infinity without atoms."""

    def costs_along(self, state: AtomState, columns: Columns, bins: Bins, cost: AtomCost) -> NDArray[np.int64]:
        """Costs of the local atoms by their wrapped fractional coordinate along an axis, (columns, bins.n).

        Args:
            state: local atoms.
            columns: each has a histogram of its own.
            bins: along the axis.
            cost: of an atom, rounded to an integer: sums over ranks are exact.
        """

    def assign_owners(
        self, state: AtomState, planes: tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]
    ) -> DeviceArray:
        """Finds the rank that owns each local atom, and sets the lattice shifts that wrap them into the box.

        Args:
            state: its shifts are written.
            planes: of the decomposition, fractional: (nx + 1,), (nx, ny + 1) and (nx, ny, nz + 1).

        Returns:
            (n_local,) int32 ranks.
        """

    def within(
        self, state: AtomState, inner: NDArray[np.float64], boxes: NDArray[np.float64]
    ) -> tuple[DeviceArray, NDArray[np.int64]]:
        """Finds the local atoms in each of several boxes, by their wrapped fractional coordinates.

        Args:
            state: local atoms.
            inner: (2, 3) lower and upper bounds of a box that has no part in common with the others.
            boxes: (m, 2, 3) lower and upper bounds.

        Returns:
            Indices of the atoms, int32, first those in the first box, and so on, each ascending; and how many are in
            each box, (m,).
        """

    def gather(self, values: DeviceArray, rows: DeviceArray, out: DeviceArray) -> None:
        """Copies rows of a per-atom array: out[k] = values[rows[k]].

        Args:
            values: (n, …), contiguous.
            rows: (m,) int32.
            out: (m, …), contiguous, of the same type; may be other rows of `values`.
        """

    def scatter_add(self, values: DeviceArray, rows: DeviceArray, addends: DeviceArray) -> None:
        """Adds to rows of a per-atom array, values[rows[k]] += addends[k], some of them several times.

        Args:
            values: (n, …) integers, contiguous.
            rows: (m,) int32.
            addends: (m, …), contiguous, of the same type; may be other rows of `values`.
        """


class Backend(NamedTuple):
    """All that a device must be able to do: modules, or objects, with these functions."""

    steps: StepFunctions
    sums: SumFunctions
    limits: LimitFunctions
    lists: ListFunctions
    domain: DomainFunctions
