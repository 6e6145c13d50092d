"""``kind = "zbl"``: screened nuclear repulsion, in float64."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from allegro_md.config import ZblTerm
from allegro_md.kernels.zbl import EXPONENT, LENGTH, zbl
from allegro_md.neighbors.list import NeighborList
from allegro_md.potentials.base import ForceResult, Virial
from allegro_md.potentials.pair import evaluate
from allegro_md.state import AtomState, SpeciesTable
from allegro_md.units import COULOMB_EV_A


class Zbl:
    """The universal repulsion of Ziegler, Biersack and Littmark between nuclei, zero from the cutoff on."""

    name = "zbl"
    halo_hops = 1
    bit_exact = True

    def __init__(self, numbers: NDArray[np.int64], cutoff: float) -> None:
        """Repulsion between the given nuclei.

        Args:
            numbers: (n_species,) atomic numbers.
            cutoff: Å.
        """
        self.cutoff = cutoff
        z = numbers.astype(np.float64)
        screened = z**EXPONENT
        self._table = np.stack([COULOMB_EV_A * np.outer(z, z), np.add.outer(screened, screened) / LENGTH])

    def __call__(self, state: AtomState, neighbors: NeighborList, virial: Virial) -> ForceResult:
        return evaluate(self.name, zbl, (self.cutoff, self._table), state, neighbors, virial)


def build(term: ZblTerm, species: SpeciesTable) -> Zbl:
    """The potential of an input section for the species of a system."""
    return Zbl(species.numbers, term.cutoff)
