"""Environments of single atoms, cut out of the system and evaluated alone.

They are gathered from the local atoms of all ranks and their periodic images by comparing every atom with every sample,
without halo, neighbor list, domain or the cell's own inverse, so that a fault in one of those shows.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from allegro_md.cell import Cell
from allegro_md.comm import Comm
from allegro_md.evaluation import PotentialInfo
from allegro_md.neighbors.list import NeighborList
from allegro_md.potentials.base import Potential
from allegro_md.state import AtomState, SpeciesTable, on_host
from allegro_md.verify.samples import CHUNK

MARGIN = 0.05
"""Å; how far beyond its reach an environment goes, so that atoms may be moved a little."""

TIE = 1e-6
"""Å, far above rounding: an atom at the very end of a reach belongs to it; beyond a cutoff it adds exactly nothing."""

COPY = np.dtype([("sample", "i8"), ("id", "i8"), ("species", "i8"), ("position", "f8", 3), ("shift", "i8", 3)])
"""One atom or image on its way to the rank that owns the sample."""


@dataclass(frozen=True)
class Environment:
    """An atom and all atoms and images around it, the atom itself first, then by (id, shift).

    Attributes:
        species_table: of the system.
        matrix: (3, 3) Å, lattice rows.
        id: (n,).
        species: (n,) int16.
        position: (n, 3) Å, unwrapped.
        shift: (n, 3) lattice translations relative to the atom.
    """

    species_table: SpeciesTable
    matrix: NDArray[np.float64]
    id: NDArray[np.int64]
    species: NDArray[np.int16]
    position: NDArray[np.float64]
    shift: NDArray[np.int64]

    @property
    def atom(self) -> int:
        """Id of the atom in the middle."""
        return int(self.id[0])

    @property
    def place(self) -> NDArray[np.float64]:
        """(n, 3) Å, relative to the atom in the middle."""
        return np.asarray((self.position - self.position[0]) + self.shift @ self.matrix, dtype=np.float64)

    def displaced(self, by: NDArray[np.float64]) -> Environment:
        """With other unwrapped positions; `by` (n, 3) Å."""
        rows = (self.id, self.species, self.position + by, self.shift)
        return Environment(self.species_table, self.matrix, *rows)

    def within(self, radius: float) -> Environment:
        """The part within a radius, Å."""
        near = np.linalg.norm(self.place, axis=1) <= radius + TIE
        rows = (self.id[near], self.species[near], self.position[near], self.shift[near])
        return Environment(self.species_table, self.matrix, *rows)


class Cluster:
    """An environment as a state of its own: centers within `reach` of the atom in the middle, free boundaries.

    Attributes:
        environment: with the centers in front.
        n_centers: how many.
        place: (n, 3) Å, relative to the atom in the middle, which has row 0.
    """

    def __init__(self, environment: Environment, reach: float, info: PotentialInfo) -> None:
        """Lists the pairs within the cutoff by comparing all with all.

        Args:
            environment: at least one reach of the potential wider than `reach`.
            reach: distance from the atom in the middle within which atoms are centers, Å.
            info: of the potential.
        """
        distance = np.linalg.norm(environment.place, axis=1)
        rank = np.empty(len(distance), dtype=np.int64)
        rank[np.lexsort((*environment.shift.T[::-1], environment.id))] = np.arange(len(rank))
        order = np.lexsort((rank, distance > reach + TIE, np.arange(len(rank)) > 0))
        rows = (environment.id[order], environment.species[order], environment.position[order])
        self.environment = Environment(
            environment.species_table, environment.matrix, *rows, environment.shift[order]
        )
        self.n_centers = max(1, int(np.count_nonzero(distance <= reach + TIE)))
        self.place = self.environment.place
        self._info = info
        # A potential of several hops evaluates the neighbors of centers, too.
        listed = self.n_centers if info.hops == 1 else len(order)
        found = [self._neighbors(k, rank[order]) for k in range(listed)]
        self._offsets = np.concatenate([[0], np.cumsum([len(f) for f in found])]).astype(np.int64)
        self._neighbors_of = np.concatenate(found) if found else np.zeros(0, dtype=np.int32)

    def _neighbors(self, center: int, rank: NDArray[np.int64]) -> NDArray[np.int32]:
        """Neighbors of a center in the order of `rank` (n,), the canonical order of the atoms."""
        squared = ((self.place - self.place[center]) ** 2).sum(axis=1)
        near = np.flatnonzero(squared < (self._info.cutoff + MARGIN) ** 2)
        near = near[near != center]
        return np.asarray(near[np.argsort(rank[near])], dtype=np.int32)

    def evaluate(self, potential: Potential) -> ClusterResult:
        """Energies, forces and virials of the centers, as the engine would: bits agree with a run's."""
        own = self.environment
        return self._run(potential, self.n_centers, np.arange(len(own.id)), own.position, own.shift)

    def elsewhere(self, potential: Potential, places: NDArray[np.float64], n_centers: int) -> list[ClusterResult]:
        """The same for other places of the atoms, side by side in one evaluation; not for ASE calculators.

        Args:
            potential: takes the pairs from the list and sees no others.
            places: (m, n, 3) Å, at most `MARGIN` from where the atoms are.
            n_centers: how many centers count.
        """
        m, n, _ = places.shape
        # Centers of all copies come first: copy, row → its row in the common state.
        centers, others = np.split(np.arange(m * n), [m * n_centers])
        rows = np.concatenate([centers.reshape(m, -1), others.reshape(m, -1)], axis=1)
        back = np.empty(m * n, dtype=np.int64)
        back[rows.ravel()] = np.arange(m * n)
        shift = np.zeros((m * n, 3), dtype=np.int64)
        both = self._run(potential, n_centers, back % n, places.reshape(-1, 3)[back], shift, rows)
        energy = [None] * m if both.energy is None else both.energy.reshape(m, n_centers)
        virial = [None] * m if both.virial is None else both.virial.reshape(m, n_centers, 6)
        return [ClusterResult(energy[k], both.force[rows[k]], virial[k]) for k in range(m)]

    def _run(
        self,
        potential: Potential,
        n_centers: int,
        atoms: NDArray[np.int64],
        position: NDArray[np.float64],
        shift: NDArray[np.int64],
        rows: NDArray[np.int64] | None = None,
    ) -> ClusterResult:
        """Evaluates `atoms` (rows of the environment, those of `rows` (m, n) side by side) at given positions.

        `position` (m, 3) Å and `shift` (m, 3) are those of `atoms` (m,).
        """
        own = self.environment
        rows = np.arange(len(own.id))[None] if rows is None else rows
        state = AtomState(Cell(own.matrix, (False, False, False)), own.species_table, len(atoms))
        state.resize(len(rows) * n_centers, len(atoms) - len(rows) * n_centers)
        fields: dict[str, NDArray[Any]] = {
            "id": own.id[atoms], "species": own.species[atoms], "position": position, "shift": shift
        }  # fmt: skip
        for name, values in fields.items():
            state.array_all(name)[...] = state.device_array(values)
        state.array_all("force")[...] = 0
        result = potential(state, self._lists(rows, n_centers), frozenset({"virial", "virial_per_atom"}))
        energy, virial = result.energy, result.virial_per_atom
        return ClusterResult(
            None if energy is None else on_host(energy),
            state.host_all("force"),
            None if virial is None else on_host(virial),
        )

    def _lists(self, rows: NDArray[np.int64], n_centers: int) -> NeighborList:
        """The lists of copies side by side.

        Args:
            rows: (m, n) int64, row in the common state of each atom of each copy.
            n_centers: of each copy; their rows come first.
        """
        m, n = rows.shape
        listed = np.argsort(rows.ravel())[: m * (n_centers if self._info.hops == 1 else n)]
        copy, center = listed // n, listed % n
        first, count = self._offsets[center], np.diff(self._offsets)[center]
        lists = NeighborList(self._info.cutoff, MARGIN)
        offsets = np.concatenate([[0], np.cumsum(count)]).astype(np.int64)
        entry = np.repeat(first - offsets[:-1], count) + np.arange(offsets[-1])
        neighbors = rows[np.repeat(copy, count), self._neighbors_of[entry]].astype(np.int32)
        lists.offsets, lists.neighbors = offsets, neighbors
        return lists


