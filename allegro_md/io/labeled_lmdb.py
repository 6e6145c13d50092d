"""Labeled configurations of an LMDB database of ASE, read when they are asked for, as public sets of millions are."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from allegro_md.config.training import LabelsConfig
from allegro_md.errors import InputError
from allegro_md.io.label_notes import Notes
from allegro_md.io.labeled_ase import atoms_of, raw_of, reason_of
from allegro_md.io.labeled_frame import Frame, FramesOnDisk, Raw
from allegro_md.io.labels import frame_of, names_in, resolve

SEARCHED = 100
"""Frames that are searched for the names of the labels."""


class FramesOfDatabase(FramesOnDisk):
    """The frames of a database."""

    def __init__(self, path: Path, labels: LabelsConfig, notes: Notes) -> None:
        """Opens the database and finds its labels.

        Raises:
            InputError: not such a file, the package that reads it is absent, or no clear label.
        """
        self._path, self._notes = path, notes
        try:
            self._database = _open(path.resolve())
        except ImportError:
            remedy = 'pip install "allegro-md[lmdb]"'
            raise InputError("needs the package ase-db-backends to be read", str(path), remedy) from None
        except Exception as error:  # lmdb, zlib and ASE raise anything
            what = f"is not a readable LMDB database of ASE ({reason_of(error)})"
            raise InputError(what, str(path), "copy it again") from None
        self._ids = list(self._database.ids)
        if not self._ids:
            raise InputError("holds no frames", str(path), "give a file with labeled configurations")
        self._keys, self._units = resolve(self._first(), labels, path, notes)

    def __len__(self) -> int:
        return len(self._ids)

    def entries(self) -> list[str]:
        """Of the frames that are searched for labels."""
        return names_in(self._first())

    def _first(self) -> list[Raw]:
        return [self._raw(index) for index in range(min(SEARCHED, len(self)))]

    def _read(self, index: int) -> Frame:
        return frame_of(self._raw(index), self._keys, self._units, self._notes)

    def _raw(self, index: int) -> Raw:
        source = f"{self._path.name}, frame {index}"
        try:
            return raw_of(atoms_of(self._database.get(id=self._ids[index])), source)
        except MemoryError:
            raise
        except Exception as error:  # lmdb, zlib, json and ASE raise anything
            raise InputError(f"cannot be read ({reason_of(error)})", source, "copy the file again") from None


@cache
def _open(path: Path) -> Any:
    """The database of a file; LMDB opens a file once per process.

    Raises:
        ValueError: the file is cut off: LMDB would touch memory that is not there, and the process die.
    """
    import lmdb
    from ase_db_backends.aselmdb import LMDBDatabase

    with lmdb.open(str(path), subdir=False, readonly=True, lock=False) as environment:
        needed = (environment.info()["last_pgno"] + 1) * environment.stat()["psize"]
    if path.stat().st_size < needed:
        raise ValueError(f"cut off after {path.stat().st_size} of {needed} bytes")
    return LMDBDatabase(path, readonly=True)
