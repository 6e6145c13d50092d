"""Angular distribution functions: at which angles A-B-C two atoms A and C are bonded to B.

Every pair of bonds of an atom B counts once. p(θ) is normalized to ∫ p dθ = 1 over 0 … 180°; it is not divided by
sin θ, so that bonds in random directions give p ∝ sin θ. An atom is a neighbor as often as it has periodic images
within the cutoff.
"""

from __future__ import annotations

import math
from typing import Literal

import numba
import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from allegro_md.accumulators.blocks import Blocks, standard_error
from allegro_md.accumulators.counts import Counts, Joint
from allegro_md.accumulators.fixed_point import FixedPointSum
from allegro_md.analysis.base import Blocked, Sample, System, require_samples
from allegro_md.analysis.bonds import Near, bond_vectors, bytes_of_bonds, closer, near
from allegro_md.analysis.groups import Groups
from allegro_md.analysis.links import BondedTable, Cutoffs, Triplets, marked, numbers
from allegro_md.analysis.result import Array, Column, Line, Panel, Result, Value
from allegro_md.analysis.table import Bins
from allegro_md.backends.cpu.lanes import lowest
from allegro_md.comm import Comm

MOST_TRIPLETS = 1000
"""Each has a histogram in every block of samples."""

BITS = 24
"""Angles are added up in units of 2⁻²⁴ degrees."""


class AdfTable(BondedTable):
    """Angular distribution functions.

    Attributes:
        triplets: list of A-B-C, B in the middle; default: all whose two bonds have a cutoff.
        bins: number of bins of equal width, from 0 to 180°.
    """

    kind: Literal["adf"]
    triplets: Triplets = ()
    bins: Bins = Field(default=180)


class _Sums(Joint):
    """Counts per triplet: angles by bin; bonds B-A, bonds B-C, and atoms B; and the sum of the angles."""

    def __init__(self, triplets: int, bins: int) -> None:
        self.angles, self.bonds = Counts(triplets, bins), Counts(triplets, 3)
        self.degrees = FixedPointSum(triplets, BITS)
        super().__init__(angles=self.angles, bonds=self.bonds, degrees=self.degrees)

    def functions(self, width: float) -> tuple[Array, Array, Array]:
        """p (triplets, bins) 1/degree; mean angles (triplets,); bonds per atom B (triplets, 2). `width`: of a bin."""
        counts = self.angles.counts
        total = counts.sum(axis=1)
        with np.errstate(divide="ignore", invalid="ignore"):
            p = counts / (width * total[:, None])
            per_center = self.bonds.counts[:, :2] / self.bonds.counts[:, 2:]
            return p, self.degrees.value() / total, per_center


class Adf(Blocked[_Sums]):
    """Histogram of the angles between bonds."""

    def __init__(self, table: AdfTable, system: System, where: str) -> None:
        """Bins without angles.

        Raises:
            InputError: a group that does not exist, or a bond without a cutoff.
        """
        self._groups = Groups(table, system.species_table, system.n_total, where)
        self._cutoffs = Cutoffs(table, self._groups, where)
        names = self._groups.names
        self.triplets = table.triplets or tuple(
            (a, b, c)
            for b in names
            for k, a in enumerate(names)
            for c in names[k:]
            if self._cutoffs.given((a, b), (b, c))
        )
        self._kinds = numbers(self.triplets, self._groups, MOST_TRIPLETS, where)
        limits = [self._cutoffs.between([(t[1], t[end]) for t in self.triplets]) for end in (0, 2)]
        self._limits: Array = np.ascontiguousarray(limits)
        self._cosines: Array = np.cos(np.linspace(0.0, np.pi, table.bins + 1))
        self._where, self._system = where, system
        self._blocks = Blocks(lambda: _Sums(len(self.triplets), table.bins))

    def add(self, sample: Sample) -> None:
        """Counts the angles of a sample."""
        state, held = near(sample, float(self._limits.max()))
        ids, species, wrapped = (state.host_all(name) for name in ("id", "species", "position"))
        bits = self._groups.bits(ids, species, wrapped)
        self._groups.require_members(sample.comm.sum(self._groups.members(bits[: state.n_local])), sample.number)
        sums = self._blocks.at(sample.number)
        degrees = np.zeros(len(self.triplets), np.int64)
        for first in range(0, len(self.triplets), 64):
            part = slice(first, first + 64)
            marks = tuple(marked(bits, self._kinds[part, place]) for place in range(3))
            found = sums.angles.counts[part], sums.bonds.counts[part], degrees[part]
            _count(held, marks, np.ascontiguousarray(self._limits[:, part]), self._cosines, found)
        sums.degrees.add_quanta(degrees)

    def result(self, comm: Comm) -> Result:
        """Returns p(θ) of each triplet, with errors from blocks."""
        blocks = self._blocks.reduced(comm)
        require_samples(blocks.n_samples, self._where)
        whole, width = blocks.whole(), 180.0 / (len(self._cosines) - 1)
        p, mean, bonds = whole.functions(width)
        each = [block.functions(width) for block in blocks.complete()]
        p_error, mean_error, bonds_error = (standard_error(np.array([of[k] for of in each])) for k in range(3))
        middle: Array = (np.arange(len(self._cosines) - 1, dtype=np.float64) + 0.5) * width
        names = ["-".join(triplet) for triplet in self.triplets]
        columns = [Column("angle_deg", middle)]
        for k, name in enumerate(names):
            columns += [Column(f"adf_{name}", p[k]), Column(f"count_{name}", whole.angles.counts[k])]
            columns.append(Column(f"adf_{name}_err", p_error[k]))
        result = Result("Angular distribution functions", columns)
        shown = [k for k in range(len(names)) if whole.angles.counts[k].any()]
        for k in shown:
            name, top = names[k], float(middle[np.argmax(p[k])])
            result.values += [
                Value(f"angle_{name}", f"mean angle {name}", float(mean[k]), float(mean_error[k]), "°"),
                Value(f"peak_{name}", f"most frequent angle {name}", top, 0.5 * width, "°"),
            ]
        result.values += self._bonds_of_pairs(bonds, bonds_error)
        lacking = [name for k, name in enumerate(names) if k not in shown]
        if lacking:
            result.notes.append(f"There is no angle {', '.join(lacking)} within the cutoffs.")
        result.panels = [Panel([Line(middle, p[k], names[k], p_error[k]) for k in shown], "angle (°)", "p(θ) (1/°)")]
        return result

    def bytes_held(self, n_local: int) -> float:
        return 32.0 * 8.0 * len(self.triplets) * (len(self._cosines) + 6)

    def bytes_while_called(self, n_local: int) -> float:
        return bytes_of_bonds(n_local, float(self._limits.max()), self._system)

    def _bonds_of_pairs(self, bonds: Array, error: Array) -> list[Value]:
        """Number of bonds per middle atom, once for each pair; `bonds` and `error` (triplets, 2)."""
        found: dict[str, Value] = {}
        for k, (a, b, c) in enumerate(self.triplets):
            for end, other in enumerate((a, c)):
                name, limit = f"bonds_{b}-{other}", f"within {self._limits[end, k]:g} Å"
                label = f"bonds from {b} to {other}, per atom {b} ({limit})"
                found.setdefault(name, Value(name, label, float(bonds[k, end]), float(error[k, end]), ""))
        return list(found.values())


