"""Trajectories of all formats that MDAnalysis reads, such as DCD, XTC, TRR and NetCDF; their elements from a structure.

Needs the extra `analysis`. MDAnalysis: Michaud-Agrawal, Denning, Woolf, Beckstein, J. Comput. Chem. 32, 2319 (2011),
doi:10.1002/jcc.21787.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from allegro_md.cell import Cell
from allegro_md.errors import InputError, one_line
from allegro_md.io.frames.loaded import About, Loaded, LoadedFrames, chosen_times
from allegro_md.io.frames.options import FrameOptions, frames_before
from allegro_md.io.structure.contents import Contents, ReadOptions
from allegro_md.io.structure.reading import read_structure
from allegro_md.units import DIMENSIONS

_VELOCITY = DIMENSIONS["velocity"]["Å/ps"]
_FORCE = DIMENSIONS["energy"]["kJ/mol"]
_TIME = DIMENSIONS["time"]["ps"]


def open_mdanalysis(path: Path, options: FrameOptions) -> LoadedFrames:
    """Opens a trajectory with MDAnalysis.

    Raises:
        InputError: MDAnalysis is not installed or cannot read the file, or the elements are not known.
    """
    reader = _reader(path)
    try:
        atoms = _atoms(path, reader.n_atoms, options)
        n_frames = reader.n_frames if options.stop is None else min(reader.n_frames, options.stop)
        if n_frames == 0:
            raise InputError("holds no frames", str(path), "give a file with at least one frame")
        if path.suffix.lower() == ".dcd":
            _require_whole(path, options)
            steps, times = _uniform(reader, n_frames)
        else:
            steps, times = _stated(reader, n_frames, path)
    except Exception:
        reader.close()
        raise
    remarks = [f"elements and masses from {options.topology}", *atoms.remarks]
    times = chosen_times(times, options, remarks)
    about = About(path, steps, times, atoms.masses, tuple(remarks))
    species = atoms.numbers.astype(np.int32)
    return LoadedFrames(about, lambda index: _load(reader, index, species, path), reader.close)


def _reader(path: Path) -> Any:
    """MDAnalysis's reader of a file, silent.

    Raises:
        InputError: there is none, or it fails.
    """
    try:
        with _silence():
            from MDAnalysis.coordinates.core import reader
    except ImportError:
        raise InputError(
            "is of a format that is read through MDAnalysis, which is not installed", str(path),
            "install it: pip install 'allegro-md[analysis]'",
        ) from None
    reason = ""
    with _silence():
        try:
            return reader(str(path))
        except Exception as error:  # its readers raise anything
            reason = one_line(error)
    raise InputError(
        f"MDAnalysis cannot read it ({reason})", str(path),
        "give a whole file whose name ends as its format asks, for example .dcd or .xtc",
    )


@contextmanager
def _silence() -> Iterator[None]:
    """Keeps to itself what MDAnalysis warns of, and faults of readers that are thrown away half made."""
    hook = sys.unraisablehook
    sys.unraisablehook = lambda _: None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        sys.unraisablehook = hook


def _atoms(path: Path, n_atoms: int, options: FrameOptions) -> Contents:
    """The structure that names the elements.

    Raises:
        InputError: none was given, or it has another number of atoms.
    """
    if options.topology is None:
        raise InputError(
            "does not say which elements its atoms are", str(path),
            "give a structure file with the same atoms in the same order: --topology FILE",
        )
    atoms = read_structure(options.topology, ReadOptions(types=options.types), {})
    if len(atoms.numbers) != n_atoms:
        raise InputError(
            f"has {n_atoms} atoms, but {options.topology} has {len(atoms.numbers)}", str(path),
            "give a structure file with the same atoms in the same order",
        )
    return atoms


def _require_whole(path: Path, options: FrameOptions) -> None:
    """Refuses a DCD file that ends within a frame: MDAnalysis counts the whole ones only.

    A DCD file is a series of Fortran records, each between two int32 with its length in bytes: three of the header,
    then for each frame the cell, where there is one, and x, y and z.

    Raises:
        InputError: it does.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        order: Literal["little", "big"] = "little" if file.read(4) == (84).to_bytes(4, "little") else "big"
        ends = [0]
        while ends[-1] < size and (options.stop is None or len(ends) < 5 + 4 * options.stop):
            file.seek(ends[-1])
            ends.append(ends[-1] + 8 + int.from_bytes(file.read(4), order, signed=True))
            if not ends[-2] < ends[-1]:
                break  # MDAnalysis says what is wrong
    if ends[-1] > size:
        lengths = np.diff(ends)
        per_frame = 4 if len(lengths) > 4 and lengths[3] == 56 else 3
        frame = max(0, len(lengths) - 4) // per_frame
        remedy = f"read the {frame} before it: {frames_before(frame)}"
        raise InputError(f"frame {frame} is cut short", str(path), remedy if frame else "give the whole file")


def _uniform(reader: Any, n_frames: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Steps (n,) and times (n,) in fs of a DCD file, which states the first and the interval."""
    from MDAnalysis.lib.formats.libdcd import DCDFile

    with DCDFile(reader.filename) as file:
        header = file.header
    interval, start = max(1, int(header["nsavc"])), int(header["istart"])
    steps = start + interval * np.arange(n_frames, dtype=np.int64)
    return steps, steps / interval * float(reader.dt) * _TIME if header["delta"] > 0 else np.full(n_frames, np.nan)


def _stated(reader: Any, n_frames: int, path: Path) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Steps (n,) and times (n,) in fs as the frames have them, all of which are read."""
    steps, times = np.arange(n_frames), np.full(n_frames, np.nan)
    for index in range(n_frames):
        step = _step(reader, index, path)
        steps[index] = step.data.get("step", index)
        if "time" in step.data:
            times[index] = step.data["time"] * _TIME
    return steps.astype(np.int64), times


def _step(reader: Any, index: int, path: Path) -> Any:
    """MDAnalysis's time step of a frame.

    Raises:
        InputError: it cannot be read.
    """
    try:
        with _silence():
            return reader[index]
    except Exception as error:
        reason = one_line(error)
        raise InputError(
            f"frame {index} cannot be read ({reason})", str(path),
            f"read the frames before it: {frames_before(index)}",
        ) from None


def _load(reader: Any, index: int, species: NDArray[np.int32], path: Path) -> Loaded:
    """A frame; `species` (n,) are the atomic numbers."""
    from MDAnalysis.lib.mdamath import triclinic_vectors

    step = _step(reader, index, path)
    size = step.dimensions
    rows = np.zeros((3, 3)) if size is None else triclinic_vectors(size, dtype=np.float64)
    there = bool(rows.any())
    vectors: dict[str, NDArray[Any]] = {"position": np.array(step.positions)}
    if step.has_velocities:
        vectors["velocity"] = np.array(step.velocities) * np.float32(_VELOCITY)
    if step.has_forces:
        vectors["force"] = np.array(step.forces) * np.float32(_FORCE)
    return Loaded(Cell.from_rows(rows, (there, there, there), str(path)), species, vectors)
