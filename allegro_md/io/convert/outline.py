"""Properties of the frames that are to be written, known before the first of them is read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from allegro_md.io.frames import FrameSource, StoredFrame
from allegro_md.io.structure.contents import standard_masses

Say = Callable[[str], None]
"""Takes a sentence for the user; one that has been said is not repeated."""


class FrameWriter(Protocol):
    """Writes frames one by one into an unfinished file, which the caller renames when it is whole."""

    def write(self, frame: StoredFrame) -> None:
        """Adds a frame.

        Raises:
            InputError: the format cannot hold it.
            ResourceError: the disk refuses it.
        """

    def close(self, whole: bool) -> None:
        """Ends the file; `whole` where all frames have been written."""


@dataclass(frozen=True)
class Outline:
    """The frames that were chosen.

    Attributes:
        source: of the frames.
        frames: the chosen ones.
        steps: (n,) int64 of them.
        times: (n,) fs of them, NaN where unknown.
        say: takes what the format cannot hold.
    """

    source: FrameSource
    frames: Sequence[StoredFrame]
    steps: NDArray[np.int64]
    times: NDArray[np.float64]
    say: Say

    @property
    def masses(self) -> NDArray[np.float64]:
        """(n_atoms,) amu; the standard ones where the source states none."""
        stated = self.source.masses
        return standard_masses(self.source.species.astype(np.int64)) if stated is None else stated

    @property
    def ordinary_masses(self) -> bool:
        """Tells if the masses are those that ASE gives the elements."""
        return np.array_equal(self.masses, standard_masses(self.source.species.astype(np.int64)))

    @property
    def timed(self) -> bool:
        """Tells if the times are known."""
        return bool(np.isfinite(self.times).all())


@dataclass(frozen=True)
class Format:
    """One format that can be written.

    Attributes:
        name: for people.
        suffixes: of names of files.
        holds: what it can hold, of position, image, velocity, force, mass, step, time, origin.
        several: whether it holds more than one frame.
        open: begins an unfinished file.
    """

    name: str
    suffixes: tuple[str, ...]
    holds: frozenset[str]
    several: bool
    open: Callable[[Path, Outline], FrameWriter]
