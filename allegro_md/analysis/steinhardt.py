"""Bond-order parameters, q_l = √(4π/(2l+1) Σ_m |q_lm|²) with q_lm the mean of Y_lm over the bonds of an atom.

Steinhardt, Nelson and Ronchetti, Phys. Rev. B 28, 784 (1983); averaged over an atom and its neighbors, q̄_lm in place of
q_lm: Lechner and Dellago, J. Chem. Phys. 129, 114707 (2008). Neighbors are atoms of any of the groups, so that
``species = ["O"]`` looks at the order of the oxygen atoms among themselves.
"""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, ValidationInfo, model_validator

from allegro_md.accumulators.blocks import Blocks, standard_error
from allegro_md.accumulators.counts import Counts, Joint
from allegro_md.accumulators.fixed_point import FixedPointSum
from allegro_md.analysis.base import Blocked, Sample, System, require_samples
from allegro_md.analysis.bond_order import averaged_over_bonds, bond_sums, degrees, parameters
from allegro_md.analysis.bonds import Near, bytes_of_bonds, near
from allegro_md.analysis.groups import Groups
from allegro_md.analysis.result import Array, Column, Line, Panel, Result, Value
from allegro_md.analysis.table import Bins, GroupedTable
from allegro_md.comm import Comm
from allegro_md.config.fields import Flag, Length, Marker, Whole, problem, show
from allegro_md.errors import InputError, PhysicsError
from allegro_md.state import AtomState

BITS = 32
"""The parameters, from 0 to 1, are added up in units of 2⁻³²."""

HIGHEST = 20
"""Highest degree of harmonics."""


class _DegreesField(Marker):
    def parse(self, value: Any, info: ValidationInfo) -> tuple[int, ...]:
        value = [value] if isinstance(value, (int, float)) else value
        if not isinstance(value, (list, tuple)) or not value:
            raise problem(f"expected a list of degrees, got {show(value)}", "for example [4, 6]")
        found = tuple(Whole(1).parse(v) for v in value)
        if len(set(found)) < len(found):
            raise problem(f"a degree is listed twice in {show(value)}", "list each once")
        if max(found) > HIGHEST:
            raise problem(f"the degree {max(found)} is too high", f"at most {HIGHEST} is possible")
        return found


class SteinhardtTable(GroupedTable):
    """Bond-order parameters.

    Attributes:
        l: degrees of the parameters, from 1 to 20.
        cutoff: atoms within this distance are neighbors, Å. Give this or `neighbors`.
        neighbors: how many nearest atoms are neighbors. Give this or `cutoff`.
        averaged: true: q_lm averaged over each atom and its neighbors (Lechner and Dellago).
        bins: number of bins of the histogram, from 0 to 1.
    """

    kind: Literal["steinhardt"]
    l: Annotated[tuple[int, ...], _DegreesField()] = (4, 6)  # noqa: E741
    cutoff: Length | None = Field(default=None, examples=["3.5"])
    neighbors: Annotated[int, Whole(1)] | None = None
    averaged: Flag = False
    bins: Bins = 100

    @model_validator(mode="after")
    def _one_of_two(self) -> SteinhardtTable:
        if (self.cutoff is None) == (self.neighbors is None):
            what = "no neighbors are defined" if self.cutoff is None else "both a cutoff and a number of neighbors"
            raise problem(what, "give either cutoff = 3.5, in Å, or neighbors = 12", "cutoff")
        return self


class _Sums(Joint):
    """Histograms of parameters, numbers of atoms with and without bonds, and sums of the parameters."""

    def __init__(self, degrees: int, groups: int, bins: int) -> None:
        self.bins, self.atoms = Counts(degrees, groups, bins), Counts(groups, 2)
        self.total = FixedPointSum(degrees * groups, BITS)
        super().__init__(bins=self.bins, atoms=self.atoms, total=self.total)

    def functions(self) -> tuple[Array, Array]:
        """p(q) (degrees, groups, bins), and means (degrees, groups)."""
        counts, atoms = self.bins.counts, self.atoms.counts[:, 0]
        with np.errstate(divide="ignore", invalid="ignore"):
            return counts * counts.shape[2] / atoms[:, None], self.total.value().reshape(counts.shape[:2]) / atoms


