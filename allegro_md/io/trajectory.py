"""The reader of trajectories: frames of ``trajectory.h5``, one at a time, whole or some of their atoms."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from allegro_md.cell import Cell
from allegro_md.errors import InputError
from allegro_md.io.disk import damage
from allegro_md.io.frame_index import NAME
from allegro_md.io.frame_sequence import FrameFile
from allegro_md.io.h5md import UNITS
from allegro_md.io.segments import FOLDER, segment_path
from allegro_md.io.wrapping import unwrap

COPY_AGAIN = f"copy it again, together with its folder {FOLDER}/"

H5MD_UNITS = UNITS | {"time": "fs", "cell": "Angstrom"}
"""Units of what a frame holds, as H5MD writes them."""


def read_trajectory(path: str | Path) -> Trajectory:
    """Opens the trajectory of a run, also while the run continues and after it was killed: whole frames only.

    Args:
        path: the file ``trajectory.h5`` of a run directory; the folder ``trajectory`` lies beside it.

    Returns:
        The frames there are now. A trajectory that grows has to be opened again to see more of them.

    Raises:
        InputError: there is no such file, it is damaged, or another program wrote it.
    """
    return Trajectory(Path(path))


class Frame:
    """One frame, or some of its atoms; a quantity is read from the disk when it is first asked for.

    Attributes:
        step: number of the step.
        time: fs.
        cell: with the lattice vectors as rows of `cell.matrix`, (3, 3) Å, and the flags `cell.periodic`.
    """

    def __init__(self, trajectory: Trajectory, index: int, first: int, last: int) -> None:
        """Atoms with the ids `first` … `last` − 1 of frame `index` (from 0)."""
        self._trajectory, self._index, self._first, self._last = trajectory, index, first, last
        self.step, self.time = int(trajectory.steps[index]), float(trajectory.times[index])

    def __len__(self) -> int:
        return self._last - self._first

    def atoms(self, first: int, last: int) -> Frame:
        """The same frame with the atoms of the ids `first` … `last` − 1 only; the others are not read.

        Raises:
            IndexError: this frame does not hold them all.
        """
        if not self._first <= first <= last <= self._last:
            raise IndexError(f"atoms {first} to {last} of a frame that holds {self._first} to {self._last}")
        return Frame(self._trajectory, self._index, first, last)

    @cached_property
    def cell(self) -> Cell:
        """The cell; a free axis without a lattice vector has a unit vector in `matrix` and zeros in `given_rows`."""
        return Cell.from_rows(self._trajectory.cell_rows(self._index), self._trajectory.periodic)

    @cached_property
    def position(self) -> NDArray[Any]:
        """(n, 3) float32 or float64, Å, as stored: wrapped into the cell along the periodic axes.

        Raises:
            InputError: positions were not written.
        """
        return self._read("position")

    @cached_property
    def image(self) -> NDArray[np.int32]:
        """(n, 3) int32, the periodic images: how many lattice vectors the wrapped positions are short of.

        Raises:
            InputError: images were not written.
        """
        return self._read("image")

    @cached_property
    def unwrapped(self) -> NDArray[np.float64]:
        """(n, 3) float64, Å, the positions without wrapping: position + image·h.

        Raises:
            InputError: positions were not written, or images were not and some axis is periodic.
        """
        if not any(self._trajectory.periodic):  # nothing was wrapped
            return self.position.astype(np.float64)
        self._trajectory.require("position", "image")
        return unwrap(self.position, self.image, self._trajectory.cell_rows(self._index))

    @cached_property
    def velocity(self) -> NDArray[Any]:
        """(n, 3) float32 or float64, Å/fs.

        Raises:
            InputError: velocities were not written.
        """
        return self._read("velocity")

    @cached_property
    def force(self) -> NDArray[Any]:
        """(n, 3) float32 or float64, eV/Å.

        Raises:
            InputError: forces were not written.
        """
        return self._read("force")

    def _read(self, field: str) -> NDArray[Any]:
        return self._trajectory.rows(field, self._index, self._first, self._last)


class Trajectory(FrameFile[Frame]):
    """The frames of a trajectory file; `with read_trajectory(path) as trajectory` closes it.

    ``trajectory[-1]`` is the last frame, ``trajectory[100::10]`` every tenth from frame 100 on.

    Attributes:
        path: the file.
        n_frames: number of frames.
        n_atoms: number of atoms, the same in each frame.
        fields: what each frame holds, of position, velocity, force and image.
        steps: (n_frames,) int64, numbers of the steps.
        times: (n_frames,) float64, fs.
        periodic: one flag per axis.
        units: of the fields, the time and the cell, as H5MD writes them.
        remarks: none: nothing of such a file is assumed or left out.
    """

    remarks: tuple[str, ...] = ()

    def __init__(self, path: Path, stop: int | None = None) -> None:
        """Use `read_trajectory`; frames from `stop` on are not looked at."""
        self.path, self._stop = path, stop
        self._file = _opened(path)
        try:
            with damage(path, COPY_AGAIN):
                self._describe(self._file["particles/all"])
        except Exception:
            self.close()
            raise

    def frame(self, index: int) -> Frame:
        """The frame of a number from 0, with all its atoms."""
        return Frame(self, index, 0, self.n_atoms)

    @cached_property
    def species(self) -> NDArray[np.int32]:
        """(n_atoms,) int32, atomic numbers in the order of the ids."""
        return self._read("species", slice(None))

    @cached_property
    def masses(self) -> NDArray[np.float64] | None:
        """(n_atoms,) float64, amu, in the order of the ids; None in a file of an earlier version."""
        return self._read("mass", slice(None)) if self._has_masses else None

    def close(self) -> None:
        """Closes the file; frames keep what they have read."""
        self._file.close()

    def require(self, *fields: str) -> None:
        """Refuses a trajectory that lacks one of the fields.

        Raises:
            InputError: one was not written.
        """
        missing = [name for name in fields if name not in self.fields]
        if missing:
            listed = ", ".join(f'"{name}"' for name in UNITS if name in (*self.fields, *fields))
            remedy = f"run again with fields = [{listed}] in output.trajectory"
            raise InputError(f"holds no {missing[0]} of the atoms", str(self.path), remedy)

    def cell_rows(self, index: int) -> NDArray[np.float64]:
        """(3, 3) Å, the lattice vectors of a frame; zero where the cell has none."""
        return self._cells[index]

    def rows(self, field: str, index: int, first: int, last: int) -> NDArray[Any]:
        """A field of the atoms with the ids `first` … `last` − 1 of a frame: (last − first, 3), as stored.

        Raises:
            InputError: it was not written, or the file that holds it is missing.
        """
        self.require(field)
        if first == last:  # HDF5 cannot select nothing of a dataset that lies in several files
            return np.empty((0, 3), self._file[f"particles/all/{field}/value"].dtype)
        values = self._read(f"{field}/value", (index, slice(first, last)))
        absent = np.iinfo(values.dtype).min if values.dtype.kind == "i" else np.nan
        if len(values) and np.array_equal(values[0], np.full(3, absent), equal_nan=values.dtype.kind == "f"):
            raise InputError(
                f"the file that holds frame {index} is missing: {self._segment_of(index)}",
                str(self.path),
                f"copy the folder {FOLDER}/ together with {NAME}; if the run has been continued since, open it again",
            )
        return values

    def _describe(self, atoms: h5py.Group) -> None:
        """Reads everything that is not per frame and atom."""
        self.fields = tuple(name for name in UNITS if name in atoms)
        times = atoms[self.fields[0]] if self.fields else None
        if times is None:
            raise InputError("holds no quantity that this reader knows", str(self.path), "read it with h5py")
        self.steps: NDArray[np.int64] = times["step"][:].astype(np.int64)
        self.times: NDArray[np.float64] = times["time"][:].astype(np.float64)
        self._has_masses = "mass" in atoms
        self.n_frames, self.n_atoms = len(self.steps), len(atoms["species"])
        x, y, z = (str(kind) == "periodic" for kind in atoms["box"].attrs["boundary"])
        self.periodic = (x, y, z)
        edges = atoms.get("box/edges/value")  # H5MD: none where nothing is periodic and there is no box
        self._cells = np.zeros((self.n_frames, 3, 3)) if edges is None else edges[:].astype(np.float64)
        shapes = {atoms[f"{name}/value"].shape for name in self.fields}
        if shapes != {(self.n_frames, self.n_atoms, 3)} or self._cells.shape != (self.n_frames, 3, 3):
            raise ValueError(f"fields of {shapes} and cells of {self._cells.shape} for {self.n_frames} frames")
        self.units = {name: unit for name, unit in H5MD_UNITS.items() if name in (*self.fields, "time", "cell")}
        self.steps, self.times = self.steps[: self._stop], self.times[: self._stop]
        self.n_frames = len(self.steps)
        if atoms["species"][0] < 0:  # the value that stands for what is not there
            remedy = f"copy the folder {FOLDER}/ together with {NAME}"
            raise InputError(f"its folder {FOLDER}/ is missing or incomplete", str(self.path), remedy)

    def _read(self, name: str, selection: Any) -> NDArray[Any]:
        """Reads a part of a dataset of the atoms.

        Raises:
            ValueError: the file has been closed.
            InputError: it is damaged.
        """
        if not self._file:
            raise ValueError(f"{self.path} has been closed")
        with damage(self.path, COPY_AGAIN):
            values: NDArray[Any] = self._file[f"particles/all/{name}"][selection]
        return values

    def _segment_of(self, index: int) -> Path:
        """The file that holds a frame."""
        counts = np.cumsum(self._file["parameters/segment_frames"][:])
        return segment_path(self.path.parent / FOLDER, int(np.searchsorted(counts, index, side="right")))


def _opened(path: Path) -> h5py.File:
    """Opens a file that is a trajectory of this program.

    Raises:
        InputError: it is not.
    """
    if path.is_dir():
        raise InputError("is a folder", str(path), f"give the file, for example {path / NAME}")
    if not path.exists():
        remedy = "give the path of a trajectory.h5; a run writes it where its input has output.trajectory"
        raise InputError("no such file", str(path), remedy)
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        reason = (str(error).splitlines() or [""])[0]
        raise InputError(f"is not a readable HDF5 file ({reason})", str(path), "give a trajectory.h5") from None
    try:
        with damage(path, COPY_AGAIN):
            _require_ours(file, path)
    except Exception:
        file.close()
        raise
    return file


def _require_ours(file: h5py.File, path: Path) -> None:
    """Raises InputError for a file that another program wrote."""
    creator = file["h5md/creator"].attrs.get("name") if "h5md/creator" in file else None
    if creator == "allegro-md":
        return
    if "h5md" in file:
        raise InputError(
            f"is an H5MD file that {creator or 'another program'} wrote: order of atoms, units and images may differ",
            str(path),
            "read it with MDAnalysis or h5py",
        )
    raise InputError("is an HDF5 file, but no H5MD trajectory", str(path), f"give the {NAME} of a run directory")
