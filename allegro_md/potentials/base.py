"""What the engine asks of a potential."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch

from allegro_md.neighbors.list import NeighborList
from allegro_md.state import AtomState


@dataclass(frozen=True)
class ForceResult:
    """What one evaluation returns beside the forces, which it adds to the state.

    Attributes:
        energy: (n_local,) float64, eV, per own atom.
        virial: (n_local, 6) float64, eV, per own atom as a center, −Σ_j d ⊗ dE_i/dd, Voigt order xx yy zz yz xz xy
            (its sum over atoms is −dE/dstrain); None unless asked for.
    """

    energy: torch.Tensor
    virial: torch.Tensor | None


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

    def __call__(self, state: AtomState, neighbors: NeighborList, virial: bool) -> ForceResult:
        """Evaluates the centers of the list.

        Adds −dE/dx to ``state.all("force")`` (fixed point; own atoms and ghosts; zeroed by the caller).

        Raises:
            PhysicsError: a force beyond the range of the fixed-point format, or not finite.
        """
