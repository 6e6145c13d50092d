"""What the engine asks of a potential."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from allegro_md.exact import ExactSum
from allegro_md.neighbors.list import NeighborList
from allegro_md.state import AtomState


class Virial(IntEnum):
    """What is asked of an evaluation: per atom takes 48 bytes of each, the total none."""

    NONE = 0
    TOTAL = 1
    PER_ATOM = 2


@dataclass(frozen=True)
class ForceResult:
    """What one evaluation returns beside the forces, which it adds to the state.

    Attributes:
        energy: (n_local,) float64, eV, per own atom.
        virial: −dE/dstrain of the own atoms, eV, Voigt order xx yy zz yz xz xy; None unless asked for.
        virials: (n_local, 6) float64, eV, its terms per own atom as a center, −Σ_j d ⊗ dE_i/dd; None unless asked for.
    """

    energy: torch.Tensor
    virial: ExactSum | None = None
    virials: torch.Tensor | None = None

    @staticmethod
    def of(energy: NDArray[np.float64], virials: NDArray[np.float64], virial: Virial, state: AtomState) -> ForceResult:
        """From arrays of the host.

        Args:
            energy: (n_local,) eV.
            virials: (n_local, 6) eV; empty where none are wanted.
            virial: what was asked for.
            state: where the tensors are to live, and the ids.
        """
        energies = torch.from_numpy(energy).to(state.device)
        if not virial:
            return ForceResult(energies)
        total = ExactSum.of(virials, "virial", state.local("id").cpu().numpy())
        per_atom = torch.from_numpy(virials).to(state.device) if virial is Virial.PER_ATOM else None
        return ForceResult(energies, total, per_atom)


class Potential(Protocol):
    """Energy of own atoms as a function of the atoms within `halo_hops` cutoffs; never talks to MPI.

    Attributes:
        name: as in the input.
        cutoff: Å.
        halo_hops: width of the halo in cutoffs (1: strictly local).
        bit_exact: whether the results are covered by the promise of bit-identical trajectories.
    """

    name: str
    cutoff: float
    halo_hops: int
    bit_exact: bool

    def __call__(self, state: AtomState, neighbors: NeighborList, virial: Virial) -> ForceResult:
        """Evaluates the centers of the list.

        Adds −dE/dx to ``state.all("force")`` (fixed point; own atoms and ghosts; zeroed by the caller).

        Raises:
            PhysicsError: a force beyond the range of the fixed-point format, or not finite.
        """
