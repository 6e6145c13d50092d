"""A quantity of global observables, computed from a stored ``thermo.csv``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from allegro_md.analysis.base import Sample, System
from allegro_md.analysis.stored import Analyzed, Make
from allegro_md.cell import Cell
from allegro_md.comm import Comm
from allegro_md.errors import InputError
from allegro_md.io.thermo import NAME, ThermoRows, read_thermo
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
    n_atoms = comm.on_root(lambda: _atoms_of_run(path.with_name("run.json")))
    between = np.diff(table.times[list(chosen)])
    regular = len(between) > 0 and bool(np.abs(between - between.mean()).max() <= 1e-6 * abs(between.mean()))
    system = System(
        SpeciesTable((), np.zeros(0, np.int64), np.zeros(0)), n_atoms, _cube(table.thermo(chosen[0]).volume),
        float(between.mean()) if regular else float("nan"), len(chosen), comm,
    )  # fmt: skip
    quantity = make(system, str(path))
    for number, row in enumerate(chosen):
        thermo = table.thermo(row)
        sample = Sample(
            number=number, step=int(table.steps[row]), time=float(table.times[row]), cell=_cube(thermo.volume),
            species_table=system.species_table, n_total=n_atoms, comm=comm, ids=np.zeros(0, np.int64),
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


def _atoms_of_run(path: Path) -> int:
    """Number of atoms of the run that wrote the file; 0: there is no ``run.json`` beside it."""
    if not path.is_file():
        return 0
    try:
        ranks: list[dict[str, Any]] = json.loads(path.read_text())["ranks"]
        return sum(int(rank["atoms"]) for rank in ranks)
    except (ValueError, KeyError, TypeError):
        raise InputError(f"is damaged: the number of atoms of {NAME} is not known", str(path), "remove it") from None
