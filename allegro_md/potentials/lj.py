"""``kind = "lj"``: Lennard-Jones, in float64."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from allegro_md.config import LennardJonesTerm
from allegro_md.errors import InputError
from allegro_md.evaluation import OF_EDGES, Evaluation, Needs, PotentialInfo
from allegro_md.kernels.lj import Parameters, lj, near2
from allegro_md.neighbors.list import NeighborList
from allegro_md.potentials.base import Potential
from allegro_md.potentials.pair import PACKED, GpuParameters, evaluate
from allegro_md.potentials.parts import Parts
from allegro_md.state import AtomState, SpeciesTable


class LennardJones:
    """φ(r) = 4ε[(σ/r)¹² − (σ/r)⁶] below the cutoff, less its value there when `shift`.

    The force is not shifted; J. E. Jones, Proc. R. Soc. A 106, 463 (1924).
    """

    members: tuple[Potential, ...] = ()

    def __init__(
        self, epsilon: NDArray[np.float64], sigma: NDArray[np.float64], cutoff: float, shift: bool = True
    ) -> None:
        """Parameters per pair of species.

        Args:
            epsilon: (n_species, n_species) eV, symmetric.
            sigma: (n_species, n_species) Å, symmetric.
            cutoff: Å.
            shift: subtract φ(cutoff), so that the energy is continuous.
        """
        self.info = PotentialInfo(
            "lj", cutoff, continuous=shift, provides=OF_EDGES, bytes_per_atom=PACKED, ghost_forces=False, halo=cutoff,
            gpu_obstacle="",
        )  # the whole force of a pair is on each center
        repulsion, attraction = 4.0 * epsilon * sigma**12, 4.0 * epsilon * sigma**6
        at_cutoff = repulsion / cutoff**12 - attraction / cutoff**6
        subtracted = at_cutoff if shift else np.zeros_like(epsilon)
        near = near2(repulsion, attraction, subtracted)
        table = np.stack([repulsion, attraction, subtracted, near], axis=-1)
        self._parameters = Parameters(cutoff * cutoff, table)
        self._on_gpu = gpu_parameters(self._parameters)

    def __call__(self, state: AtomState, lists: NeighborList, needs: Needs) -> Evaluation:
        return self.in_parts(state, lists, needs, Parts.whole(state))

    def in_parts(self, state: AtomState, lists: NeighborList, needs: Needs, parts: Parts) -> Evaluation:
        """Evaluates part by part, see `parts.InParts`."""
        return evaluate(self.info.name, lj, (self._parameters,), self._on_gpu, state, lists, needs, parts)


def gpu_parameters(parameters: Parameters) -> GpuParameters:
    """Makes those of the kernel of GPUs."""
    return GpuParameters((parameters.cutoff2, parameters.table, len(parameters.table)))


def build(term: LennardJonesTerm, species: SpeciesTable) -> LennardJones:
    """The potential of an input section for the species of a system.

    Raises:
        InputError: a pair of species has no parameters.
    """
    n = len(species.symbols)
    epsilon, sigma = np.zeros((n, n)), np.zeros((n, n))
    if term.pairs is None:
        symbols = dict.fromkeys(species.symbols)  # isotopes are species of one symbol
        if len(symbols) > 1:
            raise InputError(f"epsilon and sigma are for one element, the system has {', '.join(symbols)}",
                             "potential", 'give pairs = { "A-B" = [epsilon, sigma], … }')
        epsilon[:], sigma[:] = term.epsilon, term.sigma
    else:
        given = {frozenset(key.split("-")): numbers for key, numbers in term.pairs.items()}
        for i, first in enumerate(species.symbols):
            for j, second in enumerate(species.symbols):
                if frozenset((first, second)) not in given:
                    raise InputError(f"the pair {first}-{second} has no parameters", "potential.pairs",
                                     f'add "{first}-{second}" = [epsilon, sigma]')
                epsilon[i, j], sigma[i, j] = given[frozenset((first, second))]
    return LennardJones(epsilon, sigma, term.cutoff, term.shift)
