"""The system as the input gives it: a small base cell and its repeats, any part of which any rank can make alone."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from allegro_md.cell import Cell
from allegro_md.comm import Comm
from allegro_md.errors import InputError
from allegro_md.io.overlap_check import refuse_overlaps
from allegro_md.io.structure.contents import Contents, ReadOptions, from_ase, set_masses, settle_constraints
from allegro_md.io.structure.crystal import unit_cell
from allegro_md.io.structure.reading import read_structure
from allegro_md.rng import Draw, Stream, normals
from allegro_md.state import SpeciesTable

CHUNK_ATOMS = 1 << 18
"""Candidates looked at in one go: bounds the memory of `SystemBuilder.select`."""

MARGIN = 1e-6
"""Widening of a selected region in fractional coordinates, so that rounding never loses an atom at a face."""

SAMPLES, MOST_SHIFTS = 64, 20_000
"""Atoms whose neighbors are counted, and copies of the base cell in which they are looked for."""

_MOST_ATOMS = 1 << 53
"""Ids beyond would be rounded where they meet floating-point numbers."""

FARTHEST = 1e8
"""Å; where coordinates are larger, neighboring float64 numbers are farther apart than 1e-8 Å."""

_LARGEST_NORMAL = 12.2
"""No vector of three Box–Muller deviates from 52 bits is longer: sqrt(2) · sqrt(2·53·ln 2) = 12.13."""


class SystemBuilder:
    """Everything needed to make any part of the system on any rank.

    Atom k of base cell (ix, iy, iz) has id ((ix·ny + iy)·nz + iz)·m + k.

    Attributes:
        n_total: atoms of the whole system.
        cell: of the whole system.
        species_table: one species per distinct (element, mass), by atomic number, then mass.
        has_velocities: whether the structure file came with velocities.
        contents: the atoms that are repeated, and remarks about how they were read.
        file: the structure file, or None.
    """

    def __init__(
        self,
        base: Contents,
        repeat: Sequence[int],
        periodic: Sequence[bool],
        *,
        rattle: float = 0.0,
        seed: int = 0,
        file: Path | None = None,
    ) -> None:
        """Checks the parts and joins them.

        Args:
            base: the atoms that are repeated.
            repeat: copies along the three axes.
            periodic: one flag per axis of the whole system.
            rattle: standard deviation of a normal displacement per component, Å.
            seed: of the displacements.
            file: where the atoms come from; None: a crystal.

        Raises:
            InputError: no atoms or too many, numbers that are not finite or beyond `FARTHEST`, atoms on top of
                each other, an unusable cell.
        """
        self.has_velocities = base.velocity is not None
        self.contents, self.file = base, file
        self._repeat = np.array(repeat, dtype=np.int64)
        self._rattle, self._seed = float(rattle), int(seed)
        where = "crystal" if file is None else str(file)
        _check(base, where)
        for axis in range(3):
            if self._repeat[axis] > 1 and not base.rows[axis].any():
                raise InputError(
                    f"cannot be repeated along axis {axis}: it has no cell vector there",
                    where,
                    "give the cell vector, or repeat that axis once",
                )
        flags = (bool(periodic[0]), bool(periodic[1]), bool(periodic[2]))
        small = Cell.from_rows(base.rows, flags, where)
        refuse_overlaps(base.position, small, [f or n > 1 for f, n in zip(flags, repeat, strict=True)], where)
        self.cell = Cell.from_rows(base.rows * self._repeat[:, None], flags, where)
        self.n_total = len(base.numbers) * math.prod(self._repeat.tolist())
        if self.n_total > _MOST_ATOMS:
            raise InputError(f"{self.n_total:.3g} atoms are more than can be numbered", where, "make fewer copies")
        self.species_table, self._species = _species(base)

        # Where each base atom sits: fraction in the base cell, whole cells taken off along periodic axes.
        fraction = base.position @ small.inverse
        self._offset = np.where(flags, np.floor(fraction), 0.0).astype(np.int64)
        self._fraction = fraction - self._offset
        self._rows, self._heights = small.matrix, small.heights
        self._reach = _LARGEST_NORMAL * self._rattle / small.heights

    @staticmethod
    def from_structure(
        path: str | Path,
        *,
        options: ReadOptions | None = None,
        repeat: Sequence[int] = (1, 1, 1),
        periodic: Sequence[bool] | None = None,
        masses: Mapping[str, float] | None = None,
        honor_constraints: bool = True,
        comm: Comm,
    ) -> SystemBuilder:
        """Reads a file on rank 0 and hands the base cell to all ranks; collective.

        Args:
            path: any format ASE reads.
            options: how it is read; None: its last frame, by its name and content.
            repeat: copies along the three axes.
            periodic: one flag per axis; None: as the file says.
            masses: amu per chemical symbol, instead of the file's.
            honor_constraints: atoms that the file fixes are to be fixed; else its constraints are dropped.
            comm: all ranks take part.

        Raises:
            InputError: not a structure, no such frame, constraints other than fixed atoms, a mass for an element that
                is not there, or a fault named by `SystemBuilder`.
        """
        contents: Contents | None = None
        with comm.collective_errors():
            if comm.rank == 0:
                contents = read_structure(Path(path), options or ReadOptions(), masses or {})
                settle_constraints(contents, honor_constraints, str(path))
        base: Contents = comm.bcast(contents)
        return SystemBuilder(base, repeat, base.periodic if periodic is None else periodic, file=Path(path))

    @staticmethod
    def from_crystal(
        symbol: str,
        lattice: str,
        a: float,
        *,
        c: float | None = None,
        repeat: Sequence[int] = (1, 1, 1),
        periodic: Sequence[bool] | None = None,
        rattle: float = 0.0,
        seed: int = 0,
        masses: Mapping[str, float] | None = None,
    ) -> SystemBuilder:
        """A crystal of one element.

        Args:
            symbol: chemical symbol.
            lattice: fcc, bcc, sc, diamond (cubic cells of 4, 2, 1, 8 atoms) or hcp (hexagonal cell of 2).
            a: lattice constant, Å.
            c: second lattice constant of hcp, Å; None: ideal.
            repeat: cells along the three axes.
            periodic: one flag per axis; None: all.
            rattle: standard deviation of a normal displacement per component, Å.
            seed: of the displacements.
            masses: amu per chemical symbol, instead of the standard ones.

        Raises:
            InputError: a mass for another element, or a fault named by `SystemBuilder`.
        """
        base = from_ase(unit_cell(symbol, lattice, a, c), "crystal")
        set_masses(base, masses or {}, "crystal")
        flags = (True, True, True) if periodic is None else periodic
        return SystemBuilder(base, repeat, flags, rattle=rattle, seed=seed)

    def select(self, lower: NDArray[np.float64], upper: NDArray[np.float64]) -> dict[str, NDArray[Any]]:
        """Makes the atoms of a brick; work and memory grow with the atoms returned and the base cell only.

        Args:
            lower: (3,) fractional coordinates of the whole cell; −inf allowed on free axes.
            upper: (3,) likewise, +inf allowed on free axes.

        Returns:
            ``id`` (n,) int64 ascending, ``species`` (n,) int16, ``position`` (n, 3) Å as in the input (not wrapped)
            and ``velocity`` (n, 3) Å/fs of every atom whose fraction, wrapped along periodic axes, lies in
            [lower, upper), plus those within `MARGIN` of it.
        """
        lower, upper = np.asarray(lower, dtype=np.float64), np.asarray(upper, dtype=np.float64)
        found = [self._within(cells, lower - MARGIN, upper + MARGIN) for cells in self._candidates(lower, upper)]
        empty = {
            "id": np.zeros(0, np.int64),
            "base": np.zeros(0, np.int64),
            "position": np.zeros((0, 3)),
        }
        part = {name: np.concatenate([chunk[name] for chunk in found]) if found else empty[name] for name in empty}
        del found
        order = np.argsort(part["id"])
        base = part["base"][order]
        return {
            "id": part["id"][order],
            "species": self._species[base],
            "position": part["position"][order],
            "velocity": np.zeros((len(base), 3)) if self.contents.velocity is None else self.contents.velocity[base],
        }

    @property
    def fixes_atoms(self) -> bool:
        """The structure file fixes atoms."""
        return self.contents.fixed is not None

    def fixed(self, ids: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Tells which atoms the structure file fixes, and with them their copies; (n,), by `ids` (n,)."""
        if self.contents.fixed is None:
            return np.zeros(len(ids), np.bool_)
        return np.all(self.contents.fixed[ids % self.n_base], axis=1)

    def count(self, lower: NDArray[np.float64], upper: NDArray[np.float64]) -> int:
        """Counts the atoms in a region, with their images along periodic axes, before any rattle; creates none.

        Args:
            lower: (3,) fractional coordinates of the whole cell; −inf allowed on free axes.
            upper: (3,) likewise, +inf allowed on free axes.
        """
        copies = np.ones(len(self._fraction))
        for axis, n in enumerate(self._repeat.tolist()):
            fraction = self._fraction[:, axis]
            # The first copy inside, and the first beyond.
            bounds = np.ceil([lower[axis] * n - fraction, upper[axis] * n - fraction])
            if not self.cell.periodic[axis]:
                bounds = np.clip(bounds, 0, n)
            copies *= bounds[1] - bounds[0]
        return int(copies.sum())

    @property
    def n_base(self) -> int:
        """Atoms of the base cell."""
        return len(self._fraction)

    @property
    def extent(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """(3,) lower and upper fractional bounds of the atoms on free axes, before any rattle; 0 and 1 on others."""
        periodic, n = np.array(self.cell.periodic), self._repeat
        lower, upper = self._fraction.min(axis=0) / n, (self._fraction.max(axis=0) + n - 1) / n
        return np.where(periodic, 0.0, lower), np.where(periodic, 1.0, upper)

    @property
    def middle(self) -> NDArray[np.float64]:
        """(3,) fractional coordinates of an atom halfway through the copies."""
        return np.asarray((self._fraction[0] + self._repeat // 2) / self._repeat)

    def neighbors(self, distance: float) -> float:
        """Mean number of neighbors within a distance (Å), from some of the atoms, before any rattle.

        Atoms at the outside of what is repeated along a free axis count as if there were more copies beyond.
        """
        copied = np.array(self.cell.periodic) | (self._repeat > 1)
        reach = np.where(copied, np.ceil(distance / self._heights), 0)
        if np.prod(2.0 * reach + 1.0) > MOST_SHIFTS:  # as many as in a box around the middle, less its corners
            width = distance / self.cell.heights
            return self.count(self.middle - width, self.middle + width) * math.pi / 6.0
        place = self._fraction @ self._rows
        some = place[np.unique(np.linspace(0, len(place) - 1, SAMPLES).astype(int))]
        tree, found = cKDTree(place), 0
        for shift in itertools.product(*(range(-n, n + 1) for n in reach.astype(int).tolist())):
            found += tree.query_ball_point(some + np.array(shift) @ self._rows, distance, return_length=True).sum()
        return float(found) / len(some) - 1.0

    def _candidates(self, lower: NDArray[np.float64], upper: NDArray[np.float64]) -> Iterator[NDArray[np.int64]]:
        """Yields base cells (n, 3) that may hold atoms of the region, in chunks.

        The region is `lower` (3,) to `upper` (3,), fractional coordinates of the whole cell.
        """
        axes = []
        for axis, n in enumerate(self._repeat.tolist()):
            low, high = self._fraction[:, axis].min(), self._fraction[:, axis].max()
            margin = self._reach[axis] + MARGIN * n + MARGIN
            first = np.floor(np.clip(lower[axis] * n - high - margin, -n, n))
            last = np.ceil(np.clip(upper[axis] * n - low + margin, -n, 2 * n))
            cells = np.arange(int(first), int(last) + 1)
            periodic = self.cell.periodic[axis]
            axes.append(np.unique(cells % n) if periodic else cells[(cells >= 0) & (cells < n)])
        shape = tuple(len(cells) for cells in axes)
        step = max(1, CHUNK_ATOMS // len(self._fraction))
        for start in range(0, math.prod(shape), step):
            flat = np.arange(start, min(start + step, math.prod(shape)))
            index = np.unravel_index(flat, shape)
            yield np.stack([cells[i] for cells, i in zip(axes, index, strict=True)], axis=1)

    def _within(
        self, cells: NDArray[np.int64], lower: NDArray[np.float64], upper: NDArray[np.float64]
    ) -> dict[str, NDArray[Any]]:
        """Returns id, index in the base cell and position of the atoms of base cells that lie in a region.

        Args:
            cells: (n, 3) indices of the base cells.
            lower: (3,) lower corner of the region, fractional.
            upper: (3,) upper corner of the region, fractional.
        """
        m, n = len(self._fraction), self._repeat
        base = np.tile(np.arange(m), len(cells))
        # `cells` is where an atom sits; the copy it belongs to differs by the whole cells taken off its fraction.
        copy = np.repeat(cells, m, axis=0) - self._offset[base]
        copy = np.where(self.cell.periodic, copy % n, copy)
        ids = ((copy[:, 0] * n[1] + copy[:, 1]) * n[2] + copy[:, 2]) * m + base
        h = self._rows
        position = np.empty((len(ids), 3))
        for k in range(3):  # elementwise, so that the bits do not depend on the chunk
            shift = copy[:, 0] * h[0, k] + copy[:, 1] * h[1, k] + copy[:, 2] * h[2, k]
            position[:, k] = self.contents.position[base, k] + shift
        if self._rattle > 0.0:
            position += self._rattle * normals(ids, Draw(self._seed, Stream.RATTLE, 0))
        fraction = (position - self.cell.origin) @ self.cell.inverse
        inside = np.ones(len(ids), dtype=bool)
        for axis in range(3):
            if self.cell.periodic[axis]:
                inside &= np.mod(fraction[:, axis] - lower[axis], 1.0) < upper[axis] - lower[axis]
            else:
                inside &= (fraction[:, axis] >= lower[axis]) & (fraction[:, axis] < upper[axis])
        return {"id": ids[inside], "base": base[inside], "position": position[inside]}


def _check(base: Contents, where: str) -> None:
    """Raises InputError unless the base cell has atoms and only finite numbers of a size that can be resolved."""
    if len(base.numbers) == 0:
        raise InputError("holds no atoms", where, "give a structure with atoms")
    for name, array in (("position", base.position), ("velocity", base.velocity)):
        if array is not None and not np.all(np.isfinite(array)):
            atom = int(np.flatnonzero(~np.isfinite(array).all(axis=1))[0])
            raise InputError(f"the {name} of atom {atom} is not finite ({array[atom]})", where, "correct it")
    far = (np.abs(base.position) > FARTHEST).any(axis=1)
    if far.any():
        atom = int(np.flatnonzero(far)[0])
        raise InputError(
            f"atom {atom} is at {base.position[atom]} Å: no coordinate may be beyond {FARTHEST:g} Å",
            where,
            "correct the coordinates; lengths are in Å",
        )
    if (np.abs(base.rows) > FARTHEST).any():
        raise InputError(f"a cell vector is longer than {FARTHEST:g} Å", where, "correct the cell; lengths are in Å")
    for what, bad in (
        ("is of no known element", base.numbers < 1),
        ("has no positive mass", ~(np.isfinite(base.masses) & (base.masses > 0.0))),
    ):
        if bad.any():
            raise InputError(f"atom {int(np.flatnonzero(bad)[0])} {what}", where, "correct it")


def _species(base: Contents) -> tuple[SpeciesTable, NDArray[np.int16]]:
    """Species table and the species index (m,) of every base atom."""
    from ase.data import chemical_symbols

    keys = np.empty(len(base.numbers), dtype=[("number", np.int64), ("mass", np.float64)])
    keys["number"], keys["mass"] = base.numbers, base.masses
    distinct, index = np.unique(keys, return_inverse=True)
    symbols = tuple(chemical_symbols[z] for z in distinct["number"])
    return SpeciesTable(symbols, distinct["number"].copy(), distinct["mass"].copy()), index.astype(np.int16)
