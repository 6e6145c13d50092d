"""Labeled configurations from files: whatever ASE reads, npz of the MD17 family, HDF5 for what memory cannot hold."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from allegro_md.config.training import Labels
from allegro_md.errors import InputError
from allegro_md.io.frame import Frame
from allegro_md.io.labeled_ase import read_ase
from allegro_md.io.labeled_hdf5 import FramesOfFile, write_hdf5
from allegro_md.io.labeled_npz import read_npz
from allegro_md.io.labels import convert

__all__ = ["Frame", "read_frames", "write_hdf5"]

HDF5 = (".h5", ".hdf5")


def read_frames(path: Path, labels: Labels) -> Sequence[Frame]:
    """All frames of a file, in the units of the package.

    Args:
        path: ``.npz`` and ``.h5``/``.hdf5`` are read by the project itself, everything else by ASE, also when
            compressed (``.xz``, ``.gz``, ``.bz2``).
        labels: names and units.

    Returns:
        A list; for HDF5 a sequence that reads a frame whenever it is asked for.

    Raises:
        InputError: not readable, without frames, no clear label, a label of a wrong shape.
    """
    if not path.is_file():
        raise InputError("no such file", str(path), "correct the path")
    if path.suffix.lower() in HDF5:
        return FramesOfFile(path)
    raws, labels = read_npz(path, labels) if path.suffix.lower() == ".npz" else (read_ase(path), labels)
    if not raws:
        raise InputError("holds no frames", str(path), "give a file with labeled configurations")
    return convert(raws, labels, path)
