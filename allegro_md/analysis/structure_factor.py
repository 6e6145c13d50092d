"""Static structure factors, directly from the positions at the wave vectors that fit into the periodic cell.

Partial ones are those of Ashcroft and Langreth, Phys. Rev. 156, 685 (1967): S_AB(q) = ⟨Re ρ_A(q) ρ_B*(q)⟩ / √(N_A N_B)
with ρ_A(q) = Σ exp(iq·r) over the atoms of A, so that S_AA tends to 1 and S_AB to 0 at large q. The total one is
⟨|Σ exp(iq·r)|²⟩ / N, all atoms with the same weight: neither that of neutrons nor that of X-rays. Averages are over the
vectors q in a shell, and over samples. The cell of each sample has its own vectors.

``rdf`` gives the Fourier transform of g(r) in its table ``sq``. That one is broadened by the finite range of g(r), and
goes on below the smallest vector of the cell, where it means nothing. This one is exact at each vector.
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
from allegro_md.analysis.groups import Groups
from allegro_md.analysis.links import Pairs, default_pairs, numbers
from allegro_md.analysis.result import Array, Column, Line, Panel, Result, Value
from allegro_md.analysis.table import GroupedTable
from allegro_md.analysis.wave_vectors import WaveVectors, amplitudes, bits_for, wave_vectors
from allegro_md.cell import Cell
from allegro_md.comm import Comm
from allegro_md.config.fields import Marker, Whole, problem, show
from allegro_md.errors import InputError

BITS = 32
"""S(q) is added up in units of 2⁻³²."""

MOST_SHELLS = 100_000

MOST_PAIRS = 1000
"""Each has a table in every block of samples."""


LARGEST = 1e6
"""Wave number, 1/Å."""


class _WaveNumber(Marker):
    def parse(self, value: Any, info: ValidationInfo) -> float:
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not number or not 0.0 < value <= LARGEST:
            raise problem(f"expected a positive wave number in Å⁻¹, got {show(value)}", "for example 10.0")
        return float(value)


class StructureFactorTable(GroupedTable):
    """Static structure factors.

    Attributes:
        qmax: largest wave number, 1/Å.
        dq: width of the shells of wave numbers over which S(q) is averaged, 1/Å.
        vectors: largest number of wave vectors of a shell, which are chosen at random, always the same; 0: all.
        pairs: list of A-B; default: all pairs of elements or groups.
    """

    kind: Literal["structure-factor"]
    qmax: Annotated[float, _WaveNumber()] = Field(default=10.0, examples=["10.0"])
    dq: Annotated[float, _WaveNumber()] = 0.05
    vectors: Annotated[int, Whole(0)] = 50
    pairs: Pairs = ()

    @model_validator(mode="after")
    def _some_shells(self) -> StructureFactorTable:
        if not 1.0 <= self.qmax / self.dq <= MOST_SHELLS:
            what = f"{self.qmax / self.dq:.3g} shells of {self.dq:g} Å⁻¹ up to {self.qmax:g} Å⁻¹"
            raise problem(what, f"choose 1 to {MOST_SHELLS} shells", "dq")
        return self


class _Sums(Joint):
    """Per shell: number of vectors available; sums of their lengths and of S of each pair and of all, with terms."""

    def __init__(self, shells: int, pairs: int) -> None:
        self.shape = (pairs + 2, shells)
        self.available, self.terms = Counts(shells), Counts(*self.shape)
        self.sums = FixedPointSum((pairs + 2) * shells, BITS)
        super().__init__(available=self.available, terms=self.terms, sums=self.sums)

    def add(self, vectors: WaveVectors, values: Array) -> None:
        """Adds `values` (pairs + 1, n), S at all vectors of a sample; NaN where a group holds no atom."""
        self.available.counts += vectors.available
        used = np.bincount(vectors.shells, minlength=self.shape[1])
        for row, terms in enumerate([vectors.lengths, *values]):
            if np.isfinite(terms).all():
                self.terms.counts[row] += used
                self.sums.add_at(row * self.shape[1] + vectors.shells, terms)

    def means(self) -> Array:
        """(pairs + 2, shells) mean |q|, Å⁻¹, and mean S; NaN in an empty shell."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray(self.sums.value().reshape(self.shape) / self.terms.counts)


