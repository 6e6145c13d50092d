"""Something about the labels of a file that does not look right."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from allegro_md.config.training import LabelsConfig
from allegro_md.io.labeled import Frame

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Doubt:
    """Something that does not look right.

    Attributes:
        what: does not look right.
        about: the key of ``data.labels`` whose statement would settle it; empty: nothing settles it but a correction;
            None: it is a remark in any case.
        remedy: what to do.
        label: which it concerns, "energy", "forces" or "stress"; empty: the positions.
    """

    what: str
    about: str | None
    remedy: str
    label: str = ""


@dataclass(frozen=True)
class Sample:
    """Some frames of a file.

    Attributes:
        frames: in the units of the package.
        labels: as the input has them.
        virial: the stresses come from a virial.
    """

    frames: Sequence[Frame]
    labels: LabelsConfig
    virial: bool

    @property
    def other_sign(self) -> str:
        """The value that ``stress_sign`` must have if the stresses have the wrong sign now."""
        now = self.labels.stress_sign or ("compression" if self.virial else "tension")
        return "tension" if now == "compression" else "compression"


def rms(arrays: Sequence[Array]) -> float:
    """Root mean square of all numbers of some arrays."""
    return float(np.sqrt(np.mean(np.concatenate([array.ravel() for array in arrays]) ** 2)))


def by_composition(frames: Sequence[Frame]) -> list[list[Frame]]:
    """Frames grouped by the elements of their atoms and how many there are of each."""
    groups: dict[bytes, list[Frame]] = defaultdict(list)
    for frame in frames:
        groups[np.sort(frame.numbers).tobytes()].append(frame)
    return list(groups.values())
