"""Several ``[[potential]]`` tables: their energies are added."""

from __future__ import annotations

import math
from collections.abc import Sequence

from allegro_md.errors import InputError
from allegro_md.kernels.fixed import MOST_TERMS
from allegro_md.neighbors.list import NeighborList
from allegro_md.potentials.base import ForceResult, Potential, Virial
from allegro_md.state import AtomState


class SumPotential:
    """Adds terms in the order given; all use the list of the longest cutoff, beyond its own a term gives nothing."""

    name = "sum"

    def __init__(self, terms: Sequence[Potential]) -> None:
        """Composes at least one term.

        Raises:
            InputError: more terms than the fixed-point format of the forces has room for.
        """
        if len(terms) > MOST_TERMS:
            raise InputError(f"{len(terms)} terms, but no more than {MOST_TERMS} can be summed exactly", "potential",
                             "join some of them into one")
        self.terms = tuple(terms)
        self.cutoff = max(term.cutoff for term in terms)
        self.halo_hops = math.ceil(max(term.halo_hops * term.cutoff for term in terms) / self.cutoff)
        self.bit_exact = all(term.bit_exact for term in terms)

    def __call__(self, state: AtomState, neighbors: NeighborList, virial: Virial) -> ForceResult:
        first, *others = self.terms
        result, force = first(state, neighbors, virial), state.all("force")
        energy, total, virials = result.energy, result.virial, result.virials
        for term in others:
            before = force.clone()  # each term adds to zeros: the bounds of its sums are its own
            force.zero_()
            result = term(state, neighbors, virial)
            force.add_(before)
            energy = energy + result.energy
            total = None if total is None or result.virial is None else total.plus(result.virial)
            virials = None if virials is None or result.virials is None else virials + result.virials
        return ForceResult(energy, total, virials)
