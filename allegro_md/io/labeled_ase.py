"""Labeled configurations of every format ASE reads."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from allegro_md.errors import InputError
from allegro_md.io.labels import Raw

_EXPAND: dict[str, Callable[[bytes], bytes]] = {
    ".xz": lzma.decompress, ".gz": gzip.decompress, ".bz2": bz2.decompress,
}


def read_ase(path: Path) -> list[Raw]:
    """All frames of a file; entries are the results of its calculation and whatever else it holds per frame and atom.

    Raises:
        InputError: ASE cannot read it.
    """
    try:
        images = _images(path)
    except MemoryError:
        raise
    except Exception as error:  # ASE's readers raise anything
        remedy = "give a whole file in a format ASE knows, such as extxyz"
        raise InputError(f"ASE cannot read it ({reason_of(error)})", str(path), remedy) from None
    return [raw_of(atoms, f"{path.name}, frame {index}") for index, atoms in enumerate(images)]


def reason_of(error: Exception) -> str:
    """Kind and first line of an error of another package."""
    return f"{type(error).__name__}: {error}".splitlines()[0]


def _images(path: Path) -> list[Any]:
    from ase.io import read
    from ase.io.formats import filetype

    if path.suffix == ".db":
        return _rows(path)
    expand = _EXPAND.get(path.suffix.lower())
    if expand is None:
        return list(read(path, index=":", do_not_split_by_at_sign=True, parallel=False))
    # From memory: ASE seeks through what it reads, which takes very long in a compressed file.
    content = io.StringIO(expand(path.read_bytes()).decode())
    return list(read(content, index=":", format=filetype(path.stem, read=False), parallel=False))


def _rows(path: Path) -> list[Any]:
    from ase.db import connect

    return [atoms_of(row) for row in connect(path).select()]


def atoms_of(row: Any) -> Any:
    """The configuration of a row of an ASE database, with its key-value pairs and data."""
    atoms = row.toatoms()
    atoms.info = {**row.data, **row.key_value_pairs}
    return atoms


def raw_of(atoms: Any, source: str) -> Raw:
    """Collects the arrays and results that ASE holds of a configuration."""
    results = {} if atoms.calc is None else atoms.calc.results
    flags = atoms.get_pbc()
    return Raw(
        numbers=np.array(atoms.numbers, dtype=np.int64),
        position=np.array(atoms.positions, dtype=np.float64),
        cell=np.array(atoms.cell.array, dtype=np.float64),
        periodic=(bool(flags[0]), bool(flags[1]), bool(flags[2])),
        values={**atoms.arrays, **atoms.info, **results},
        kind=str(atoms.info.get("config_type", "")),
        source=source,
    )