class StructureFactor(Blocked[_Sums]):
    """Sums of S(q) over wave vectors in shells."""

    def __init__(self, table: StructureFactorTable, system: System, where: str) -> None:
        """Shells without vectors.

        Raises:
            InputError: a group that does not exist, or a free axis.
        """
        free = [axis for axis, periodic in zip("xyz", system.cell.periodic, strict=True) if not periodic]
        if free:
            what = f"the cell is not periodic along {', '.join(free)}, and no wave vectors fit into it"
            raise InputError(what, where, "use rdf, or a periodic cell")
        self._groups = Groups(table, system.species_table, system.n_total, where)
        self.pairs = table.pairs or default_pairs(self._groups.names)
        self._kinds = numbers(self.pairs, self._groups, MOST_PAIRS, where)
        self._table, self._where = table, where
        self._n_shells = math.ceil(table.qmax / table.dq - 1e-9)
        self._bits = bits_for(system.n_total)
        self._cell, self._vectors = system.cell, self._vectors_of(system.cell)
        self._blocks = Blocks(lambda: _Sums(self._n_shells, len(self.pairs)))

    def add(self, sample: Sample) -> None:
        """Adds S(q) of a sample."""
        if not np.array_equal(sample.cell.matrix, self._cell.matrix):
            self._cell, self._vectors = sample.cell, self._vectors_of(sample.cell)
        wrapped, _ = sample.wrapped
        bits = self._groups.bits(sample.ids, sample.species, wrapped)
        members = sample.comm.sum(self._groups.members(bits))
        self._groups.require_members(members, sample.number)
        indices, fractions = self._vectors.indices, sample.fractions
        found = np.zeros((len(members) + 1, 2, len(indices)), np.int64)
        for kind in np.unique(bits):
            part = amplitudes(fractions[bits == kind], indices, self._bits)
            found[[k for k in range(len(members)) if kind >> np.uint64(k) & np.uint64(1)] + [-1]] += part
        found = sample.comm.sum(found)
        block, amplitude = self._blocks.at(sample.number), np.ldexp(found.astype(np.float64), -self._bits)
        if sample.comm.rank == 0:
            block.add(self._vectors, self._factors(amplitude, members, sample.n_total))

    def result(self, comm: Comm) -> Result:
        """Returns S(q) of each pair and of all atoms, with errors from blocks."""
        blocks = self._blocks.reduced(comm)
        require_samples(blocks.n_samples, self._where)
        whole = blocks.whole()
        used, available = whole.terms.counts[0], whole.available.counts
        filled = used > 0
        q, *factors = whole.means()[:, filled]
        _, *errors = standard_error(np.array([block.means()[:, filled] for block in blocks.complete()]))
        names = [*(f"{a}-{b}" for a, b in self.pairs), "total"]
        columns = [Column("q_A-1", q)]
        for name, values, error in zip(names, factors, errors, strict=True):
            columns += [Column(f"s_{name}", values), Column(f"s_{name}_err", error)]
        columns.append(Column("vectors", used[filled] / blocks.n_samples))
        result = Result("Static structure factors (Ashcroft-Langreth)", columns)
        top = int(np.argmax(factors[-1])) if len(q) else 0
        if len(q):
            height, error = float(factors[-1][top]), float(errors[-1][top])
            result.values = [
                Value("q_peak", "highest peak of the total S(q), position", float(q[top]), 0.5 * self._table.dq, "1/Å"),
                Value("s_peak", "highest peak of the total S(q), height", height, error, ""),
            ]
        else:
            result.notes.append("No wave vector of the cell is shorter than qmax.")
        partly = np.flatnonzero(used < available)
        if len(partly):
            start = partly[0] * self._table.dq
            share = f"{used.sum() / available.sum():.2g} of all"
            text = f"Of shells beyond {start:.3g} Å⁻¹ at most {self._table.vectors} vectors are used, in total {share}"
            result.notes.append(f"{text}; 'vectors = 0' uses all.")
        lines = [Line(q, values, name, error) for name, values, error in zip(names, factors, errors, strict=True)]
        result.panels = [Panel(lines[:-1], "q (1/Å)", "S(q)"), Panel(lines[-1:], "q (1/Å)", "S(q)", level=1.0)]
        if len(names) == 2 and np.array_equal(factors[0], factors[-1]):  # all atoms are in the one group
            del result.panels[0]
        return result

    def bytes_held(self, n_local: int) -> float:
        return 32.0 * 24.0 * (len(self.pairs) + 4) * self._n_shells + 48.0 * len(self._vectors.lengths)

    def bytes_while_called(self, n_local: int) -> float:
        return 150.0 * n_local + 16.0 * len(self._vectors.lengths) * (3 * len(self._groups.names) + len(self.pairs) + 5)

    def _vectors_of(self, cell: Cell) -> WaveVectors:
        return wave_vectors(cell, self._n_shells, self._table.dq, self._table.vectors)

    def _factors(self, amplitude: Array, members: NDArray[np.int64], n_total: int) -> Array:
        """Structure factors of each pair, and of all atoms.

        Args:
            amplitude: (groups + 1, 2, n) real and imaginary parts at each vector, of the groups and of all atoms.
            members: (groups,) int64, atoms of each group.
            n_total: atoms of the system.

        Returns:
            (pairs + 1, n) float64, NaN where a group holds no atom.
        """
        size = np.append(members, n_total)
        pairs = [*self._kinds.tolist(), [len(members), len(members)]]
        factors = np.empty((len(pairs), amplitude.shape[2]))
        for row, (a, b) in zip(factors, pairs, strict=True):
            product = amplitude[a, 0] * amplitude[b, 0] + amplitude[a, 1] * amplitude[b, 1]
            row[:] = product / math.sqrt(float(size[a]) * float(size[b])) if size[a] and size[b] else math.nan
        return factors


def build(table: StructureFactorTable, system: System, where: str) -> StructureFactor:
    """Makes the quantity of a table."""
    return StructureFactor(table, system, where)
