"""Labeled configurations of every format ASE reads."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from allegro_md.errors import InputError
from allegro_md.io.labeled_foreign import check_dump, unmarked, vasp_convergence, with_marked_stresses
from allegro_md.io.labeled_frame import Raw
from allegro_md.io.stress_labels import symmetric
from allegro_md.io.structure.frames import number_remedy, require_unmarked

_EXPAND: dict[str, Callable[[bytes], bytes]] = {
    ".xz": lzma.decompress, ".gz": gzip.decompress, ".bz2": bz2.decompress,
}


_VOIGT = ("xx", "yy", "zz", "yz", "xz", "xy")
"""The order in which ASE keeps the six components of a stress."""


def read_ase(path: Path) -> list[Raw]:
    """All frames of a file; entries are the results of its calculation and whatever else it holds per frame and atom.

    Raises:
        InputError: ASE cannot read it, or would invent its elements.
    """
    require_unmarked(path, str(path))
    try:
        images, kind, text = _images(path)
    except (MemoryError, InputError):
        raise
    except Exception as error:  # ASE's readers raise anything
        remedy = number_remedy(str(error), "give a whole file in a format ASE knows, such as extxyz")
        raise InputError(f"ASE cannot read it ({reason_of(error)})", str(path), remedy) from None
    raws = [raw_of(atoms, f"{path.name}, frame {index}") for index, atoms in enumerate(images)]
    if kind.startswith("lammps-dump"):
        unit = check_dump(path) if kind == "lammps-dump-text" else None
        return [_without_invention(raw, unit) for raw in raws]
    if kind in ("vasp-out", "vasp-xml"):
        flags = vasp_convergence(Path(path.name), text or path.read_text(errors="replace"))
        if len(flags) == len(raws):
            pairs = zip(raws, flags, strict=True)
            return [replace(raw, values={**raw.values, "converged": flag}) for raw, flag in pairs]
    return raws


def _without_invention(raw: Raw, unit: str | None) -> Raw:
    """A frame of a LAMMPS dump without the energy of 0, which ASE adds to forces."""
    values = {name: value for name, value in raw.values.items() if name != "energy" or value != 0.0}
    return replace(raw, values=values if unit is None else {**values, "energy_unit": unit})


def reason_of(error: Exception) -> str:
    """Kind and first line of an error of another package."""
    return f"{type(error).__name__}: {error}".splitlines()[0]


def _images(path: Path) -> tuple[list[Any], str, str]:
    """Configurations, ASE's name of the format, and the text as far as it was needed."""
    from ase.io import read
    from ase.io.formats import filetype

    if path.suffix == ".db":
        return _rows(path), "db", ""
    expand = _EXPAND.get(path.suffix.lower())
    if expand is None:
        kind = filetype(str(path))
        if kind != "extxyz":
            return list(read(path, index=":", do_not_split_by_at_sign=True, parallel=False)), kind, ""
        text = path.read_text(encoding="utf-8")
    else:
        # From memory: ASE seeks through what it reads, which takes very long in a compressed file.
        kind, text = filetype(path.stem, read=False), expand(path.read_bytes()).decode()
    content = io.StringIO(with_marked_stresses(text) if kind == "extxyz" else text)
    return list(read(content, index=":", format=kind, parallel=False)), kind, text


def _rows(path: Path) -> list[Any]:
    from ase.db import connect

    return [atoms_of(row) for row in connect(path).select()]


def atoms_of(row: Any) -> Any:
    """The configuration of a row of an ASE database, with its key-value pairs and data."""
    atoms = row.toatoms()
    atoms.info = {**row.data, **row.key_value_pairs}
    return atoms


def raw_of(atoms: Any, source: str) -> Raw:
    """Entries that ASE has of a configuration and its calculation."""
    results = {} if atoms.calc is None else dict(atoms.calc.results)
    if np.shape(results.get("stress", ())) == (6,):  # by ASE itself, so that its order is known
        results["stress"] = symmetric(np.asarray(results["stress"], dtype=np.float64), _VOIGT, "stress", source)
    info = {unmarked(name): value for name, value in atoms.info.items()}
    flags = atoms.get_pbc()
    return Raw(
        numbers=np.array(atoms.numbers, dtype=np.int64),
        position=np.array(atoms.positions, dtype=np.float64),
        cell=np.array(atoms.cell.array, dtype=np.float64),
        periodic=(bool(flags[0]), bool(flags[1]), bool(flags[2])),
        values={**atoms.arrays, **info, **results},
        kind=str(atoms.info.get("config_type", "")),
        source=source,
    )
