"""A labeled configuration: atoms with the energy, forces and stress that a model is to reproduce."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Raw:
    """A configuration as a file has it.

    Attributes:
        numbers: (n,) atomic numbers.
        position: (n, 3).
        cell: (3, 3), rows.
        periodic: per axis.
        values: every entry of the frame and of its atoms, by name.
        kind: its ``config_type``.
        source: file and frame, for messages.
    """

    numbers: NDArray[np.int64]
    position: Array
    cell: Array
    periodic: tuple[bool, bool, bool]
    values: Mapping[str, Any]
    kind: str
    source: str


@dataclass(frozen=True, eq=False)
class Frame:
    """One configuration and its labels, in the units of the package.

    Attributes:
        numbers: (n,) int64 atomic numbers.
        position: (n, 3) Å.
        cell: (3, 3) Å, rows; zero rows on axes without a vector.
        periodic: per axis.
        energy: eV, or None.
        forces: (n, 3) eV/Å, or None.
        stress: (3, 3) eV/Å³, positive in tension, or None.
        kind: its ``config_type``, empty where it has none.
        source: where it was read, for messages: "file.extxyz, frame 3".
    """

    numbers: NDArray[np.int64]
    position: Array
    cell: Array
    periodic: tuple[bool, bool, bool]
    energy: float | None
    forces: Array | None
    stress: Array | None
    kind: str
    source: str

    @property
    def volume(self) -> float:
        """Å³; 0 where the cell has none."""
        return abs(float(np.linalg.det(self.cell)))


class FramesOnDisk(Sequence[Frame]):
    """Frames that are read when they are asked for."""

    @abstractmethod
    def entries(self) -> list[str]:
        """Names of what the file holds for its frames and their atoms."""

    @abstractmethod
    def _read(self, index: int) -> Frame:
        """One of them, counted from the first."""

    @overload
    def __getitem__(self, index: int) -> Frame: ...
    @overload
    def __getitem__(self, index: slice) -> list[Frame]: ...
    def __getitem__(self, index: int | slice) -> Frame | list[Frame]:
        places = range(len(self))[index]
        return self._read(places) if isinstance(places, int) else [self._read(place) for place in places]
