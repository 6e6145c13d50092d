"""Checks on a whole system that fits into memory several times: what must not change, and what must change how.

They see the engine as a function of a system, whatever ranks it runs on.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from allegro_md.cell import Cell
from allegro_md.evaluation import PotentialInfo
from allegro_md.exact import FORCE_SCALE
from allegro_md.observables import VOIGT
from allegro_md.state import SpeciesTable
from allegro_md.verify.local import PROBES, QUOTIENT, ROUNDING, STEP, WEAK, Tolerance, persisting
from allegro_md.verify.result import CheckStats
from allegro_md.verify.samples import directions, scrambled

RIGID = {"double": 1e-9, "mixed": 1e-4, "unknown": 1e-4}
"""Allowed change under what only rounds coordinates differently, relative to the forces at play."""

ORIGINS = ((0.37, 0.0, 0.0), (0.37, 0.61, 0.0), (0.37, 0.61, 0.23))
"""Where the corner of the box is moved, fractions of the cell: atoms change sides of faces, edges and corners."""


@dataclass(frozen=True)
class System:
    """All atoms in the order of their ids.

    Attributes:
        species: (n,) int16.
        position: (n, 3) Å.
    """

    cell: Cell
    species_table: SpeciesTable
    species: NDArray[np.int16]
    position: NDArray[np.float64]

    def mapped(self, linear: NDArray[np.float64]) -> System:
        """Cell and atoms under a linear map, x → x @ linear, `linear` (3, 3)."""
        cell = Cell(self.cell.matrix @ linear, self.cell.periodic, self.cell.origin @ linear, self.cell.absent)
        return replace(self, cell=cell, position=self.position @ linear)


@dataclass(frozen=True)
class Evaluated:
    """Energies, forces and virials of a system by an engine, in the order of ids.

    Attributes:
        position: (n, 3) Å, unwrapped.
        energy: (n,) eV, or None.
        force: (n, 3) fixed-point units.
        virial: (n, 6) eV, or None.
        total: energy and virial of the system (1 or 7,), eV, by exact sums.
    """

    position: NDArray[np.float64]
    energy: NDArray[np.float64] | None
    force: NDArray[np.int64]
    virial: NDArray[np.float64] | None
    total: NDArray[np.float64]


class Engine(Protocol):
    """Evaluates a system; collective where it uses several ranks."""

    def __call__(
        self, system: System, skin: float | None = None, order: NDArray[np.int64] | None = None
    ) -> Evaluated:
        """Evaluates a system; `skin` (Å) and the `order` (n_total,) of its ids are free if None."""


def check_net_force(total: NDArray[np.int64], info: PotentialInfo) -> CheckStats:
    """Checks that the forces cancel exactly: `total` (3,) fixed-point units, their sum."""
    stats = CheckStats("net force", "the sum of all forces, in fixed-point units")
    if info.bit_exact and info.conserves_momentum:
        stats.add("a component", total / FORCE_SCALE, 0.0, "eV/Å")
    else:
        stats.leave_out("not promised by this potential")
    return stats


class WholeChecks:
    """The checks on one system.

    Attributes:
        plain: the system evaluated as it is.
        all_stats: filled by the checks.
    """

    def __init__(self, engine: Engine, system: System, info: PotentialInfo) -> None:
        """Evaluates the system once; `info` is that of the engine's potential."""
        self._engine, self._system, self._info = engine, system, info
        self._ids = np.arange(len(system.position))
        self._exact = info.bit_exact
        self.plain = engine(system)
        self._scale = max(WEAK, float(np.abs(self.plain.force).max(initial=0)) / FORCE_SCALE)
        self._rigid = RIGID[info.precision] * self._scale
        self.all_stats: list[CheckStats] = []

    def rebuild(self, skin: float) -> None:
        """Another list, other storage, other ranks: no bit changes, and no position."""
        stats = self._new_stats("rebuild", "other skins, orders of atoms and ranks against the run's")
        stats.add_atoms("the position", self.plain.position - self._system.position, 0.0, "Å", self._ids)
        shuffled = np.argsort(scrambled(self._ids, 1), kind="stable")
        for what, other, order in (("without skin", 0.0, None), ("with a wide skin", skin + 0.7, None),
                                   ("with shuffled atoms", skin, shuffled)):  # fmt: skip
            self._same(stats, what, self._engine(self._system, other, order))

    def wrapping(self) -> None:
        """Atoms on other sides of the box: no bit changes; atoms in other images: rounding only."""
        stats = self._new_stats("wrapping", "the box's corner elsewhere, and atoms in other images, against the run's")
        cell = self._system.cell
        periodic = np.array(cell.periodic, dtype=np.float64)
        if not periodic.any():
            stats.leave_out("no periodic axis")
            return
        for fraction in ORIGINS:
            origin = cell.origin + (np.array(fraction) * periodic) @ cell.matrix
            moved = replace(self._system, cell=Cell(cell.matrix, cell.periodic, origin, cell.absent))
            self._same(stats, "with another corner", self._engine(moved))
        images = np.rint(3.0 * directions(self._ids)) * periodic
        other = self._engine(replace(self._system, position=self._system.position + images @ cell.matrix))
        self._close(stats, "in other images", other, np.eye(3))

    def rotation(self) -> None:
        """Everything turns with the system."""
        turn, _ = np.linalg.qr(np.array([[0.6, -0.3, 0.7], [0.2, 0.9, 0.1], [-0.5, 0.4, 0.8]]))
        turn *= np.sign(np.linalg.det(turn))
        stats = self._new_stats("rotation", "the system turned as a whole against the run's, turned")
        self._close(stats, "turned", self._engine(self._system.mapped(turn)), turn)

    def reflection(self) -> None:
        """Everything is mirrored with the system."""
        normal = np.array([0.48, 0.6, 0.64])
        mirror = np.eye(3) - 2.0 * np.outer(normal, normal)
        stats = self._new_stats("reflection", "the system mirrored against the run's, mirrored")
        self._close(stats, "mirrored", self._engine(self._system.mapped(mirror)), mirror)

    def permutation(self) -> None:
        """Ids are names and nothing more."""
        stats = self._new_stats("permutation", "atoms with each other's ids against the run's")
        order = np.argsort(scrambled(self._ids, 2), kind="stable")
        system = replace(self._system, species=self._system.species[order], position=self._system.position[order])
        other = self._engine(system)
        back = np.argsort(order)
        energy = None if other.energy is None else other.energy[back]
        virial = None if other.virial is None else other.virial[back]
        named = Evaluated(other.position[back], energy, other.force[back], virial, other.total)
        self._close(stats, "renamed", named, np.eye(3))

    def same_as(self, name: str, meaning: str, other: Evaluated, closeness: Tolerance | None) -> None:
        """Another engine: the same bits where `closeness` is None, else as close as that."""
        stats = self._new_stats(name, meaning, "" if closeness is None else closeness.remedy)
        if closeness is None:
            self._same(stats, "there", other)
        else:
            self._close(stats, "there", other, np.eye(3), closeness.allowed(self._scale))

    def strain(self, reference: Engine) -> None:
        """The virial of every atom is −dE/dstrain, of the whole cell and in float64."""
        stats = self._new_stats("strain", "virials against -dE/dstrain of the whole cell, six components, in float64")
        if not self._info.conservative:
            stats.leave_out("the forces are not derived from an energy")
            return
        truth = reference(self._system)
        if truth.virial is None or truth.energy is None or not self._exact:
            stats.leave_out("no virial per atom")
            return
        step = STEP / self._info.cutoff
        noise = ROUNDING * (1.0 + np.abs(truth.energy)) / step
        allowed = QUOTIENT * self._scale * self._info.cutoff + noise
        for k, name in enumerate(("xx", "yy", "zz", "yz", "xz", "xy")):

            def energies(times: NDArray[np.float64], k: int = k) -> NDArray[np.float64]:
                found = [reference(self._system.mapped(_strain(k, float(t)))).energy for t in times]
                return np.stack([energy for energy in found if energy is not None])

            up, down = energies(np.array([step, -step]))
            expected = -truth.virial[:, k]
            miss = np.abs((up - down) / (2.0 * step) - expected)
            doubtful = np.flatnonzero(~(miss <= allowed))
            if len(doubtful):
                table = energies(step * PROBES)
                persist = [persisting(table[:, [i]], float(expected[i]), step, float(allowed[i])) for i in doubtful]
                stats.leave_out("the energy is not smooth", sum(m is None for m in persist))
                miss[doubtful] = [0.0 if m is None else m for m in persist]
            stats.add_atoms(f"component {name}", miss, allowed, "eV", self._ids)

    def _new_stats(self, name: str, meaning: str, remedy: str = "") -> CheckStats:
        self.all_stats.append(CheckStats(name, meaning, remedy))
        return self.all_stats[-1]

    def _same(self, stats: CheckStats, what: str, other: Evaluated) -> None:
        """Equal bits, or nearly equal numbers where the potential does not promise bits."""
        if not self._exact:
            self._close(stats, what, other, np.eye(3))
            return
        plain = self.plain
        if plain.energy is not None and other.energy is not None:
            stats.add_atoms(f"the energy {what}", other.energy - plain.energy, 0.0, "eV", self._ids)
        stats.add_atoms(f"the force {what}", (other.force - plain.force) / FORCE_SCALE, 0.0, "eV/Å", self._ids)
        if plain.virial is not None and other.virial is not None:
            stats.add_atoms(f"the virial {what}", other.virial - plain.virial, 0.0, "eV", self._ids)
        stats.add(f"a total {what}", other.total - plain.total, 0.0, "eV")

    def _close(
        self, stats: CheckStats, what: str, other: Evaluated, turn: NDArray[np.float64], allowed: float | None = None
    ) -> None:
        """Compares with a system turned by `turn` (3, 3): equal up to rounding once turned back; `allowed` in eV/Å."""
        plain = self.plain
        allowed = self._rigid if allowed is None else allowed
        if plain.energy is not None and other.energy is not None:
            rounding = 4e-15 * np.abs(plain.energy)
            stats.add_atoms(f"the energy {what}", other.energy - plain.energy, allowed + rounding, "eV", self._ids)
        difference = other.force @ turn.T / FORCE_SCALE - plain.force / FORCE_SCALE
        stats.add_atoms(f"the force {what}", difference, allowed, "eV/Å", self._ids)
        if plain.virial is None or other.virial is None:
            return
        back = np.einsum("ab,nbc,dc->nad", turn, _tensors(other.virial), turn) - _tensors(plain.virial)
        stats.add_atoms(f"the virial {what}", back, allowed * self._info.cutoff, "eV", self._ids)


def _strain(component: int, amount: float) -> NDArray[np.float64]:
    """(3, 3) a small deformation of one Voigt component."""
    a, b = VOIGT[component]
    shape = np.eye(3)
    shape[a, b] += 0.5 * amount
    shape[b, a] += 0.5 * amount
    return shape


def _tensors(virial: NDArray[np.float64]) -> NDArray[np.float64]:
    """Converts `virial` (n, 6) in Voigt order to (n, 3, 3)."""
    order = np.array([[0, 5, 4], [5, 1, 3], [4, 3, 2]])
    return np.asarray(virial[:, order], dtype=np.float64)
