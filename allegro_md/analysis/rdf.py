"""Radial distribution functions and running coordination numbers.

g_AB(r) = ⟨n_AB(r, dr)⟩ / ⟨(N_A N_B − N_AB) / V⟩ / (4π/3 ((r+dr)³ − r³)), with n_AB the number of ordered pairs of an
atom of A and another atom of B, and N_AB the number of atoms that are in both groups: N_A where they are the same, 0
where they have no atom in common. Periodic images count as atoms. Allen and Tildesley, "Computer Simulation of
Liquids", 2nd ed., Oxford (2017), section 2.6.

The table ``sq`` holds their Fourier transforms, see `fourier`; ``structure-factor`` computes S(q) directly.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator
from scipy.ndimage import uniform_filter1d

from allegro_md.accumulators.blocks import Blocks, standard_error
from allegro_md.accumulators.counts import Counts, Joint
from allegro_md.accumulators.total import Total
from allegro_md.analysis.base import Blocked, Sample, System, require_samples
from allegro_md.analysis.fourier import structure_factors, wave_numbers
from allegro_md.analysis.groups import Groups
from allegro_md.analysis.links import Pairs, default_pairs, marked, numbers
from allegro_md.analysis.result import Array, Column, Line, Panel, Result, Value
from allegro_md.analysis.surroundings import bytes_of_ghosts, require_volume, with_ghosts
from allegro_md.analysis.table import Bins, GroupedTable
from allegro_md.backends.cpu.pair_counts import count_pairs
from allegro_md.comm import Comm
from allegro_md.config.fields import Length, problem

NARROWEST = 1e-3
"""Least width of a bin, Å."""

SMOOTHING = 0.2
"""Range over which g(r) is averaged, Å, to find where its first peak ends, which noise would put too early."""

MOST_PAIRS = 63
"""The 64th bit is for all pairs together."""


class RdfTable(GroupedTable):
    """Radial distribution functions.

    Attributes:
        rmax: largest distance, Å.
        bins: number of bins of equal width, from 0 to rmax.
        pairs: list of A-B, B around A; default: all pairs of elements or groups.
    """

    kind: Literal["rdf"]
    rmax: Length = Field(default=8.0, examples=["8.0"])
    bins: Bins = 400
    pairs: Pairs = ()

    @model_validator(mode="after")
    def _wide_enough(self) -> RdfTable:
        if self.rmax / self.bins < NARROWEST:
            what = f"{self.bins} bins up to {self.rmax:g} Å are narrower than {NARROWEST:g} Å"
            raise problem(what, "use fewer", "bins")
        return self


class _Sums(Joint):
    """Per pair, and for all atoms: counts by bin, and sums of what `Rdf._norm` returns."""

    def __init__(self, pairs: int, bins: int) -> None:
        self.counts, self.norm = Counts(pairs + 1, bins), Total(5 * (pairs + 1))
        super().__init__(counts=self.counts, norm=self.norm)


class Rdf(Blocked[_Sums]):
    """Histogram of the distances of pairs, and what it would be without structure."""

    divided: ClassVar[Literal["frames", "atoms", "no"]] = "frames"

    def __init__(self, table: RdfTable, system: System, where: str) -> None:
        """Bins without pairs.

        Raises:
            InputError: a group that does not exist, or a system without volume.
        """
        require_volume(system.cell, where)
        self._groups = Groups(table, system.species_table, system.n_total, where)
        self._where = where
        self.pairs = table.pairs or default_pairs(self._groups.names)
        self._kinds = numbers(self.pairs, self._groups, MOST_PAIRS, where)
        self._edges: Array = np.linspace(0.0, table.rmax, table.bins + 1)
        self._density = system.n_total / system.cell.volume
        self._free = [axis for axis, periodic in zip("xyz", system.cell.periodic, strict=True) if not periodic]
        self._blocks = Blocks(lambda: _Sums(len(self.pairs), table.bins))

    def add(self, sample: Sample) -> None:
        """Counts the pairs of a sample."""
        state = with_ghosts(sample, float(self._edges[-1]))
        ids, species, wrapped = (state.host_all(name) for name in ("id", "species", "position"))
        bits = self._groups.bits(ids, species, wrapped)
        total = np.uint64(len(self.pairs))
        centers, neighbors = (marked(bits, self._kinds[:, side]) | (np.uint64(1) << total) for side in (0, 1))
        counts = count_pairs(state, self._edges, centers[: state.n_local], neighbors)
        members = sample.comm.sum(self._members(bits[: state.n_local]))
        self._groups.require_members(members[: len(self._groups.names)], sample.number)
        block = self._blocks.at(sample.number)
        block.counts.counts += counts[: len(self.pairs) + 1]
        if sample.comm.rank == 0:
            block.norm.add(self._norm(members, sample.n_total, sample.cell.volume)[None])

    def result(self, comm: Comm) -> Result:
        """Returns g(r) and n(r) of each pair, with errors from blocks."""
        blocks = self._blocks.reduced(comm)
        require_samples(blocks.n_samples, self._where)
        q = wave_numbers(self._edges)
        found = [self._functions(sums) for sums in (blocks.whole(), *blocks.complete())]
        g, running, density, common = (np.array(part) for part in zip(*found, strict=True))
        factors = structure_factors(self._edges, g, density, common, q)
        g_error, running_error, factor_error = (standard_error(part[1:]) for part in (g, running, factors))
        g, running, factors = g[0], running[0], factors[0]
        middle = 0.5 * (self._edges[1:] + self._edges[:-1])
        names = [f"{a}-{b}" for a, b in self.pairs]
        columns = [Column("r_A", middle)]
        for k, name in enumerate(names):
            columns += [Column(f"g_{name}", g[k]), Column(f"n_{name}", running[k])]
        columns.append(Column("g_total", g[-1]))
        columns += [Column(f"g_{name}_err", g_error[k]) for k, name in enumerate([*names, "total"])]
        result = Result("Radial distribution functions", columns)
        if lacking := [name for name, row in zip([*names, "total"], g, strict=True) if np.isnan(row).all()]:
            result.notes.append(f"There is no g(r) of {', '.join(lacking)}: there are no two atoms of such a pair.")
        for k, name in enumerate(names):
            result.values += peak(name, middle, g[k], g_error[k], running[k], running_error[k])
        result.panels = [
            Panel([Line(middle, g[k], name, g_error[k]) for k, name in enumerate(names)], "r (Å)", "g(r)", level=1.0),
            Panel([Line(middle, running[k], name) for k, name in enumerate(names)], "r (Å)", "n(r)"),
        ]
        if self._free:
            result.notes.append(
                f"The cell is not periodic along {', '.join(self._free)}: g(r) refers to the density of the whole "
                "cell, and does not tend to 1."
            )
        else:
            columns = [Column("q_A-1", q)]
            for k, name in enumerate([*names, "total"]):
                columns += [Column(f"s_{name}", factors[k]), Column(f"s_{name}_err", factor_error[k])]
            result.more["sq"] = columns
        return result

    def bytes_held(self, n_local: int) -> float:
        return 32.0 * 8.0 * (len(self.pairs) + 1) * len(self._edges)

    def bytes_while_called(self, n_local: int) -> float:
        return 90.0 * n_local + bytes_of_ghosts(n_local, float(self._edges[-1]), self._density)

    def _members(self, bits: NDArray[np.uint64]) -> NDArray[np.int64]:
        """(groups + pairs,) int64, atoms of each group, and atoms in both groups of each pair, of `bits` (n,)."""
        masks = [np.uint64((1 << a) | (1 << b)) for a, b in self._kinds.tolist()]
        common = [np.count_nonzero((bits & mask) == mask) for mask in masks]
        return np.append(self._groups.members(bits), np.array(common, dtype=np.int64))

    def _norm(self, members: NDArray[np.int64], n_total: int, volume: float) -> Array:
        """N_A, N_B, N_AB of each pair, other atoms of B per atom of A, and pairs per volume; also for all atoms.

        Args:
            members: (groups + pairs,) int64, see `_members`.
            n_total: atoms of the system.
            volume: Å³.

        Returns:
            (5 (pairs + 1),) float64.
        """
        n_groups = len(self._groups.names)
        first, second = (np.append(members[self._kinds[:, side]], n_total).astype(np.float64) for side in (0, 1))
        common = np.append(members[n_groups:], n_total).astype(np.float64)
        others = second - common / np.maximum(first, 1.0)
        return np.concatenate([first, second, common, others, first * others / volume])

    def _functions(self, sums: _Sums) -> tuple[Array, Array, Array, Array]:
        """g and n, (pairs + 1, bins), √(ρ_A ρ_B) in Å⁻³ and N_AB/√(N_A N_B), (pairs + 1,), of some samples."""
        shells = 4.0 * np.pi / 3.0 * np.diff(self._edges**3)
        counts = sums.counts.counts.astype(np.float64)
        first, second, common, others, pairs = sums.norm.value().reshape(5, -1)
        with np.errstate(divide="ignore", invalid="ignore"):
            g = np.where(pairs[:, None] > 0.0, counts / (pairs[:, None] * shells), np.nan)
            running = np.cumsum(counts, axis=1) / first[:, None]
            density = pairs / others * np.sqrt(second / first)  # √(N_A N_B) / V of the means
            return g, running, density, common / np.sqrt(first * second)


def peak(name: str, r: Array, g: Array, g_error: Array, running: Array, running_error: Array) -> list[Value]:
    """The first peak of g(r), and the coordination number up to the minimum behind it.

    Args:
        name: of the pair.
        r: (bins,) Å.
        g: (bins,).
        g_error: (bins,) standard error.
        running: (bins,) n(r).
        running_error: (bins,) its standard error.

    Returns:
        Position, height, and coordination; nothing where there is no peak.
    """
    smooth = uniform_filter1d(g, max(1, round(SMOOTHING / float(r[1] - r[0])))) if len(r) > 1 else g
    high = np.flatnonzero(smooth > 1.0)
    if len(high) == 0:
        return []
    start = high[0]
    end = start + int(np.argmax(np.append(smooth[start:] < 1.0, True)))
    top = start + int(np.argmax(g[start:end]))
    values = [
        Value(f"r_peak_{name}", f"first peak of g {name}, position", float(r[top]), float(0.5 * (r[1] - r[0])), "Å"),
        Value(f"g_peak_{name}", f"first peak of g {name}, height", float(g[top]), float(g_error[top]), ""),
    ]
    again = end + int(np.argmax(np.append(smooth[end:] > 1.0, True)))
    if again >= len(g):
        return values
    low = end + int(np.argmin(smooth[end:again]))
    label = f"coordination of {name} up to the minimum at {r[low]:.2f} Å"
    return [*values, Value(f"n_{name}", label, float(running[low]), float(running_error[low]), "")]


def build(table: RdfTable, system: System, where: str) -> Rdf:
    """Makes the quantity of a table."""
    return Rdf(table, system, where)
