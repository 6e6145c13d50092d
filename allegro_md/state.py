"""Per-atom data: one field table, one owner.

Every per-atom array of the program is a row of `FIELDS`, or of what a run adds to it; migration, halo, checkpoint and
writer iterate over `AtomState.fields`, so a new quantity is one row and cannot be forgotten by one of them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from allegro_md.cell import Cell
from allegro_md.exact import FORCE_SCALE

if TYPE_CHECKING:
    import torch

DeviceArray: TypeAlias = Any
"""An array on the device of a state: numpy's on the host, a tensor elsewhere; both are indexed and set alike."""


@dataclass(frozen=True)
class Field:
    """Shape, unit and uses of one per-atom array.

    Attributes:
        shape: per atom.
        migrates: travels when an atom changes owner.
        halo: ghosts hold it (sent when a halo is built).
        checkpoint: written to checkpoints.
        trajectory: may be asked for in trajectories.
        scale: stored numbers per `unit`: what is read is stored / scale.
    """

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    unit: str
    migrates: bool
    halo: bool
    checkpoint: bool
    trajectory: bool
    scale: float = 1.0

    @property
    def row_bytes(self) -> int:
        """Bytes of one atom."""
        return math.prod(self.shape) * self.dtype.itemsize


FIELDS: dict[str, Field] = {
    field.name: field
    for field in (
        # id: 0-based index in the input. species: index into the species table.
        Field("id", (), np.dtype(np.int64), "", migrates=True, halo=True, checkpoint=True, trajectory=True),
        Field("species", (), np.dtype(np.int16), "", migrates=True, halo=True, checkpoint=True, trajectory=True),
        # position: unwrapped; a ghost holds its owner's value, its place is position + shift·h.
        Field("position", (3,), np.dtype(np.float64), "Å", migrates=True, halo=True, checkpoint=True, trajectory=True),
        Field(
            "velocity",
            (3,),
            np.dtype(np.float64),
            "Å/fs",
            migrates=True,
            halo=False,
            checkpoint=True,
            trajectory=True,
        ),
        # force: fixed point; recomputed from positions, so it never travels.
        Field(
            "force",
            (3,),
            np.dtype(np.int64),
            "eV/Å",
            migrates=False,
            halo=False,
            checkpoint=False,
            trajectory=True,
            scale=FORCE_SCALE,
        ),
        # shift: integer lattice translation to where this copy of the atom sits in the rank's frame.
        Field("shift", (3,), np.dtype(np.int32), "", migrates=False, halo=True, checkpoint=False, trajectory=False),
    )
}

GROUP = Field("group", (), np.dtype(np.int64), "", migrates=True, halo=False, checkpoint=True, trajectory=False)
"""Bit k is set for atoms of group k of the input; a state has it where the input has groups."""

FIXED_IN_FILE = 1 << 62
"""Bit of `GROUP` of the atoms that a structure file fixes."""

WORK = Field("work", (), np.dtype(np.float64), "eV", migrates=True, halo=False, checkpoint=True, trajectory=False)
"""Work that the forces have done on an atom with a prescribed velocity; a state has it where the input has such atoms.

`StepFunctions.kick` adds to it.
"""


@dataclass(frozen=True)
class SpeciesTable:
    """Elements of a system, by species index.

    Attributes:
        symbols: chemical symbol per species.
        numbers: (n_species,) atomic numbers.
        masses: (n_species,) amu.
    """

    symbols: tuple[str, ...]
    numbers: NDArray[np.int64]
    masses: NDArray[np.float64]


HOST = "cpu"
"""Name of the device that is the host."""

EXACT_FIT_ABOVE = 1_000_000
"""Above this many atoms arrays grow to what is needed (plus 2 %) instead of doubling."""


