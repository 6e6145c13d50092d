"""Labeled configurations from files: what ASE reads, npz of the MD17 family, HDF5 and LMDB larger than memory."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from allegro_md.config.training import LabelsConfig
from allegro_md.errors import InputError
from allegro_md.io.label_notes import LABELS, Notes
from allegro_md.io.labeled_ase import read_ase
from allegro_md.io.labeled_frame import Frame, FramesOnDisk, Raw
from allegro_md.io.labeled_hdf5 import FramesOfFile, write_hdf5
from allegro_md.io.labeled_lmdb import FramesOfDatabase
from allegro_md.io.labeled_npz import read_npz, with_unit
from allegro_md.io.labels import convert, names_in

__all__ = ["LABELS", "Frame", "Notes", "entries", "read_frames", "write_hdf5"]

NPZ, HDF5, LMDB = ".npz", (".h5", ".hdf5"), (".aselmdb", ".lmdb")


def read_frames(path: Path, labels: LabelsConfig, notes: Notes | None = None) -> Sequence[Frame]:
    """All frames of a file, in the units of the package.

    Args:
        path: ``.npz`` and ``.h5``/``.hdf5`` are read by the project itself, ``.aselmdb``/``.lmdb`` with the package
            ase-db-backends, everything else by ASE, also when compressed (``.xz``, ``.gz``, ``.bz2``).
        labels: names and units.
        notes: collects remarks, and says which labels may be left out; None: no remarks, all are wanted.

    Returns:
        A list; for HDF5 and LMDB a sequence that reads a frame whenever it is asked for.

    Raises:
        InputError: not readable, without frames, no clear label, a label of a wrong shape.
    """
    notes = notes or Notes()
    if not path.is_file():
        raise InputError("no such file", str(path), "correct the path")
    if path.suffix.lower() in HDF5:
        return FramesOfFile(path, notes)
    if path.suffix.lower() in LMDB:
        return FramesOfDatabase(path, labels, notes)
    raws = _read(path)
    if not raws:
        raise InputError("holds no frames", str(path), "give a file with labeled configurations")
    return convert(raws, with_unit(raws, labels, path) if path.suffix.lower() == NPZ else labels, path, notes)


def entries(path: Path, frames: Sequence[Frame]) -> list[str]:
    """Names of everything a file holds for its frames and their atoms, for messages.

    Args:
        path: the file.
        frames: what `read_frames` made of it.
    """
    return frames.entries() if isinstance(frames, FramesOnDisk) else names_in(_read(path))


def _read(path: Path) -> list[Raw]:
    return read_npz(path) if path.suffix.lower() == NPZ else read_ase(path)
