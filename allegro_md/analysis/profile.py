"""Profiles of density and temperature along an axis of the cell.

Bins are slabs of equal width in fractional coordinates: they follow a cell that changes, and a bin holds the atoms
between the same lattice planes all the time. Densities are ⟨atoms in the bin⟩ / ⟨volume of the bin⟩.

The temperature of a bin is ⟨Σ m v²⟩ / (3 k_B ⟨atoms in the bin⟩): three degrees of freedom per atom, velocities as they
are, with no flow subtracted and none of the constraints of the whole system (such as a resting center of mass).
"""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np

from allegro_md.accumulators.blocks import Blocks, standard_error
from allegro_md.accumulators.counts import Counts, Joint
from allegro_md.accumulators.fixed_point import FixedPointSum
from allegro_md.accumulators.total import Total
from allegro_md.analysis.base import Blocked, Sample, System, require_samples
from allegro_md.analysis.groups import Groups
from allegro_md.analysis.result import Array, Column, Line, Panel, Result
from allegro_md.analysis.surroundings import require_volume
from allegro_md.analysis.table import Bins, GroupedTable
from allegro_md.cell import Cell
from allegro_md.comm import Comm
from allegro_md.config.fields import Choice, Flag
from allegro_md.config.groups import AXES
from allegro_md.errors import InputError, PhysicsError
from allegro_md.units import AMU_A2_PER_FS2, AMU_PER_A3_IN_G_PER_CM3, BOLTZMANN

BITS = 40
"""Σ m v² is added up in units of 2⁻⁴⁰ eV."""

HOTTEST = 2.0**20
"""Largest m v² of an atom, eV."""

_LATTICE = ("a", "b", "c")


class ProfileTable(GroupedTable):
    """Profiles along an axis.

    Attributes:
        axis: "x", "y" or "z", for a cell whose vector along it is perpendicular to the others; "a", "b" or "c": along
            the normal of the lattice planes of the other two vectors.
        bins: number of slabs, from one face of the cell to the other.
        temperature: true: also the temperature of each slab, from velocities.
    """

    kind: Literal["profile"]
    axis: Annotated[str, Choice((*AXES, *_LATTICE))] = "z"
    bins: Bins = 100
    temperature: Flag = False


class _Sums(Joint):
    """Atoms by group, species and bin; Σ m v² by group and bin; atoms outside; sums of volumes and of heights."""

    def __init__(self, groups: int, species: int, bins: int) -> None:
        self.atoms, self.outside = Counts(groups, species, bins), Counts(1)
        self.kinetic, self.cell = FixedPointSum(groups * bins, BITS), Total(2)
        super().__init__(atoms=self.atoms, outside=self.outside, kinetic=self.kinetic, cell=self.cell)

    def functions(self, masses: Array) -> tuple[Array, Array, Array]:
        """Å⁻³, g/cm³ and K, each (groups, bins); `masses` (species,) amu."""
        counts = self.atoms.counts.astype(np.float64)
        atoms, bins = counts.sum(axis=1), counts.shape[2]
        volume = self.cell.value()[0] / bins
        mass = (counts * masses[:, None]).sum(axis=1)
        with np.errstate(divide="ignore", invalid="ignore"):
            temperature = self.kinetic.value().reshape(atoms.shape) / (3.0 * BOLTZMANN * atoms)
            return atoms / volume, mass / volume * AMU_PER_A3_IN_G_PER_CM3, temperature


