"""The interface of stored frames: the same for every format of trajectories.

`allegro_md.io.trajectory.Trajectory` and its frames fulfill it as they are.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, overload

import numpy as np
from numpy.typing import NDArray

from allegro_md.cell import Cell
from allegro_md.errors import InputError

FIELDS = ("position", "image", "velocity", "force")
"""Vectors per atom that a frame may hold."""


class StoredFrame(Protocol):
    """One frame, or some of its atoms. A quantity that the file does not hold raises InputError.

    Attributes:
        step: number of the step.
        time: fs; NaN where the file does not state it.
    """

    step: int
    time: float

    def __len__(self) -> int: ...

    def atoms(self, first: int, last: int) -> StoredFrame:
        """The same frame with the atoms `first` … `last` − 1 only.

        Raises:
            IndexError: this frame does not hold them all.
        """

    @property
    def cell(self) -> Cell:
        """The cell; not periodic and without a vector of its own where the file has none."""

    @property
    def position(self) -> NDArray[Any]:
        """(n, 3) float32 or float64, Å, as stored: wrapped into the cell where the frame has images."""

    @property
    def image(self) -> NDArray[np.int32]:
        """(n, 3) int32, the periodic images: unwrapped position = position + image·h."""

    @property
    def unwrapped(self) -> NDArray[np.float64]:
        """(n, 3) float64, Å, the positions without wrapping; there where images are, or where no axis is periodic."""

    @property
    def velocity(self) -> NDArray[Any]:
        """(n, 3) float32 or float64, Å/fs."""

    @property
    def force(self) -> NDArray[Any]:
        """(n, 3) float32 or float64, eV/Å."""


class FrameSource(Protocol):
    """The frames of a file, none of which is read before it is asked for; `with open_frames(path) as …` closes it.

    ``source[-1]`` is the last frame, ``source[100::10]`` every tenth from frame 100 on.
    """

    @property
    def path(self) -> Path:
        """The file."""

    @property
    def n_frames(self) -> int:
        """Number of frames, at least 1 for every format but that of a run that has just begun."""

    @property
    def n_atoms(self) -> int:
        """Number of atoms, the same in each frame."""

    @property
    def fields(self) -> tuple[str, ...]:
        """Names of the vectors that each frame holds, of `FIELDS`; "image" where unwrapped positions are known."""

    @property
    def steps(self) -> NDArray[np.int64]:
        """(n_frames,) int64, numbers of the steps; those of the frames where the file does not state them."""

    @property
    def times(self) -> NDArray[np.float64]:
        """(n_frames,) float64, fs; NaN where the file does not state them, see `require_times`."""

    @property
    def periodic(self) -> tuple[bool, bool, bool]:
        """One flag per axis, the same in each frame."""

    @property
    def species(self) -> NDArray[np.int32]:
        """(n_atoms,) int32, atomic numbers, the same in each frame."""

    @property
    def masses(self) -> NDArray[np.float64] | None:
        """(n_atoms,) float64, amu; None in H5MD files of earlier versions."""

    @property
    def remarks(self) -> tuple[str, ...]:
        """Sentences about what was assumed, and what of the file is not used."""

    def require(self, *fields: str) -> None:
        """Refuses a file that lacks one of the fields.

        Raises:
            InputError: one is not there.
        """

    def close(self) -> None:
        """Closes the file; frames keep what they have read."""

    def __enter__(self) -> FrameSource: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None: ...

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[StoredFrame]: ...

    @overload
    def __getitem__(self, index: int) -> StoredFrame: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[StoredFrame]: ...


def require_times(source: FrameSource) -> NDArray[np.float64]:
    """Returns the times of all frames, (n_frames,) float64, fs.

    Raises:
        InputError: the file does not state them, and no time between frames was given.
    """
    if not np.isfinite(source.times).all():
        raise InputError(
            "does not state the times of its frames", str(source.path),
            'give the time between two frames, for example --timestep "10 fs"',
        )
    return source.times