@dataclass(frozen=True)
class ClusterResult:
    """Energies, forces and virials of a cluster.

    Attributes:
        energy: (n_centers,) eV, or None.
        force: (n, 3) fixed-point units; complete for the atom in the middle only.
        virial: (n_centers, 6) eV, or None.
    """

    energy: NDArray[np.float64] | None
    force: NDArray[np.int64]
    virial: NDArray[np.float64] | None

    @property
    def energies(self) -> NDArray[np.float64]:
        """(n_centers,) eV, of a potential that has energies."""
        assert self.energy is not None
        return self.energy


def gather(state: AtomState, rows: NDArray[np.int64], radius: float, comm: Comm) -> list[Environment]:
    """The environments of the local atoms `rows` (n,), `MARGIN` wider than `radius` (Å); collective.

    Every rank looks for all samples among its local atoms, a chunk at a time: memory does not grow with the system.
    """
    mine = state.host_local("position")[rows]
    centers = comm.allgather(mine)
    counts = [len(part) for part in centers]
    with comm.collective_errors():
        found = _copies_around(state, np.concatenate(centers), radius + MARGIN)
    owner = np.repeat(np.arange(comm.size), counts)[found["sample"]]
    arrived, _ = comm.exchange(found, np.bincount(owner, minlength=comm.size).astype(np.int64))
    first = sum(counts[: comm.rank])
    ids = state.host_local("id")
    return [_environment(state, arrived[arrived["sample"] == first + k], int(ids[row])) for k, row in enumerate(rows)]


