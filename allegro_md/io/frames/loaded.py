"""Frames of files that are read a frame at a time: the part that all formats but our own have in common."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from allegro_md.cell import Cell
from allegro_md.errors import InputError
from allegro_md.io.frame_sequence import FrameFile
from allegro_md.io.frames.options import FrameOptions, named_here
from allegro_md.io.frames.source import FIELDS
from allegro_md.io.wrapping import FARTHEST, unwrap, wrap


@dataclass(frozen=True)
class Loaded:
    """A frame as its file has it.

    Attributes:
        cell: Å.
        species: (n,) atomic numbers.
        vectors: (n, 3) of each of `FIELDS` that is there, in our units.
        unwrapped: (n, 3) float64, Å, where the file states it; None: made from positions and images.
    """

    cell: Cell
    species: NDArray[np.int32]
    vectors: Mapping[str, NDArray[Any]]
    unwrapped: NDArray[np.float64] | None = None

    @staticmethod
    def of_unwrapped(
        cell: Cell, species: NDArray[np.int32], vectors: Mapping[str, NDArray[Any]], unwrapped: NDArray[np.float64]
    ) -> Loaded:
        """A frame of a file that states unwrapped positions, which are wrapped here.

        Args:
            cell: Å.
            species: (n,) atomic numbers.
            vectors: (n, 3) of velocity and force, where they are there.
            unwrapped: (n, 3) float64, Å.
        """
        position, image = wrap(unwrapped, cell, np.float64)
        return Loaded(cell, species, {**vectors, "position": position, "image": image}, unwrapped)


@dataclass(frozen=True)
class About:
    """Properties of a file that are the same in all frames, or small; the attributes are those of `FrameSource`."""

    path: Path
    steps: NDArray[np.int64]
    times: NDArray[np.float64]
    masses: NDArray[np.float64]
    remarks: tuple[str, ...] = ()


def chosen_times(stated: NDArray[np.float64], options: FrameOptions, remarks: list[str]) -> NDArray[np.float64]:
    """Times (n,) of the frames in fs: as stated, or multiples of the given time between frames.

    Args:
        stated: (n,) fs, by the file; NaN where it states none.
        options: `timestep` counts.
        remarks: told where times are replaced or missing.
    """
    known = bool(np.isfinite(stated).all())
    if options.timestep is not None:
        if known:
            remarks.append("times of the file replaced by multiples of timestep")
        return np.arange(len(stated), dtype=np.float64) * np.float64(options.timestep)
    if not known:
        remarks.append("the file does not state the times of its frames; timestep gives them")
        return np.full(len(stated), np.nan)
    return stated


def whole_images(values: NDArray[np.float64], where: str) -> NDArray[np.int32]:
    """Images (n, 3) as integers, of `values` (n, 3) that a file has for them.

    Raises:
        InputError: one is no whole number, or larger than 32 bits hold.
    """
    fits = (np.abs(values) <= FARTHEST) & (values == np.round(values))
    if not fits.all():
        atom = int(np.flatnonzero(~fits.all(axis=1))[0])
        raise InputError(f"the image {values[atom]} of atom {atom} is not three whole numbers", where, "correct it")
    return values.astype(np.int32)


class LoadedFrame:
    """One frame, or some of its atoms, read from the file when something of it is first asked for.

    Attributes:
        step: number of the step.
        time: fs; NaN where the file does not state it.
    """

    def __init__(self, source: LoadedFrames, index: int, first: int, last: int) -> None:
        """Atoms `first` … `last` − 1 of frame `index` (from 0)."""
        self._source, self._index, self._first, self._last = source, index, first, last
        self._loaded: Loaded | None = None
        self.step, self.time = int(source.steps[index]), float(source.times[index])

    def __len__(self) -> int:
        return self._last - self._first

    def atoms(self, first: int, last: int) -> LoadedFrame:
        """The same frame with the atoms `first` … `last` − 1 only.

        Raises:
            IndexError: this frame does not hold them all.
        """
        if not self._first <= first <= last <= self._last:
            raise IndexError(f"atoms {first} to {last} of a frame that holds {self._first} to {self._last}")
        part = LoadedFrame(self._source, self._index, first, last)
        part._loaded = self._loaded
        return part

    @property
    def cell(self) -> Cell:
        """The cell, with the corner of the box where the file states one."""
        return self._whole().cell

    @property
    def position(self) -> NDArray[Any]:
        """(n, 3) float32 or float64, Å, as stored."""
        return self._rows("position")

    @property
    def image(self) -> NDArray[np.int32]:
        """(n, 3) int32, the periodic images."""
        return self._rows("image")

    @property
    def unwrapped(self) -> NDArray[np.float64]:
        """(n, 3) float64, Å, the positions without wrapping: as stored, or position + image·h."""
        whole = self._whole()
        if whole.unwrapped is not None:
            return whole.unwrapped[self._first : self._last]
        if not any(whole.cell.periodic):
            return self.position.astype(np.float64)
        return unwrap(self.position, self.image, whole.cell.given_rows)

    @property
    def velocity(self) -> NDArray[Any]:
        """(n, 3) float32 or float64, Å/fs."""
        return self._rows("velocity")

    @property
    def force(self) -> NDArray[Any]:
        """(n, 3) float32 or float64, eV/Å."""
        return self._rows("force")

    def _whole(self) -> Loaded:
        if self._loaded is None:
            self._loaded = self._source.load(self._index)
        return self._loaded

    def _rows(self, field: str) -> NDArray[Any]:
        self._source.require(field)
        return self._whole().vectors[field][self._first : self._last]


class LoadedFrames(FrameFile[LoadedFrame]):
    """The frames of a file, see `allegro_md.io.frames.source.FrameSource`; one frame is kept in memory."""

    def __init__(
        self, about: About, read: Callable[[int], Loaded], close: Callable[[], object] = lambda: None
    ) -> None:
        """Reads the first frame: the others must hold the same atoms and fields.

        Args:
            about: the file.
            read: reads the frame of a number.
            close: closes the file.

        Raises:
            InputError: the file holds no frames, or its first cannot be read.
        """
        self.path, self.steps, self.times = about.path, about.steps, about.times
        self.masses: NDArray[np.float64] | None = about.masses
        self.remarks, self.n_frames = tuple(map(named_here, about.remarks)), len(about.steps)
        self._read, self._close, self._closed = read, close, False
        if self.n_frames == 0:
            raise InputError("holds no frames", str(self.path), "give a file with at least one frame")
        first = read(0)
        self.species, self.n_atoms, self.periodic = first.species, len(first.species), first.cell.periodic
        self.fields = tuple(name for name in FIELDS if name in first.vectors)
        self._require_finite(0, first)
        self._kept = (0, first)

    def frame(self, index: int) -> LoadedFrame:
        """The frame of a number from 0, with all its atoms."""
        return LoadedFrame(self, index, 0, self.n_atoms)

    def close(self) -> None:
        """Closes the file; frames keep what they have read."""
        self._close()
        self._closed = True

    def require(self, *fields: str) -> None:
        """Refuses a file that lacks one of the fields.

        Raises:
            InputError: one is not there.
        """
        for name in fields:
            if name not in self.fields:
                what = "images or unwrapped positions" if name == "image" else name
                remedy = f"it holds {', '.join(self.fields)}; use a trajectory with {what}"
                raise InputError(f"holds no {what} of the atoms", str(self.path), remedy)

    def load(self, index: int) -> Loaded:
        """A frame, checked to hold what the first one holds.

        Raises:
            ValueError: the file has been closed.
            InputError: it cannot be read, or differs from the first in number, order or fields of its atoms, or in the
                axes that are periodic.
        """
        if self._kept[0] == index:
            return self._kept[1]
        if self._closed:
            raise ValueError(f"{self.path} has been closed")
        frame = self._read(index)
        self._require_same(index, frame)
        self._require_finite(index, frame)
        self._kept = (index, frame)
        return frame

    def _require_same(self, index: int, frame: Loaded) -> None:
        """Raises InputError where a frame differs from the first."""
        if len(frame.species) != self.n_atoms:
            what = f"frame {index} has {len(frame.species)} atoms, the first has {self.n_atoms}"
        elif not np.array_equal(frame.species, self.species):
            what = f"frame {index} has its atoms in another order than the first, or other elements"
        elif frame.cell.periodic != self.periodic:
            what = f"frame {index} is periodic along other axes than the first"
        elif missing := [name for name in self.fields if name not in frame.vectors]:
            what = f"frame {index} has no {missing[0]}, the first has"
        else:
            return
        raise InputError(what, str(self.path), f"write the frames of each kind to a file, or take frames :{index} only")

    def _require_finite(self, index: int, frame: Loaded) -> None:
        """Raises InputError where a number of a frame is not finite."""
        for name in self.fields:
            bad = ~np.isfinite(frame.vectors[name]).all(axis=1)
            if bad.any():
                what = f"the {name} of atom {int(np.flatnonzero(bad)[0])} in frame {index} is not finite"
                raise InputError(what, str(self.path), "correct the file, or leave the frame out")
