"""Some frames of some files, in an order; those of HDF5 files stay there until they are asked for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import overload

import numpy as np
from numpy.typing import ArrayLike

from allegro_md.config.training import LabelsConfig
from allegro_md.io.labeled import Frame, Notes, read_frames


class Frames(Sequence[Frame]):
    """A choice of frames.

    Attributes:
        files: that were read.
        origin: (n, 2) index of the file and of the frame in it.
    """

    def __init__(self, files: Sequence[tuple[Path, Sequence[Frame]]], origin: ArrayLike) -> None:
        self.files = files
        self.origin = np.asarray(origin, dtype=np.int64).reshape(-1, 2)

    @staticmethod
    def read(paths: Iterable[Path], labels: LabelsConfig, notes: Notes | None = None) -> Frames:
        """All frames of some files.

        Raises:
            InputError: see `read_frames`.
        """
        files = [(path, read_frames(path, labels, notes)) for path in paths]
        return Frames(files, [(k, index) for k, (_, frames) in enumerate(files) for index in range(len(frames))])

    def __len__(self) -> int:
        return len(self.origin)

    @overload
    def __getitem__(self, index: int) -> Frame: ...
    @overload
    def __getitem__(self, index: slice) -> Frames: ...
    def __getitem__(self, index: int | slice) -> Frame | Frames:
        if isinstance(index, slice):
            return Frames(self.files, self.origin[index])
        file, frame = self.origin[index]
        return self.files[file][1][int(frame)]

    def take(self, index: ArrayLike) -> Frames:
        """The frames with these indices."""
        return Frames(self.files, self.origin[np.asarray(index, dtype=np.int64)])

    def by_file(self) -> list[tuple[Path, list[int]]]:
        """Indices of the chosen frames in each file."""
        return [(path, self.origin[self.origin[:, 0] == k, 1].tolist()) for k, (path, _) in enumerate(self.files)]