def _environment(state: AtomState, copies: NDArray[Any], atom: int) -> Environment:
    """Sorts `copies` (n,), structured, with the atom in the middle first."""
    other = (copies["id"] != atom) | copies["shift"].any(axis=1)
    copies = copies[np.lexsort((*copies["shift"].T[::-1], copies["id"], other))]
    species = copies["species"].astype(np.int16)
    table, matrix = state.species_table, state.cell.matrix
    return Environment(table, matrix, copies["id"], species, copies["position"], copies["shift"])


def _copies_around(state: AtomState, centers: NDArray[np.float64], radius: float) -> NDArray[Any]:
    """Local atoms and images of them around each center, sorted by sample; `centers` (s, 3) Å."""
    inverse = np.linalg.inv(state.cell.matrix)
    periodic = np.array(state.cell.periodic)
    widths = radius * np.linalg.norm(inverse, axis=0)  # half thickness in fractional coordinates
    middle = centers @ inverse
    found: list[list[NDArray[Any]]] = [[] for _ in centers]
    for start in range(0, state.n_local, CHUNK):
        rows = slice(start, min(start + CHUNK, state.n_local))
        position = state.host_local("position")[rows]
        fraction = position @ inverse
        for k, center in enumerate(centers):
            near, shift = _images(fraction - middle[k], widths, periodic)
            vector = (position[near] - center) + shift @ state.cell.matrix
            inside = (vector**2).sum(axis=1) < radius**2
            copies = np.zeros(int(inside.sum()), dtype=COPY)
            chosen = near[inside] + start
            copies["sample"], copies["shift"] = k, shift[inside]
            for name in ("id", "species", "position"):
                copies[name] = state.host_local(name)[chosen]
            found[k].append(copies)
    parts: Sequence[NDArray[Any]] = [part for parts in found for part in parts]
    return np.concatenate(parts) if parts else np.zeros(0, dtype=COPY)


def _images(
    offset: NDArray[np.float64], widths: NDArray[np.float64], periodic: NDArray[np.bool_]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows and lattice shifts (m, 3) that bring fractional offsets between −widths and widths.

    Args:
        offset: (n, 3) fractional.
        widths: (3,) fractional.
        periodic: (3,).
    """
    rows = np.arange(len(offset))
    for axis in np.argsort(widths):  # the longest axis leaves the fewest
        distance = offset[rows, axis]
        if periodic[axis]:
            distance = distance - np.rint(distance)
        rows = rows[np.abs(distance) <= widths[axis]]
    if len(rows) == 0:
        return rows, np.zeros((0, 3), dtype=np.int64)
    home = np.where(periodic, -np.rint(offset[rows]), 0.0)
    most = np.where(periodic, np.ceil(widths + 0.5), 0.0).astype(np.int64)
    found_rows, found_shifts = [], []
    for image in itertools.product(*(range(-n, n + 1) for n in most)):
        inside = (np.abs(offset[rows] + home + np.array(image)) <= widths).all(axis=1)
        found_rows.append(rows[inside])
        found_shifts.append((home[inside] + np.array(image)).astype(np.int64))
    return np.concatenate(found_rows), np.concatenate(found_shifts)
