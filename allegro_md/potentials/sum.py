"""Several ``[[potential]]`` tables: their energies are added."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch

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
        return add_up(self.terms, state, neighbors, virial)


def add_up(
    terms: Sequence[Potential],
    state: AtomState,
    neighbors: NeighborList,
    virial: Virial,
    look: Callable[[torch.Tensor], None] | None = None,
) -> ForceResult:
    """Evaluates potentials one after the other.

    Args:
        terms: at least one.
        state, neighbors, virial: see `base.Potential`.
        look: called with the forces that each of them adds, (n_all, 3) quanta; not to be changed or kept.
    """
    force = state.all("force")
    result, before = None, None
    for term in terms:
        if result is not None:
            before = force.clone()  # each adds to zeros: the bounds of its sums are its own
            force.zero_()
        found = term(state, neighbors, virial)
        if look is not None:
            look(force)
        if before is not None:
            force.add_(before)
        result = found if result is None else _plus(result, found)
    assert result is not None
    return result


def _plus(a: ForceResult, b: ForceResult) -> ForceResult:
    """Both together, in the memory of the first."""
    total = None if a.virial is None or b.virial is None else a.virial.plus(b.virial)
    virials = None if a.virials is None or b.virials is None else a.virials.add_(b.virials)
    return ForceResult(a.energy.add_(b.energy), total, virials)
