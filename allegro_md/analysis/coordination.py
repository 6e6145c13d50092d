"""Coordination numbers: how many atoms of B are closer than a cutoff to an atom of A.

An atom counts as often as it has periodic images within the cutoff. The mean is n_AB of `rdf` at the cutoff.
"""

from __future__ import annotations

from typing import Literal

import numba
import numpy as np
from numpy.typing import NDArray

from allegro_md.accumulators.blocks import Blocks, standard_error
from allegro_md.accumulators.counts import Counts
from allegro_md.analysis.base import Blocked, Sample, System, require_samples
from allegro_md.analysis.bonds import Near, bond_vectors, bytes_of_bonds, closer, near
from allegro_md.analysis.groups import Groups
from allegro_md.analysis.links import BondedTable, Cutoffs, Pairs, marked, numbers
from allegro_md.analysis.result import Array, Column, Line, Panel, Result, Value
from allegro_md.backends.cpu.lanes import lowest
from allegro_md.comm import Comm
from allegro_md.errors import PhysicsError

MOST_PAIRS = 1000
"""Each has a histogram in every block of samples."""

MOST = 255
"""Largest coordination number."""


class CoordinationTable(BondedTable):
    """Distributions of coordination numbers.

    Attributes:
        pairs: list of A-B, B around A; default: all pairs of elements or groups with a cutoff, in both orders.
    """

    kind: Literal["coordination"]
    pairs: Pairs = ()


class Coordination(Blocked[Counts]):
    """Histogram of the numbers of neighbors."""

    def __init__(self, table: CoordinationTable, system: System, where: str) -> None:
        """Numbers of nothing.

        Raises:
            InputError: a group that does not exist, or a pair without a cutoff.
        """
        self._groups = Groups(table, system.species_table, system.n_total, where)
        cutoffs, names = Cutoffs(table, self._groups, where), self._groups.names
        self.pairs = table.pairs or tuple((a, b) for a in names for b in names if cutoffs.given((a, b)))
        self._kinds = numbers(self.pairs, self._groups, MOST_PAIRS, where)
        self._limits: Array = cutoffs.between(self.pairs)
        self._where, self._system = where, system
        self._blocks = Blocks(lambda: Counts(len(self.pairs), MOST + 1))

    def add(self, sample: Sample) -> None:
        """Counts the neighbors of all atoms of a sample.

        Raises:
            PhysicsError: an atom has more than `MOST`.
        """
        state, held = near(sample, float(self._limits.max()))
        ids, species, wrapped = (state.host_all(name) for name in ("id", "species", "position"))
        bits = self._groups.bits(ids, species, wrapped)
        self._groups.require_members(sample.comm.sum(self._groups.members(bits[: state.n_local])), sample.number)
        found = np.zeros((len(self.pairs), MOST + 2), np.int64)
        for first in range(0, len(self.pairs), 64):
            part = slice(first, first + 64)
            marks = tuple(marked(bits, self._kinds[part, place]) for place in range(2))
            _count(held, marks, self._limits[part], found[part])
        if sample.comm.any(bool(found[:, -1].any())):
            raise PhysicsError(
                f"an atom has more than {MOST} neighbors at step {sample.step}: choose a smaller cutoff ({self._where})"
            )
        self._blocks.at(sample.number).counts += found[:, :-1]

    def result(self, comm: Comm) -> Result:
        """Returns the fractions of atoms with each coordination number, with errors from blocks."""
        blocks = self._blocks.reduced(comm)
        require_samples(blocks.n_samples, self._where)
        counts = blocks.whole().counts
        end = int(np.flatnonzero(counts.any(axis=0)).max()) + 1
        fraction, mean = _fractions(counts)
        each = [_fractions(block.counts) for block in blocks.complete()]
        error, mean_error = (standard_error(np.array([of[k] for of in each])) for k in range(2))
        n, names = np.arange(end), [f"{a}-{b}" for a, b in self.pairs]
        columns = [Column("n", n)]
        lines = []
        for k, name in enumerate(names):
            shown, shown_error = fraction[k, :end], error[k, :end]
            columns += [Column(f"fraction_{name}", shown), Column(f"fraction_{name}_err", shown_error)]
            lines.append(Line(n.astype(np.float64), shown, name, shown_error))
        result = Result("Coordination numbers", columns)
        for k, (a, b) in enumerate(self.pairs):
            label = f"mean number of {b} around {a} (within {self._limits[k]:g} Å)"
            result.values.append(Value(f"n_{names[k]}", label, float(mean[k]), float(mean_error[k]), ""))
        result.panels = [Panel(lines, "coordination number", "fraction of atoms", discrete=True)]
        return result

    def bytes_held(self, n_local: int) -> float:
        return 32.0 * 8.0 * len(self.pairs) * (MOST + 1)

    def bytes_while_called(self, n_local: int) -> float:
        return bytes_of_bonds(n_local, float(self._limits.max()), self._system)


def _fractions(counts: NDArray[np.int64]) -> tuple[Array, Array]:
    """Fractions (pairs, MOST + 1), and mean numbers (pairs,), of `counts` (pairs, MOST + 1)."""
    total = counts.sum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        return counts / total[:, None], (counts @ np.arange(MOST + 1)) / total


@numba.njit(cache=True)
def _count(
    held: Near,
    marks: tuple[NDArray[np.uint64], NDArray[np.uint64]],
    limits: NDArray[np.float64],
    found: NDArray[np.int64],
) -> None:
    """Counts the neighbors of all atoms, of up to 64 pairs of groups.

    Args:
        held: atoms and neighbors.
        marks: of each place in a pair (n_all,), bit k: the atom may be there in pair k.
        limits: (pairs,) Å, cutoffs.
        found: (pairs, MOST + 2), number of atoms with 0, 1, … neighbors, the last: with more; added to.
    """
    room = np.max(np.diff(held.offsets)) if len(held.offsets) > 1 else 0
    vectors = np.empty((room, 4))
    n = np.empty(len(found), dtype=np.int64)
    most = found.shape[1] - 1
    for i in range(len(held.offsets) - 1):
        kinds = marks[0][i]
        if kinds == 0:
            continue
        n[:] = 0
        for a in range(bond_vectors(held, i, vectors)):
            bonds = closer(kinds & marks[1][held.neighbors[held.offsets[i] + a]], vectors[a, 3], limits)
            while bonds != 0:
                n[lowest(bonds)] += 1
                bonds &= bonds - np.uint64(1)
        while kinds != 0:
            k = lowest(kinds)
            found[k, min(n[k], most)] += 1
            kinds &= kinds - np.uint64(1)


def build(table: CoordinationTable, system: System, where: str) -> Coordination:
    """Makes the quantity of a table."""
    return Coordination(table, system, where)