@numba.njit(cache=True)
def _count(
    held: Near,
    marks: tuple[NDArray[np.uint64], NDArray[np.uint64], NDArray[np.uint64]],
    limits: NDArray[np.float64],
    cosines: NDArray[np.float64],
    found: tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]],
) -> None:
    """Counts angles, bonds and centers of up to 64 triplets.

    Args:
        held: atoms and neighbors.
        marks: of each place in a triplet (n_all,), bit k: the atom may be there in triplet k.
        limits: (2, triplets) Å, cutoffs of the two bonds.
        cosines: (bins + 1,) of the edges of the bins, descending.
        found: angles (triplets, bins), bonds and centers (triplets, 3), and sums of angles (triplets,) in units of
            2⁻²⁴ degrees; all are added to.
    """
    room = np.max(np.diff(held.offsets)) if len(held.offsets) > 1 else 0
    vectors = np.empty((room, 4))
    first, last = np.empty(room, dtype=np.uint64), np.empty(room, dtype=np.uint64)
    angles, bonds, degrees = found
    for i in range(len(held.offsets) - 1):
        kinds = marks[1][i]
        if kinds == 0:
            continue
        n = bond_vectors(held, i, vectors)
        _tally(kinds, bonds[:, 2])
        for a in range(n):
            j = held.neighbors[held.offsets[i] + a]
            first[a] = closer(kinds & marks[0][j], vectors[a, 3], limits[0])
            last[a] = closer(kinds & marks[2][j], vectors[a, 3], limits[1])
            _tally(first[a], bonds[:, 0])
            _tally(last[a], bonds[:, 1])
        for a in range(n):
            if first[a] | last[a] == 0:
                continue
            for b in range(a + 1, n):
                both = (first[a] & last[b]) | (first[b] & last[a])
                if both != 0:
                    _add_angle(vectors[a], vectors[b], both, cosines, angles, degrees)


@numba.njit(cache=True)
def _tally(kinds: np.uint64, counts: NDArray[np.int64]) -> None:
    """Adds one to `counts` (triplets,) of each triplet whose bit is set."""
    while kinds != 0:
        counts[lowest(kinds)] += 1
        kinds &= kinds - np.uint64(1)


@numba.njit(cache=True)
def _add_angle(
    a: NDArray[np.float64],
    b: NDArray[np.float64],
    kinds: np.uint64,
    cosines: NDArray[np.float64],
    angles: NDArray[np.int64],
    degrees: NDArray[np.int64],
) -> None:
    """Counts the angle between the bonds a and b (4,), whose cosine has the same bits if they are exchanged.

    The bin follows from the cosine by comparison with those of the edges; atoms at one place have no angle.

    Args:
        a: (4,) components and length of a bond, Å.
        b: (4,) those of the other one.
        kinds: bit k: it is an angle of triplet k.
        cosines: (bins + 1,) of the edges of the bins, descending.
        angles: (triplets, bins), added to.
        degrees: (triplets,) sums of angles in units of 2⁻²⁴ degrees, added to.
    """
    lengths = a[3] * b[3]
    if lengths == 0.0:
        return
    cosine = min(max((a[0] * b[0] + a[1] * b[1] + a[2] * b[2]) / lengths, -1.0), 1.0)
    angle = math.acos(cosine) * (180.0 / math.pi)
    bins = len(cosines) - 1
    k = min(int(angle * (bins / 180.0)), bins - 1)
    while k > 0 and cosine > cosines[k]:
        k -= 1
    while k < bins - 1 and cosine <= cosines[k + 1]:
        k += 1
    quanta = np.int64(np.rint(angle * 16777216.0))
    while kinds != 0:
        triplet = lowest(kinds)
        angles[triplet, k] += 1
        degrees[triplet] += quanta
        kinds &= kinds - np.uint64(1)


def build(table: AdfTable, system: System, where: str) -> Adf:
    """Makes the quantity of a table."""
    return Adf(table, system, where)