class Steinhardt(Blocked[_Sums]):
    """Histogram of the parameters of atoms."""

    def __init__(self, table: SteinhardtTable, system: System, where: str) -> None:
        """Bins without atoms.

        Raises:
            InputError: a group that does not exist, or there are too few atoms to be neighbors.
        """
        if table.neighbors and not any(system.cell.periodic) and system.n_total <= table.neighbors:
            what = f"{system.n_total} atoms are too few for {table.neighbors} neighbors of each"
            raise InputError(what, where, "choose fewer 'neighbors'")
        self._groups = Groups(table, system.species_table, system.n_total, where)
        self._table, self._where, self._system = table, where, system
        self._degrees = degrees(table.l)
        self._reach = table.cutoff or _reach_of(table.neighbors or 1, system)
        self._blocks = Blocks(lambda: _Sums(len(table.l), len(self._groups.names), table.bins))

    def add(self, sample: Sample) -> None:
        """Adds the parameters of the atoms of a sample."""
        _, bits, q = self.of_atoms(sample)
        self._groups.require_members(sample.comm.sum(self._groups.members(bits)), sample.number)
        sums, bins = self._blocks.at(sample.number), self._table.bins
        quanta = np.zeros((len(self._table.l), len(self._groups.names)), np.int64)
        for group in range(len(self._groups.names)):
            member = (bits & (np.uint64(1) << np.uint64(group))) != 0
            found = q[member & np.isfinite(q[:, 0])]
            sums.atoms.counts[group] += len(found), np.count_nonzero(member) - len(found)
            for k in range(len(self._table.l)):
                place = np.minimum((found[:, k] * bins).astype(np.int64), bins - 1)
                sums.bins.counts[k, group] += np.bincount(place, minlength=bins)
                quanta[k, group] = np.rint(found[:, k] * 2.0**BITS).astype(np.int64).sum()
        sums.total.add_quanta(quanta.ravel())

    def of_atoms(self, sample: Sample) -> tuple[NDArray[np.int64], NDArray[np.uint64], Array]:
        """Computes the parameters of atoms (collective over `sample.comm`).

        Returns:
            Of this rank's atoms: ids (n,), groups as bits (n,), and q (n, degrees), NaN without a bond.

        Raises:
            PhysicsError: there are too few atoms to be neighbors.
        """
        table = self._table
        while True:
            state, held = near(sample, self._reach, of_ghosts=table.averaged)
            ids, species, wrapped = (state.host_all(name) for name in ("id", "species", "position"))
            bits = self._groups.bits(ids, species, wrapped)
            sums = np.empty((len(held.offsets) - 1, sum(2 * l + 1 for l in table.l)))  # noqa: E741
            nearest = table.neighbors or 0
            bonded, n_bonds = bond_sums(held, bits != 0, self._reach, nearest, self._degrees, sums)
            if not sample.comm.any(self._lacks(state, held, bonded, n_bonds)):
                break
            self._require_enough(sample, bits[: state.n_local])
            self._reach *= 1.25
        n = state.n_local
        if table.averaged:
            averaged = np.empty((n, sums.shape[1]))
            averaged_over_bonds(held, bonded, sums, averaged)
            sums = averaged
        ends = np.cumsum([0] + [2 * l + 1 for l in table.l])  # noqa: E741
        q = np.empty((n, len(table.l)))
        parameters(sums, ends, q)
        q[n_bonds[:n] == 0] = np.nan
        return ids[:n].copy(), bits[:n], q

    def result(self, comm: Comm) -> Result:
        """Returns the distribution of each parameter, with errors from blocks."""
        blocks = self._blocks.reduced(comm)
        require_samples(blocks.n_samples, self._where)
        whole = blocks.whole()
        p, mean = whole.functions()
        each = [block.functions() for block in blocks.complete()]
        p_error, mean_error = (standard_error(np.array([of[k] for of in each])) for k in range(2))
        bins = self._table.bins
        middle = (np.arange(bins) + 0.5) / bins
        columns = [Column("q", middle)]
        title = "Bond-order parameters" + (", averaged over neighbors" if self._table.averaged else "")
        result = Result(title, columns)
        for k, degree in enumerate(self._table.l):
            for group, name in enumerate(self._groups.names):
                shown, error = p[k, group], p_error[k, group]
                columns += [Column(f"p_q{degree}_{name}", shown), Column(f"p_q{degree}_{name}_err", error)]
                label, value = f"mean q{degree} of {name}", float(mean[k, group])
                result.values.append(Value(f"q{degree}_{name}", label, value, float(mean_error[k, group]), ""))
            lines = [Line(middle, p[k, g], name, p_error[k, g]) for g, name in enumerate(self._groups.names)]
            result.panels.append(Panel(lines, f"q{degree}", f"p(q{degree})"))
        for name, (bonded, alone) in zip(self._groups.names, whole.atoms.counts.tolist(), strict=True):
            if alone:
                share = f"{alone / (alone + bonded):.3g} of the atoms of {name}, over all samples,"
                result.notes.append(f"A fraction {share} has no neighbor and is left out.")
        return result

    def bytes_held(self, n_local: int) -> float:
        return 32.0 * 8.0 * len(self._table.l) * len(self._groups.names) * (self._table.bins + 4)

    def bytes_while_called(self, n_local: int) -> float:
        row = 8.0 * sum(2 * l + 1 for l in self._table.l)  # noqa: E741
        reach = self._reach * (2.0 if self._table.averaged else 1.0)
        return bytes_of_bonds(n_local, reach, self._system) + 4.0 * row * n_local

    def _lacks(self, state: AtomState, held: Near, bonded: NDArray[np.bool_], n_bonds: NDArray[np.int64]) -> bool:
        """Tells if an atom of this rank, or where it matters one bonded to it, has fewer bonds than it should.

        Args:
            state: local atoms and ghosts.
            held: their neighbors.
            bonded: (n_pairs,) which neighbors are bonded.
            n_bonds: (n_centers,) number of bonds.
        """
        if self._table.neighbors is None:
            return False
        own = slice(0, held.offsets[state.n_local])
        around = held.neighbors[own][bonded[own]] if self._table.averaged else np.zeros(0, np.int32)
        counts = np.append(n_bonds[: state.n_local], n_bonds[around])
        return bool((counts < self._table.neighbors).any())

    def _require_enough(self, sample: Sample, bits: NDArray[np.uint64]) -> None:
        """Refuses a system in which no search finds the neighbors asked for; `bits` (n_local,) of groups."""
        members = int(sample.comm.sum(np.array([np.count_nonzero(bits)]))[0])
        if members == 0 or (not any(sample.cell.periodic) and members <= (self._table.neighbors or 0)):
            what = f"{members} atoms are too few for {self._table.neighbors} neighbors of each"
            raise PhysicsError(f"{what} at step {sample.step}: choose fewer 'neighbors' ({self._where})")


def _reach_of(neighbors: int, system: System) -> float:
    """A distance, Å, within which about twice as many atoms are as `neighbors`, at the mean density."""
    volume = system.cell.volume if math.isfinite(system.cell.volume) else 20.0 * system.n_total
    return float((2.0 * neighbors * volume / system.n_total * 3.0 / (4.0 * math.pi)) ** (1.0 / 3.0))


def build(table: SteinhardtTable, system: System, where: str) -> Steinhardt:
    """Makes the quantity of a table."""
    return Steinhardt(table, system, where)
