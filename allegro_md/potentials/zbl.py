"""``kind = "zbl"``: screened nuclear repulsion, in float64."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from allegro_md.config import ZblTerm
from allegro_md.evaluation import OF_EDGES, Evaluation, Needs, PotentialInfo
from allegro_md.kernels.zbl import EXPONENT, LENGTH, zbl
from allegro_md.neighbors.list import NeighborList
from allegro_md.potentials.base import Potential
from allegro_md.potentials.pair import PACKED, GpuParameters, evaluate
from allegro_md.potentials.parts import Parts
from allegro_md.state import AtomState, SpeciesTable
from allegro_md.units import COULOMB_EV_A


class Zbl:
    """The universal repulsion of Ziegler, Biersack and Littmark between nuclei, zero from the cutoff on."""

    members: tuple[Potential, ...] = ()

    def __init__(self, numbers: NDArray[np.int64], cutoff: float) -> None:
        """Repulsion between the given nuclei.

        Args:
            numbers: (n_species,) atomic numbers.
            cutoff: Å.
        """
        self.info = PotentialInfo(
            "zbl", cutoff, provides=OF_EDGES, bytes_per_atom=PACKED, ghost_forces=False, halo=cutoff, gpu_obstacle=""
        )  # the whole force of a pair is on each center
        z = numbers.astype(np.float64)
        screened = z**EXPONENT
        self._table = np.stack([COULOMB_EV_A * np.outer(z, z), np.add.outer(screened, screened) / LENGTH])
        self._on_gpu = gpu_parameters(cutoff, self._table)

    def __call__(self, state: AtomState, lists: NeighborList, needs: Needs) -> Evaluation:
        return self.in_parts(state, lists, needs, Parts.whole(state))

    def in_parts(self, state: AtomState, lists: NeighborList, needs: Needs, parts: Parts) -> Evaluation:
        """Evaluates part by part, see `parts.InParts`."""
        parameters = self.info.cutoff, self._table
        return evaluate(self.info.name, zbl, parameters, self._on_gpu, state, lists, needs, parts)


def gpu_parameters(cutoff: float, table: NDArray[np.float64]) -> GpuParameters:
    """Makes those of the kernel of GPUs; `table` (2, n_species, n_species), see `kernels.zbl.zbl`."""
    return GpuParameters((cutoff, table, table.shape[1]))


def build(term: ZblTerm, species: SpeciesTable) -> Zbl:
    """The potential of an input section for the species of a system."""
    return Zbl(species.numbers, term.cutoff)