class Profile(Blocked[_Sums]):
    """Numbers of atoms in slabs of the cell."""

    def __init__(self, table: ProfileTable, system: System, where: str) -> None:
        """Bins without atoms.

        Raises:
            InputError: a group that does not exist, a system without volume, or an axis that does not fit the cell.
        """
        require_volume(system.cell, where)
        self.fields = ("position", "velocity") if table.temperature else ("position",)
        self._groups = Groups(table, system.species_table, system.n_total, where)
        self._table, self._where, self._masses = table, where, system.species_table.masses
        self._axis = "xyzabc".index(table.axis) % 3
        self._periodic, self._origin = system.cell.periodic[self._axis], float(system.cell.origin[self._axis])
        if not self._fits(system.cell):
            what = f"the cell has no vector along {table.axis} that is perpendicular to the others"
            raise InputError(what, where, f'choose axis = "{_LATTICE[self._axis]}"')
        n_groups, n_species = len(self._groups.names), len(self._masses)
        self._blocks = Blocks(lambda: _Sums(n_groups, n_species, table.bins))

    def add(self, sample: Sample) -> None:
        """Counts the atoms of a sample.

        Raises:
            PhysicsError: the cell has turned away from the axis, or an atom is faster than is possible.
        """
        if not self._fits(sample.cell):
            what = f"the cell has turned away from {self._table.axis} at step {sample.step}"
            raise PhysicsError(f'{what}: choose axis = "{_LATTICE[self._axis]}" ({self._where})')
        bits = self._groups.bits(sample.ids, sample.species, sample.wrapped[0])
        self._groups.require_members(sample.comm.sum(self._groups.members(bits)), sample.number)
        bins = self._table.bins
        place = np.floor(sample.fractions[:, self._axis] * bins).astype(np.int64)
        place = place % bins if self._periodic else place
        inside = (place >= 0) & (place < bins)
        squares = self._squares(sample)
        sums = self._blocks.at(sample.number)
        for group in range(len(self._groups.names)):
            chosen = inside & ((bits >> np.uint64(group)) & np.uint64(1)).astype(np.bool_)
            np.add.at(sums.atoms.counts[group], (sample.species[chosen], place[chosen]), 1)
            sums.kinetic.add_at(group * bins + place[chosen], squares[chosen])
        sums.outside.counts += np.count_nonzero(~inside & (bits != 0))
        if sample.comm.rank == 0:
            sums.cell.add(np.array([[sample.cell.volume, sample.cell.heights[self._axis]]]))

    def result(self, comm: Comm) -> Result:
        """Returns the profiles of each group, with errors from blocks."""
        blocks = self._blocks.reduced(comm)
        require_samples(blocks.n_samples, self._where)
        whole, bins = blocks.whole(), self._table.bins
        means = whole.functions(self._masses)
        each = [block.functions(self._masses) for block in blocks.complete()]
        errors = [standard_error(np.array([of[k] for of in each])) for k in range(3)]
        height = whole.cell.value()[1] / blocks.n_samples
        start = self._origin if self._table.axis in AXES else 0.0
        along = start + height * (np.arange(bins) + 0.5) / bins
        shown = [("n", "A-3", "atoms (1/Å³)"), ("rho", "g_cm3", "density (g/cm³)"), ("T", "K", "temperature (K)")]
        shown = shown if self._table.temperature else shown[:2]
        columns = [Column(f"{self._table.axis}_A", along)]
        for group, name in enumerate(self._groups.names):
            for (quantity, unit, _), mean, error in zip(shown, means, errors, strict=False):
                columns.append(Column(f"{quantity}_{name}_{unit}", mean[group]))
                columns.append(Column(f"{quantity}_{name}_err_{unit}", error[group]))
        result = Result(f"Profiles along {self._table.axis}", columns)
        outside = int(whole.outside.counts[0])
        if outside:
            share = f"{outside / blocks.n_samples:.3g} atoms"
            result.notes.append(f"On average {share} are outside the cell, which is not periodic along this axis.")
        names = list(enumerate(self._groups.names))
        result.panels = [
            Panel([Line(along, mean[g], name, error[g]) for g, name in names], f"{self._table.axis} (Å)", label)
            for (_, _, label), mean, error in zip(shown, means, errors, strict=False)
        ]
        return result

    def bytes_held(self, n_local: int) -> float:
        return 32.0 * 8.0 * len(self._groups.names) * self._table.bins * (len(self._masses) + 3)

    def _fits(self, cell: Cell) -> bool:
        """Tells if the bins are slabs across the axis."""
        others = [k for k in range(3) if k != self._axis]
        row, column = cell.matrix[self._axis], cell.matrix[:, self._axis]
        straight = not row[others].any() and not column[others].any() and row[self._axis] > 0.0
        return self._table.axis in _LATTICE or bool(straight)

    def _squares(self, sample: Sample) -> Array:
        """(n,) float64, m v², eV; zero where no temperature is asked for.

        Raises:
            PhysicsError: an atom is faster than is possible.
        """
        if not self._table.temperature:
            return np.zeros(len(sample.ids))
        assert sample.velocity is not None
        x, y, z = sample.velocity.T
        squares = self._masses[sample.species] * AMU_A2_PER_FS2 * (x * x + y * y + z * z)
        if sample.comm.any(not bool((squares < HOTTEST).all())):
            raise PhysicsError(f"an atom has no possible velocity at step {sample.step}: check the trajectory")
        return np.asarray(squares)


def build(table: ProfileTable, system: System, where: str) -> Profile:
    """Makes the quantity of a table."""
    return Profile(table, system, where)
