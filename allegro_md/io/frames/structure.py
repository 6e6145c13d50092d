"""Frames of structure files: LAMMPS data, CIF, POSCAR, PDB and whatever else ASE reads, such as .traj and XDATCAR."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from allegro_md.cell import Cell
from allegro_md.errors import InputError, one_line
from allegro_md.io.frames.extxyz import open_extxyz
from allegro_md.io.frames.lammps_dump import open_dump
from allegro_md.io.frames.loaded import About, Loaded, LoadedFrames, chosen_times, whole_images
from allegro_md.io.frames.options import FrameOptions
from allegro_md.io.structure import lammps_data
from allegro_md.io.structure.contents import Contents, ReadOptions, from_ase
from allegro_md.io.structure.frames import open_text
from allegro_md.io.structure.reading import OWN_READERS, read_structure

_NOT_BY_ASE = (".dcd", ".nc", ".ncdf", ".h5", ".h5md")
"""Names of trajectories that ASE takes for formats of other programs."""

_SERIES = {"extxyz": open_extxyz, "lammps-dump-text": open_dump}
"""Formats of structures whose frames are read by their own readers."""


def recognizes(path: Path, head: bytes) -> bool:
    """Tells if a file is a LAMMPS data file by its first lines, or of a format that ASE reads."""
    from ase.io.formats import UnknownFileTypeError, filetype, ioformats

    if lammps_data.looks_like(head.decode(errors="replace").splitlines()):
        return True
    if path.suffix.lower() in _NOT_BY_ASE:
        return False
    try:
        return filetype(str(path)) in ioformats
    except (UnknownFileTypeError, ValueError, OSError):
        return False


def open_structure(path: Path, options: FrameOptions) -> LoadedFrames:
    """Opens a structure file; all frames of formats that only ASE reads are held in memory.

    Raises:
        InputError: it is no structure, or something in it can be read in one way only by those who wrote it.
    """
    reading = ReadOptions(frame=0, types=options.types, units=options.units)
    first = read_structure(path, reading, {})
    if first.format in _SERIES:  # under another name than usual, or compressed
        return _SERIES[first.format](path, options)
    read: Callable[[int], Loaded]
    remarks = [*first.remarks]
    if first.format == "lammps-data":
        n_frames, data = 1, _data(path, reading)
        read = lambda _: data  # noqa: E731
    elif first.format in OWN_READERS:
        n_frames = read_structure(path, ReadOptions(types=options.types), {}).n_frames or 1
        read = lambda k: _loaded(read_structure(path, ReadOptions(frame=k, types=options.types), {}), path)  # noqa: E731
    else:
        images = _images(path, first.format)
        n_frames, remarks = len(images), from_ase(images[0], str(path), ("forces",)).remarks
        read = lambda k: _of_ase(images[k], path)  # noqa: E731
    count = n_frames if options.stop is None else min(n_frames, options.stop)
    times = chosen_times(np.full(count, np.nan), options, remarks)
    return LoadedFrames(About(path, np.arange(count, dtype=np.int64), times, first.masses, tuple(remarks)), read)


def _data(path: Path, options: ReadOptions) -> Loaded:
    """The frame of a LAMMPS data file with its images and the corner of its box."""
    with open_text(path) as file:
        contents, images, origin = lammps_data.parse(file.read().splitlines(), options, str(path))
    frame = _loaded(contents, path)
    vectors = dict(frame.vectors) if images is None else {**frame.vectors, "image": whole_images(images, str(path))}
    return Loaded(Cell(frame.cell.matrix, frame.cell.periodic, origin), frame.species, vectors)


def _images(path: Path, kind: str) -> list[Any]:
    """All configurations of a file as ASE reads them.

    Raises:
        InputError: one cannot be read.
    """
    from ase.io import read
    from ase.io.formats import ioformats

    index = 0 if ioformats[kind].single else slice(None)
    try:
        found = read(path, index=index, format=kind, do_not_split_by_at_sign=True, parallel=False)
    except Exception as error:  # ASE's readers raise anything
        reason = one_line(error)
        raise InputError(f"cannot be read as {kind}: {reason}", str(path), "give a whole, correct file") from None
    return list(found) if isinstance(found, list) else [found]


def _of_ase(atoms: Any, path: Path) -> Loaded:
    """A frame of `ase.Atoms`, with forces where a calculation left some."""
    frame = _loaded(from_ase(atoms, str(path)), path)
    results = {} if atoms.calc is None else atoms.calc.results
    if "forces" not in results:
        return frame
    return Loaded(frame.cell, frame.species, {**frame.vectors, "force": np.array(results["forces"], dtype=np.float64)})


def _loaded(contents: Contents, path: Path) -> Loaded:
    vectors: dict[str, NDArray[Any]] = {"position": contents.position}
    if contents.velocity is not None:
        vectors["velocity"] = contents.velocity
    cell = Cell.from_rows(contents.rows, contents.periodic, str(path))
    return Loaded(cell, contents.numbers.astype(np.int32), vectors)
