"""Samples for the tests of quantities, and all pairs of a periodic system by brute force, in numpy."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import product

import numpy as np
from ase.data import atomic_masses, atomic_numbers
from numpy.typing import NDArray

from allegro_md.analysis.base import Quantity, Sample, System
from allegro_md.analysis.result import Column, Result
from allegro_md.cell import Cell
from allegro_md.comm import Comm
from allegro_md.state import SpeciesTable

Array = NDArray[np.float64]

TRICLINIC = np.array([[4.1, 0.3, -0.2], [1.2, 3.7, 0.4], [-0.9, 0.8, 5.2]])
"""A small cell, Å: pairs of 5 Å reach beyond the first images."""


class Frames:
    """Random atoms of two elements in a cell, frame by frame.

    Attributes:
        symbols: of each atom.
        positions: (frames, n, 3) Å, unwrapped.
        cells: one per frame.
        velocities: (frames, n, 3) Å/fs.
    """

    def __init__(
        self, matrix: Array = TRICLINIC, symbols: str = "OOOPPOPOOPLiO", n_frames: int = 3, seed: int = 0,
        periodic: tuple[bool, bool, bool] = (True, True, True), changing: bool = False,
    ) -> None:  # fmt: skip
        self.symbols = _split(symbols)
        rng = np.random.default_rng(seed)
        n = len(self.symbols)
        elements = tuple(dict.fromkeys(self.symbols))
        numbers = np.array([atomic_numbers[e] for e in elements])
        self.table = SpeciesTable(elements, numbers, np.array([atomic_masses[z] for z in numbers]))
        self.species = np.array([self.table.symbols.index(s) for s in self.symbols])
        scale = 1.0 + 0.02 * np.arange(n_frames) * changing
        self.cells = [Cell(matrix * s, periodic) for s in scale]
        away = rng.integers(-2, 3, (n_frames, n, 3)) * np.array(periodic)
        fractions = rng.random((n_frames, n, 3)) + away
        self.positions = np.array([f @ cell.matrix for f, cell in zip(fractions, self.cells, strict=True)])
        self.velocities = rng.normal(0.0, 0.01, (n_frames, n, 3))

    def system(self) -> System:
        return System(self.table, len(self.symbols), self.cells[0], 10.0, len(self.cells), Comm.serial())

    def samples(self) -> list[Sample]:
        n = len(self.symbols)
        return [
            Sample(
                number=k, step=10 * k, time=10.0 * k, cell=cell, species_table=self.table, n_total=n,
                comm=Comm.serial(), ids=np.arange(n), species=self.species, position=self.positions[k],
                velocity=self.velocities[k],
            )
            for k, cell in enumerate(self.cells)
        ]  # fmt: skip

    def fed(self, quantity: Quantity) -> Result:
        """The result of all frames; the state is saved and taken up on the way, as by a continuation."""
        *first, last = self.samples()
        for sample in first:
            quantity.add(sample)
        saved = json.loads(json.dumps(quantity.state_dict(Comm.serial())))
        quantity.load_state_dict(saved, Comm.serial())
        quantity.add(last)
        return quantity.result(Comm.serial())


def _split(symbols: str) -> list[str]:
    """ "OLi" → ["O", "Li"]."""
    found: list[str] = []
    for letter in symbols:
        if letter.islower():
            found[-1] += letter
        else:
            found.append(letter)
    return found


def neighbors(positions: Array, cell: Cell, cutoff: float) -> list[tuple[NDArray[np.int64], Array]]:
    """For each atom the indices (m,) of the atoms and images within a cutoff, and the vectors (m, 3) to them."""
    reach = np.where(cell.periodic, np.ceil(cutoff / cell.heights) + 1.0, 0.0).astype(int).tolist()
    images = np.array(list(product(*(range(-n, n + 1) for n in reach))), dtype=np.float64) @ cell.matrix
    fractions = positions @ cell.inverse
    inside = (fractions - np.where(cell.periodic, np.floor(fractions), 0.0)) @ cell.matrix
    found = []
    for here in inside:
        vectors = inside[None, :, :] + images[:, None, :] - here
        distances = np.linalg.norm(vectors, axis=2)
        _, atoms = chosen = np.nonzero((distances < cutoff) & (distances > 1e-8))
        found.append((atoms, vectors[chosen]))
    return found


def column(columns: Sequence[Column], name: str) -> Array:
    """A column of a table by its name."""
    (found,) = [c.values for c in columns if c.name == name]
    return np.asarray(found)
