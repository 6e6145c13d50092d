"""A quantity of global observables, computed from a stored ``thermo.csv``."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from allegro_md.analysis.base import Sample, System
from allegro_md.analysis.result import Analyzed
from allegro_md.analysis.stored import Make
from allegro_md.analysis.time_axis import spacing
from allegro_md.cell import Cell
from allegro_md.comm import Comm
from allegro_md.errors import InputError
from allegro_md.io.thermo import ThermoRows, read_thermo
from allegro_md.state import SpeciesTable


def analyze_thermo(make: Make, path: Path, rows: slice, comm: Comm) -> Analyzed:
    """Computes a quantity of the rows of a ``thermo.csv`` (collective); all ranks do the same.

    Args:
        make: makes the quantity.
        path: the file.
        rows: which of them.
        comm: all ranks.

    Raises:
        InputError: the file cannot be read, or no row is chosen.
    """
    table: ThermoRows = comm.on_root(lambda: read_thermo(path))
    chosen = range(len(table.steps))[rows]
    if len(chosen) == 0:
        raise InputError(f"no row is chosen of {len(table.steps)}", str(path), "choose others with --frames")
    atoms = SpeciesTable((), np.zeros(0, np.int64), np.zeros(0))  # the file knows of none
    cell = _cube(table.thermo(chosen[0]).volume)
    interval, uneven = spacing(table.times[rows])
    system = System(atoms, 0, cell, interval, len(chosen), comm, uneven)
    quantity = make(system, str(path))
    for number, row in enumerate(chosen):
        thermo = table.thermo(row)
        sample = Sample(
            number=number, step=int(table.steps[row]), time=float(table.times[row]), cell=_cube(thermo.volume),
            species_table=system.species_table, n_total=0, comm=comm, ids=np.zeros(0, np.int64),
            species=np.zeros(0, np.int64), position=np.zeros((0, 3)), thermo=thermo,
        )  # fmt: skip
        quantity.add(sample)
    text = f"{path.absolute()}, rows {chosen.start}:{chosen.stop}:{chosen.step}"
    first, last = int(table.steps[chosen[0]]), int(table.steps[chosen[-1]])
    return Analyzed(quantity.result(comm), len(chosen), first, last, text)


def _cube(volume: float) -> Cell:
    """A cube of a volume (Å³), which is all that the file knows of the cell; NaN: it has none."""
    if not np.isfinite(volume):
        return Cell(np.eye(3), (False, False, False), absent=(True, True, True))
    return Cell(volume ** (1.0 / 3.0) * np.eye(3))
