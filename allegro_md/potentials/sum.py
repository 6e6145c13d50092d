"""Sums of potentials: several ``[[potential]]`` tables, and the networks of a committee."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial

from allegro_md.errors import InputError
from allegro_md.evaluation import QUANTITIES, Evaluation, Needs, PotentialInfo
from allegro_md.kernels.fixed import MOST_TERMS
from allegro_md.neighbors.list import NeighborList
from allegro_md.potentials.base import Potential
from allegro_md.potentials.parts import InParts, Parts
from allegro_md.state import AtomState, DeviceArray

OF_ONE = frozenset(name for name, quantity in QUANTITIES.items() if quantity.of_one)
"""Quantities that a sum has of the one term that has them."""


class SumPotential:
    """Adds potentials in the order given; all use the list of the longest cutoff, beyond its own a term gives nothing.

    Attributes:
        info: of the sum.
        members: the terms.
    """

    def __init__(self, terms: Sequence[Potential]) -> None:
        """Composes at least one term.

        Raises:
            InputError: more terms than the fixed-point format of the forces has room for.
        """
        if len(terms) > MOST_TERMS:
            raise InputError(f"{len(terms)} terms, but no more than {MOST_TERMS} can be summed exactly", "potential",
                             "join some of them into one")
        self.members = tuple(terms)
        self.info = info_of_sum("sum", terms)

    def __call__(self, state: AtomState, lists: NeighborList, needs: Needs) -> Evaluation:
        return add_up(self.members, state, lists, needs, None)

    def in_parts(self, state: AtomState, lists: NeighborList, needs: Needs, parts: Parts) -> Evaluation:
        """Evaluates part by part, see `parts.InParts`; `parts.has_parts` tells if all terms can."""
        return add_up(self.members, state, lists, needs, parts)


def info_of_sum(name: str, members: Sequence[Potential]) -> PotentialInfo:
    """The description of a sum: it can do what all members can, and promises what all of them promise."""
    infos = [member.info for member in members]
    cutoff = max(info.cutoff for info in infos)
    precisions = [info.precision for info in infos]
    distances: dict[str, float] = {}
    for info in infos:
        for pair, shortest in info.min_distance.items():
            distances[pair] = max(shortest, distances.get(pair, 0.0))
    return PotentialInfo(
        name=name,
        cutoff=cutoff,
        hops=math.ceil(max(info.reach for info in infos) / cutoff),
        provides=frozenset.intersection(*(info.provides for info in infos))
        | {name for info in infos for name in info.provides & OF_ONE},
        conservative=all(info.conservative for info in infos),
        conserves_momentum=all(info.conserves_momentum for info in infos),
        ghost_forces=any(info.ghost_forces for info in infos),
        halo=max(info.halo for info in infos),
        continuous=all(info.continuous for info in infos),
        bit_exact=all(info.bit_exact for info in infos),
        precision=next((p for p in ("unknown", "mixed") if p in precisions), "double"),
        tolerance=max(info.tolerance for info in infos),
        engine=", ".join(dict.fromkeys(info.engine for info in infos if info.engine)),
        gpu_obstacle=next((info.gpu_obstacle for info in infos if info.gpu_obstacle), ""),
        files=tuple(path for info in infos for path in info.files),
        min_distance=distances,
        bytes_per_atom=max(info.bytes_per_atom for info in infos) + (24.0 if len(infos) > 1 else 0.0),
        virial_bytes=(2.0 if len(infos) > 1 else 1.0) * max(info.virial_bytes for info in infos),
        reference=None if all(info.reference is None for info in infos) else lambda: SumPotential(
            [member if member.info.reference is None else member.info.reference() for member in members]
        ),
    )


def add_up(
    members: Sequence[Potential],
    state: AtomState,
    lists: NeighborList,
    needs: Needs,
    parts: Parts | None,
    look: Callable[[int, int, DeviceArray], None] | None = None,
) -> Evaluation:
    """Evaluates potentials one after the other.

    Args:
        members: at least one.
        state, lists, needs: as of `base.Potential`.
        parts: of the evaluation, if all members can be evaluated in parts; None: they are called.
        look: called for all atoms and ghosts, if not at once, with the index of a member, that of the first atom, and
            the forces that the member adds to these atoms, (n, 3) int64, fixed point; they must not be changed or kept.
    """
    force = state.array_all("force")
    result: Evaluation | None = None
    before: DeviceArray | None = None

    def settle(index: int, first: int, stop: int) -> None:
        """Adds what the members before have given to the forces of a member on some atoms, which are complete."""
        if look is not None:
            look(index, first, force[first:stop])
        if before is not None:
            force[first:stop] += before[first:stop]

    for index, member in enumerate(members):
        if result is not None:
            before = force + 0  # each adds to zeros: the bounds of its sums are its own
            force[...] = 0
        unsettled = state.n_all
        if isinstance(member, InParts) and parts is not None:
            last, remote = index + 1 == len(members), parts.first_remote
            own = parts.of_term(index == 0, last, partial(settle, index, remote, state.n_all))
            found = member.in_parts(state, lists, needs, own)
            unsettled = remote if last else state.n_all
        else:
            found = member(state, lists, needs)
        settle(index, 0, unsettled)
        result = found if result is None else result.plus(found)
    assert result is not None
    return result
