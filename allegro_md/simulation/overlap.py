"""Overlap of communication with work: atoms in the interior of a brick are evaluated while ghosts and forces travel."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from allegro_md.backends import backend_for
from allegro_md.domain.decomposition import Decomposition
from allegro_md.domain.halo import HaloExchange
from allegro_md.potentials.base import Potential
from allegro_md.potentials.parts import Parts, has_parts
from allegro_md.state import AtomState, on_host
from allegro_md.timers import Timers

MOST_LOCAL = 2_000_000
"""Local atoms of a rank above which messages take less than a hundredth of a step: there atoms stay in the order of
cells throughout, of which the neighbor list is built in less memory."""

WAITED_SHARE = 0.1
"""Share of the time that goes into waiting for ghosts and forces, above which the interior is evaluated meanwhile:
atoms that are not in the order of cells cost up to a tenth, more than messages within a node do."""

LEAST_INTERIOR = 2000
"""Atoms in the interior of a brick below which it is not worth the calls."""

_SLACK = 1e-6  # Å, far above rounding


def can_overlap(potential: Potential) -> bool:
    """Tells if a potential can be evaluated in parts, and its interior centers need no ghosts of other ranks."""
    info = potential.info
    return info.hops == 1 and info.halo <= info.cutoff and has_parts(potential)


def interior(state: AtomState, decomposition: Decomposition, rank: int, width: float) -> NDArray[np.bool_]:
    """Tells which local atoms are farther than `width` (Å) from all other ranks' bricks, (n_local,).

    Two bricks are apart along an axis that is cut, whatever their periodic images: the faces across the other axes do
    not count. Shifts must be set.
    """
    lower, upper = (np.array(bound) for bound in decomposition.brick(rank))
    margin = (width + _SLACK) / state.cell.heights
    for axis, n in enumerate(decomposition.grid):
        lower[axis] = lower[axis] + margin[axis] if n > 1 else -np.inf
        upper[axis] = upper[axis] - margin[axis] if n > 1 else np.inf
    inside = np.zeros(state.n_local, dtype=np.bool_)
    if (lower < upper).all():
        nowhere = np.array([[np.inf] * 3, [-np.inf] * 3])
        rows, _ = backend_for(state.device).domain.within(state, nowhere, np.array([[lower, upper]]))
        inside[on_host(rows)] = True
    return inside


class Exchange:
    """The messages of one evaluation: positions to ghosts, unless they are there, and forces on ghosts home.

    All of them are sent and received, whatever happens to the potential in between.
    """

    def __init__(
        self, state: AtomState, halo: HaloExchange, timers: Timers, moved: bool, ghost_forces: bool
    ) -> None:
        """Begins.

        Args:
            state: local atoms and ghosts.
            halo: between them.
            timers: of this rank.
            moved: atoms have moved since the ghosts have come.
            ghost_forces: forces on ghosts go home, and are added to those on local atoms.
        """
        self._state, self._halo, self._timers = state, halo, timers
        self._arriving, self._departed, self._ghost_forces = moved, False, ghost_forces
        if moved:
            with timers.phase("halo"):
                halo.begin_forward(state.array_all("position"))

    def parts(self, n_interior: int) -> Parts:
        """The centers of the evaluation, the first `n_interior` of which have no neighbor from another rank."""
        n, first = self._state.n_local, 0
        if self._arriving:
            first = n_interior // 2 if self._ghost_forces else n_interior
        early, middle, late = (0, first), (n_interior, n), (first, n_interior)
        remote, n_all = self._halo.first_remote, self._state.n_all
        return Parts(early, middle, late, remote, n_all, self.arrive, self.depart, self._halo.progress)

    def arrive(self) -> None:
        """Waits for the ghosts."""
        if self._arriving:
            with self._timers.phase("halo"):
                self._halo.end_forward()
            self._arriving = False

    def depart(self) -> None:
        """Sends the forces on ghosts, which are complete."""
        if self._ghost_forces and not self._departed:
            with self._timers.phase("halo"):
                self._halo.begin_reverse(self._state.array_all("force"))
            self._departed = True

    def complete(self) -> None:
        """Does what is left."""
        self.arrive()
        self.depart()
        if self._ghost_forces:
            with self._timers.phase("halo"):
                self._halo.end_reverse()
