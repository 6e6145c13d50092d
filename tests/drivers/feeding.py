"""Quantities of `allegro_md.analysis` fed with arrays, without a simulation or a file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from ase.data import atomic_masses, atomic_numbers
from numpy.typing import NDArray

from allegro_md.analysis.base import Quantity, Sample, System
from allegro_md.analysis.table import QuantityTable
from allegro_md.cell import Cell
from allegro_md.comm import Comm
from allegro_md.config.output import OBSERVERS
from allegro_md.config.registry import load
from allegro_md.reporting import Thermo
from allegro_md.state import SpeciesTable

Array = NDArray[np.float64]


@dataclass
class Frames:
    """A trajectory.

    Attributes:
        position: (samples, n, 3) Å, unwrapped.
        symbols: of each atom.
        cells: one, or one per sample.
        interval: fs.
        velocity: (samples, n, 3) Å/fs.
        thermo: one per sample.
        energy: (samples, n) eV.
        centroid_virial: (samples, n, 3, 3) eV.
    """

    position: Array
    symbols: Sequence[str]
    cells: Sequence[Cell] = (Cell(20.0 * np.eye(3)),)
    interval: float = 2.0
    velocity: Array | None = None
    thermo: Sequence[Thermo] | None = None
    energy: Array | None = None
    centroid_virial: Array | None = None

    @property
    def species_table(self) -> SpeciesTable:
        names = tuple(sorted(set(self.symbols)))
        numbers = np.array([atomic_numbers[name] for name in names])
        return SpeciesTable(names, numbers, atomic_masses[numbers])

    @property
    def masses(self) -> Array:
        """(n,) amu."""
        return np.array([atomic_masses[atomic_numbers[name]] for name in self.symbols])

    def sample(self, number: int, rng: np.random.Generator | None = None) -> Sample:
        """One sample; its atoms in any order."""
        table, n = self.species_table, self.position.shape[1]
        order = np.arange(n) if rng is None else rng.permutation(n)
        species = np.array([table.symbols.index(name) for name in self.symbols])
        return Sample(
            number=number, step=10 * number, time=self.interval * number, cell=self.cells[number % len(self.cells)],
            species_table=table, n_total=n, comm=Comm.serial(), ids=order.astype(np.int64), species=species[order],
            position=self.position[number][order],
            velocity=None if self.velocity is None else self.velocity[number][order],
            thermo=None if self.thermo is None else self.thermo[number],
            energy=None if self.energy is None else self.energy[number][order],
            centroid_virial=None if self.centroid_virial is None else self.centroid_virial[number][order],
        )  # fmt: skip


def made(frames: Frames, **keys: Any) -> Quantity:
    """The quantity of a table of the input, without samples."""
    table: QuantityTable = load(OBSERVERS[keys["kind"]].config)(every=1, **keys)
    n_samples, n = frames.position.shape[:2]
    system = System(frames.species_table, n, frames.cells[0], frames.interval, n_samples, Comm.serial())
    module = load(OBSERVERS[keys["kind"]].config).__module__
    quantity: Quantity = load(f"{module}:build")(table, system, "test")
    return quantity


def fed(frames: Frames, **keys: Any) -> Quantity:
    """The quantity of a table, with all samples; the order of atoms changes from sample to sample."""
    quantity, rng = made(frames, **keys), np.random.default_rng(0)
    for number in range(len(frames.position)):
        quantity.add(frames.sample(number, rng))
    return quantity


def columns(quantity: Quantity, more: str = "") -> dict[str, Any]:
    """Columns of the result by name, of the table with an ending if one is given."""
    result = quantity.result(Comm.serial())
    return {column.name: column.values for column in (result.more[more] if more else result.columns)}
