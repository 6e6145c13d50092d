"""The systems of a study: the same for all numbers of ranks (strong), or as many copies as ranks (weak)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from allegro_md.config import Input
from allegro_md.domain.decomposition import factors
from allegro_md.errors import InputError

Kind = Literal["strong", "weak"]
"""Of a study: the system stays as it is, or grows with the number of ranks."""


@dataclass(frozen=True)
class Size:
    """One measurement of a study.

    Attributes:
        ranks: number of them.
        atoms: of the system.
        assignments: keys of the input that are changed for it, as of ``--set``.
    """

    ranks: int
    atoms: int
    assignments: tuple[str, ...] = ()


def sizes(
    kind: Kind, config: Input, atoms: int, heights: NDArray[np.float64], periodic: Sequence[bool], ranks: Sequence[int]
) -> list[Size]:
    """The systems of a study.

    Args:
        kind: of the study.
        config: the input.
        atoms: of its system.
        heights: (3,) float64, Å, distances between opposite faces of its box.
        periodic: per axis.
        ranks: numbers of ranks, ascending.

    Raises:
        InputError: the system cannot be repeated.
    """
    found = []
    for n in ranks:
        changed = () if config.parallel.ranks_wanted(n) == n else ('parallel.grid="auto"',)
        times = copies(n, heights, periodic) if kind == "weak" else (1, 1, 1)
        if times != (1, 1, 1):
            repeat = [a * b for a, b in zip(config.system.repeat, times, strict=True)]
            changed = (f"system.repeat={repeat}", *changed)
        found.append(Size(n, atoms * times[0] * times[1] * times[2], changed))
    return found


def copies(n: int, heights: NDArray[np.float64], periodic: Sequence[bool]) -> tuple[int, int, int]:
    """Copies of a box along each axis that make it n times as large and as close to a cube as can be.

    Along axes that do not repeat nothing is added. Of equally good choices the one with most copies along the last
    axis is taken.

    Args:
        n: number of copies in all.
        heights: (3,) float64, Å, distances between opposite faces of the box.
        periodic: per axis.

    Raises:
        InputError: no axis is periodic.
    """
    if n > 1 and not any(periodic):
        raise InputError(
            "a weak study repeats the system along its periodic axes, but it has none", "system.periodic",
            "use allegro-md scale strong",
        )  # fmt: skip
    grows = np.array(periodic)

    def elongation(times: tuple[int, int, int]) -> tuple[float, tuple[int, int, int]]:
        edges = (heights * np.array(times))[grows]
        return round(float(edges.max() / edges.min()), 6), times

    allowed = (t for t in factors(n) if all(p or k == 1 for p, k in zip(periodic, t, strict=True)))
    return min(allowed, key=elongation) if n > 1 else (1, 1, 1)