class AtomState:
    """Atoms a rank holds. A call of `forces` may move them to other ranks: every view taken before it is dead.

    First come the `n_local` local atoms, then `n_ghost` ghosts.

    Attributes:
        cell: the current cell (replaced, never modified, when it changes).
        species_table: meaning of `species`.
        n_total: atoms of the whole system.
        device: where the arrays live, as torch names it: "cpu", "cuda:1".
        held: bits of the groups whose atoms no integrator may accelerate: they keep their velocity.
        lattices: how often the cell was replaced by another one of the same lattice, which makes all shifts wrong.
    """

    def __init__(self, cell: Cell, species_table: SpeciesTable, n_total: int, device: str = "cpu") -> None:
        self.cell = cell
        self.species_table = species_table
        self.n_total = n_total
        self.device = device
        self.held = 0
        self.lattices = 0
        self.n_local = 0
        self.n_ghost = 0
        self._fields = dict(FIELDS)
        self._storage: dict[str, DeviceArray] = {name: self._empty(field, 0) for name, field in FIELDS.items()}
        self._arrays: dict[tuple[str, int], DeviceArray] = {}
        self._tensors: dict[tuple[str, int], torch.Tensor] = {}

    @staticmethod
    def from_arrays(
        cell: Cell,
        species_table: SpeciesTable,
        positions: NDArray[np.float64],
        *,
        species: NDArray[np.integer[Any]] | None = None,
        velocities: NDArray[np.float64] | None = None,
        ids: NDArray[np.integer[Any]] | None = None,
        n_total: int | None = None,
    ) -> AtomState:
        """Makes a state of local atoms, whose forces and shifts are zero; arrays are copied.

        Args:
            cell: the cell.
            species_table: meaning of `species`.
            positions: (n, 3) float64, Å, unwrapped.
            species: (n,) indices into the table; None: all are of species 0.
            velocities: (n, 3) float64, Å/fs; None: zero.
            ids: (n,) index of each atom in the whole system; None: 0 to n − 1.
            n_total: atoms of the whole system; None: n, these are all.
        """
        n = len(positions)
        state = AtomState(cell, species_table, n if n_total is None else n_total)
        given = {"id": np.arange(n) if ids is None else ids, "position": positions}
        given |= {"species": species} if species is not None else {}
        given |= {"velocity": velocities} if velocities is not None else {}
        state.resize(n, 0)
        for name in FIELDS:
            state.host_local(name)[...] = given.get(name, 0)
        return state

    @property
    def fields(self) -> Mapping[str, Field]:
        """Rows of `FIELDS` and those that were added, by name."""
        return self._fields

    def add_field(self, field: Field) -> None:
        """Adds a per-atom array of zeros; nothing happens where the state has it."""
        if field.name not in self._fields:
            self._fields[field.name] = field
            self._storage[field.name] = self._empty(field, len(self._storage["id"]))
            self._storage[field.name][...] = 0

    def remove_field(self, field: Field) -> None:
        """Removes an array that was added, and frees its memory."""
        del self._fields[field.name], self._storage[field.name]
        self._forget_views()

    @property
    def n_all(self) -> int:
        """Own atoms and ghosts."""
        return self.n_local + self.n_ghost

    def resize(self, n_local: int, n_ghost: int) -> None:
        """Sets the counts, growing the arrays where needed; the first min(old, new) rows keep their values."""
        needed = n_local + n_ghost
        capacity = len(self._storage["id"])
        if needed > capacity:
            grown = max(needed, 2 * capacity, 64) if needed <= EXACT_FIT_ABOVE else needed + needed // 50
            self._forget_views()  # they hold on to the old storage
            for name, old in self._storage.items():  # field by field: only one is ever held twice
                new = self._empty(self._fields[name], grown)
                new[: self.n_all] = old[: self.n_all]
                self._storage[name] = new
                del old
        self.n_local, self.n_ghost = n_local, n_ghost
        self._forget_views()

    def all(self, name: str) -> torch.Tensor:
        """The field of local atoms and ghosts, (n_all, …), as a tensor; a view. Loads torch."""
        return self._tensor(name, self.n_all)

    def local(self, name: str) -> torch.Tensor:
        """The field of local atoms, (n_local, …); likewise."""
        return self._tensor(name, self.n_local)

    def array_all(self, name: str) -> DeviceArray:
        """The field of local atoms and ghosts, (n_all, …), as an array of the device; a view."""
        return self._array(name, self.n_all)

    def array_local(self, name: str) -> DeviceArray:
        """The field of local atoms, (n_local, …); likewise."""
        return self._array(name, self.n_local)

    def host_all(self, name: str) -> NDArray[Any]:
        """The field of local atoms and ghosts, (n_all, …), for what runs on the host.

        The same memory where the state is on the host; else a copy, which cannot be written to.
        """
        return self._host(name, self.n_all)

    def host_local(self, name: str) -> NDArray[Any]:
        """The field of local atoms, (n_local, …); likewise."""
        return self._host(name, self.n_local)

    def _host(self, name: str, n: int) -> NDArray[Any]:
        array = self._arrays.get((name, n))  # in every step for every field: nothing more where it is there
        if isinstance(array, np.ndarray):
            return array
        array = self._array(name, n)
        rows = on_host(array)
        if rows is not array:
            rows.flags.writeable = False
        return rows

    def device_array(self, values: NDArray[Any]) -> DeviceArray:
        """Puts an array of the host, `values` (…), on the device of this state: itself where that is the host."""
        if self.device == HOST:
            return values
        import torch

        return torch.from_numpy(values).to(self.device)

    def _empty(self, field: Field, n: int) -> DeviceArray:
        """Memory of a field of n atoms."""
        shape = (n, *field.shape)
        if self.device == HOST:
            return np.empty(shape, field.dtype)
        import torch

        return torch.empty(shape, dtype=getattr(torch, field.dtype.name), device=self.device)

    def _array(self, name: str, n: int) -> DeviceArray:
        array = self._arrays.get((name, n))
        if array is None:
            array = self._arrays[name, n] = self._storage[name][:n]
        return array

    def _tensor(self, name: str, n: int) -> torch.Tensor:
        tensor = self._tensors.get((name, n))
        if tensor is None:
            tensor = self._tensors[name, n] = as_tensor(self._array(name, n))
        return tensor

    def _forget_views(self) -> None:
        """Drops all views: they are of another size now, or of another array."""
        self._arrays.clear()
        self._tensors.clear()

    def set_local(self, values: Mapping[str, DeviceArray]) -> None:
        """Replaces the local atoms by the given rows (all fields that migrate, equal lengths); ghosts are dropped."""
        n = len(values["id"])
        self.n_ghost = 0
        self.resize(n, 0)
        for name, value in values.items():
            self.array_local(name)[...] = value

    def permute(self, order: DeviceArray) -> None:
        """Reorders the local atoms: atom ``order[i]`` becomes number i; ghosts are dropped.

        One field after the other, so that only one is in memory twice. The next evaluation replaces
        the forces, which are not reordered.

        Args:
            order: (n_local,) int64 or int32.
        """
        self.resize(self.n_local, 0)
        for name, field in self._fields.items():
            if field.migrates or name == "shift":
                rows = self.array_local(name)
                rows[...] = rows[order]


def on_host(values: DeviceArray) -> NDArray[Any]:
    """The array itself where it is on the host, else a copy."""
    return values if isinstance(values, np.ndarray) else values.cpu().numpy()


def as_tensor(values: DeviceArray) -> torch.Tensor:
    """The same memory as a tensor; loads torch."""
    import torch

    return torch.from_numpy(values) if isinstance(values, np.ndarray) else values
