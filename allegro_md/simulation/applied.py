"""Constant forces on groups of atoms, in fixed point: added to those of the potential, the same bits on all ranks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from allegro_md.backends import backend_for
from allegro_md.comm import Comm
from allegro_md.exact import FORCE_SCALE, ExactSum
from allegro_md.observables import summed
from allegro_md.state import GROUP, AtomState
from allegro_md.units import AMU_A2_PER_FS2


@dataclass(frozen=True)
class AppliedForce:
    """A force on each atom of a group.

    Attributes:
        bit: of the group.
        fixed: (n_species, 3) int64, fixed point.
    """

    bit: int
    fixed: NDArray[np.int64]

    @staticmethod
    def of(
        bit: int, force: Sequence[float] | None, acceleration: Sequence[float] | None, masses: NDArray[np.float64]
    ) -> AppliedForce:
        """A force (eV/Å) or an acceleration (Å/fs²) on a group; `masses` (n_species,) amu."""
        if acceleration is not None:
            values = (masses * AMU_A2_PER_FS2)[:, None] * np.array(acceleration)
        else:
            values = np.tile(np.array(force, dtype=np.float64), (len(masses), 1))
        return AppliedForce(bit, np.rint(values * FORCE_SCALE).astype(np.int64))


class AppliedForces:
    """All external forces; atoms that are held feel none."""

    def __init__(self, forces: Sequence[AppliedForce]) -> None:
        self._forces = tuple(forces)

    def add(self, state: AtomState, sign: int = 1) -> None:
        """Adds them to the forces of the local atoms, or takes them away (`sign` −1), exactly."""
        for force in self._forces:
            backend_for(state.device).steps.add_forces(state, sign * force.fixed, force.bit)

    @contextmanager
    def absent(self, state: AtomState) -> Iterator[None]:
        """Takes them away for a while, so that the forces are those of the potential alone."""
        self.add(state, -1)
        try:
            yield
        finally:
            self.add(state)

    def energy(self, state: AtomState) -> ExactSum:
        """−Σ F·x of the local atoms over unwrapped positions, eV: its change is minus the work done on them."""
        terms = -(self._on_atoms(state) * state.host_local("position"))
        return summed(state.device_array(terms[:, 0] + terms[:, 1] + terms[:, 2]), "energy", state)

    def net(self, state: AtomState, comm: Comm) -> NDArray[np.float64]:
        """(3,) the sum of the forces over all atoms, eV/Å (collective)."""
        return comm.reduce(summed(state.device_array(self._on_atoms(state)), "force", state))

    def _on_atoms(self, state: AtomState) -> NDArray[np.float64]:
        """(n_local, 3) eV/Å."""
        bits, species = (state.host_local(name) for name in (GROUP.name, "species"))
        total = np.zeros((len(bits), 3), dtype=np.int64)
        for force in self._forces:
            total += np.where(((bits & force.bit) != 0)[:, None], force.fixed[species], 0)
        total[(bits & state.held) != 0] = 0
        return total / FORCE_SCALE
