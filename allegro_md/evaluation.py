"""The interface between potentials and those who use them: one evaluation, and a potential's description of itself.

`QUANTITIES` names everything an evaluation can hold, as `state.FIELDS` names everything an atom has. Who needs a
quantity asks for it by name; what a potential cannot provide is missing from the result.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from allegro_md.exact import FORCE_SCALE, ExactSum
from allegro_md.state import AtomState, DeviceArray, on_host

Needs = frozenset[str]
"""Names of `QUANTITIES` that an evaluation is asked for; forces and energies are always made."""

NOTHING_MORE: Needs = frozenset()


@dataclass(frozen=True)
class Quantity:
    """A quantity that an evaluation can hold.

    Attributes:
        name: its key.
        per: "system" or "atom".
        shape: of one value.
        unit: of the values; "fixed point" is eV/Å of a force, and eV of a virial, times `exact.FORCE_SCALE`.
        exact: kind of exact sum (`exact.GLOBAL_BITS`) that holds a quantity of the system.
        ghosts: contributions to ghosts are sent home and added; the rows are those of local atoms and ghosts.
        of_one: of a sum of potentials, it is that of the one term that has it.
    """

    name: str
    per: Literal["system", "atom"]
    shape: tuple[int, ...]
    unit: str
    exact: str = ""
    ghosts: bool = False
    of_one: bool = False


QUANTITIES: dict[str, Quantity] = {
    quantity.name: quantity
    for quantity in (
        Quantity("energy", "atom", (), "eV"),
        Quantity("virial", "system", (6,), "eV", exact="virial"),
        Quantity("virial_per_atom", "atom", (6,), "eV"),
        # Σ_i −d_ij ⊗ ∂E_i/∂d_ij of the atom j that is pushed, rows of the 3 × 3 matrix one after the other.
        Quantity("centroid_virial", "atom", (9,), "fixed point", ghosts=True),
        # Forces that each member of a committee adds, (n, K, 3).
        Quantity("member_force", "atom", (-1, 3), "fixed point", ghosts=True, of_one=True),
        Quantity("force_std", "atom", (), "eV/Å", of_one=True),
    )
}


@dataclass
class Evaluation:
    """The result of one evaluation beside the forces, which it adds to the state.

    Attributes:
        per_atom: name → (n_local, …) array on the state's device; (n_all, …) for a quantity with ghosts until these
            have been sent home.
        totals: name → exact sum over the local atoms of this rank, −dE/dstrain in Voigt order for "virial".
    """

    per_atom: dict[str, DeviceArray] = field(default_factory=dict)
    totals: dict[str, ExactSum] = field(default_factory=dict)

    @property
    def energy(self) -> DeviceArray | None:
        """(n_local,) float64, eV; None of a potential without energies."""
        return self.per_atom.get("energy")

    @property
    def virial(self) -> ExactSum | None:
        """(6,) eV; None where it was not asked for or the potential has none."""
        return self.totals.get("virial")

    @property
    def virial_per_atom(self) -> DeviceArray | None:
        """(n_local, 6) float64, eV, −Σ_j d ⊗ dE_i/dd of each center; None as for `virial`."""
        return self.per_atom.get("virial_per_atom")

    @property
    def centroid_virial(self) -> NDArray[np.float64] | None:
        """(n_local, 3, 3) float64, eV, W_j = −Σ_i d_ij ⊗ ∂E_i/∂d_ij of each atom j; None as for `virial`.

        The first axis is that of d_ij. D. Surblys et al., Phys. Rev. E 99, 051301 (2019).
        """
        rows = self.per_atom.get("centroid_virial")
        return None if rows is None else on_host(rows).reshape(-1, 3, 3) / FORCE_SCALE

    @property
    def force_std(self) -> NDArray[np.float64] | None:
        """(n_local,) float64, eV/Å, of a committee; None where it was not asked for, or there is no committee."""
        return None if "force_std" not in self.per_atom else on_host(self.per_atom["force_std"])

    @staticmethod
    def of(
        state: AtomState,
        needs: Needs,
        energy: NDArray[np.float64] | None,
        virial: NDArray[np.float64] | None,
        centroid: NDArray[np.int64] | None = None,
    ) -> Evaluation:
        """Makes an evaluation of arrays of the host.

        Args:
            state: gives the device of the result, and the ids.
            needs: of the evaluation.
            energy: (n_local,) float64, eV; None: the potential has none.
            virial: (n_local, 6) float64, eV; not read unless it is needed; None: the potential has none.
            centroid: (n_all, 9) int64, fixed point, likewise.
        """
        result = Evaluation()
        if energy is not None:
            result.per_atom["energy"] = state.device_array(energy)
        if virial is not None and wants_virial(needs):
            result.totals["virial"] = ExactSum.of(virial, "virial", state.host_local("id"))
            if "virial_per_atom" in needs:
                result.per_atom["virial_per_atom"] = state.device_array(virial)
        if centroid is not None and "centroid_virial" in needs:
            result.per_atom["centroid_virial"] = state.device_array(centroid)
        return result

    def plus(self, other: Evaluation) -> Evaluation:
        """Both together, in the memory of this one; a quantity that one of them lacks is left out.

        Forces of the members of a committee are those of the one potential that has them.
        """
        for name in self.per_atom.keys() | other.per_atom.keys():
            if QUANTITIES[name].of_one:
                if name not in self.per_atom:
                    self.per_atom[name] = other.per_atom[name]
            elif name not in self.per_atom or name not in other.per_atom:
                self.per_atom.pop(name, None)
            else:
                self.per_atom[name] += other.per_atom[name]
        totals = {
            name: total.plus(other.totals[name]) for name, total in self.totals.items() if name in other.totals
        }
        return Evaluation(self.per_atom, totals)


def wants_virial(needs: Needs) -> bool:
    """Tells if any virial is needed."""
    return not needs.isdisjoint({"virial", "virial_per_atom"})


def centroid_rows(state: AtomState, needs: Needs) -> NDArray[np.int64]:
    """Zeros for the centroid virials of local atoms and ghosts, (n_all, 9); (0, 9) where they are not needed."""
    return np.zeros((state.n_all if "centroid_virial" in needs else 0, 9), dtype=np.int64)


def force_std(members: NDArray[np.int64], rows_at_a_time: int = 1 << 16) -> NDArray[np.float64]:
    """Standard deviation of each atom's force over a committee, σ_i = sqrt((1/K) Σ_k |F_i^k − F_i|²).

    F_i = (1/K) Σ_k F_i^k is the mean force. Atom by atom and in the order of the members, so that an atom's bits do
    not depend on the rank that owns it.

    Args:
        members: (n, K, 3) int64, fixed point, complete sums of F_i^k / K.
        rows_at_a_time: atoms whose deviations are held at a time.

    Returns:
        (n,) float64, eV/Å.
    """
    count, square = members.shape[1], np.zeros(len(members))
    for first in range(0, len(square), rows_at_a_time):
        rows = slice(first, first + rows_at_a_time)
        mean = members[rows].sum(axis=1)
        for k in range(count):
            deviation = count * members[rows, k].astype(np.float64) - mean
            square[rows] += deviation[:, 0] ** 2 + deviation[:, 1] ** 2 + deviation[:, 2] ** 2
    std: NDArray[np.float64] = np.sqrt(square / count) / FORCE_SCALE
    return std


DERIVED: dict[str, tuple[str, Callable[[NDArray[Any]], NDArray[Any]]]] = {"force_std": ("member_force", force_std)}
"""Quantity → the one it is made of once contributions to ghosts are home, and how."""


ORDINARY: Needs = frozenset({"energy", "force", "virial", "virial_per_atom"})
"""Given by most potentials."""

OF_EDGES: Needs = ORDINARY | {"centroid_virial"}
"""Given by potentials that know the derivatives of the energy of each center."""


TOLERANCE = 1e-5
"""Of a force component where tables stand for functions: eV/Å, and relative to it, whichever is larger."""


@dataclass(frozen=True)
class TrainedModel:
    """The model file behind a potential, for checks that evaluate it in other ways.

    Attributes:
        path: the file.
        weight: factor of its energies in this potential (1/K in a committee of K).
        rebuild: (symbols, engine, precision, weight) → the same model for these species, engine and precision.
        test_vector: reads the cluster in the file, with energies, forces and virial.
    """

    path: Path
    weight: float
    rebuild: Callable[[Sequence[str], str, str, float], Any]
    test_vector: Callable[[], Mapping[str, Any]]


@dataclass(frozen=True)
class PotentialInfo:
    """A potential's description of itself; who wants to know something of a potential reads it here.

    Attributes:
        name: as in the input.
        cutoff: Å, of the neighbor list.
        hops: a center's energy depends on atoms within hops · cutoff; centers up to (hops − 1) · cutoff outside the
            brick are listed, the halo is hops · cutoff wide.
        provides: names of what it gives: "energy", "force", names of `QUANTITIES`.
        conservative: force = −dE/dx; derivatives and drift are checked.
        conserves_momentum: forces sum to zero, which leaves 3N − 3 degrees of freedom.
        ghost_forces: False: it gives forces on local atoms only, complete ones; unless `halo` says otherwise from a
            halo that is twice as wide.
        halo: width of the halo without skin, Å; follows from the three above where it is not given.
        continuous: the energy has no jump at the cutoff.
        bit_exact: results are covered by the promise of bit-identical trajectories.
        precision: of the arithmetic; "unknown" of a program that is not ours.
        tolerance: largest error of a force component against `reference`, eV/Å, that its approximations (tables)
            allow beside rounding; 0: none are made.
        engine: what runs it, under its name in the input; empty where there is no choice.
        gpu_obstacle: why it cannot be evaluated where the atoms are on a GPU; empty: it can.
        files: its parameters.
        min_distance: pair "A-B" → shortest distance it was made for, Å.
        description: one sentence for the log.
        bytes_per_atom: working memory per local + ghost atom during an evaluation, beside the state.
        virial_bytes: working memory per local atom when the virial is asked for.
        reference: makes the same potential by the reference implementation in float64; None: it is that itself.
        model: the model file it comes from, if any.
    """

    name: str
    cutoff: float
    hops: int = 1
    provides: Needs = ORDINARY
    conservative: bool = True
    conserves_momentum: bool = True
    ghost_forces: bool = True
    halo: float = 0.0
    continuous: bool = True
    bit_exact: bool = True
    precision: Literal["double", "mixed", "unknown"] = "double"
    tolerance: float = 0.0
    engine: str = ""
    gpu_obstacle: str = "it has no kernels for GPUs"
    files: tuple[Path, ...] = ()
    min_distance: Mapping[str, float] = field(default_factory=dict)
    description: str = ""
    bytes_per_atom: float = 0.0
    virial_bytes: float = 48.0
    reference: Callable[[], Any] | None = None
    model: TrainedModel | None = None

    def __post_init__(self) -> None:
        if self.halo == 0.0:
            object.__setattr__(self, "halo", self.reach * (1.0 if self.ghost_forces else 2.0))

    @property
    def reach(self) -> float:
        """Distance within which the energy of a center depends on other atoms, Å."""
        return self.hops * self.cutoff
