"""The interface of potentials."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

from allegro_md.evaluation import Evaluation, Needs, PotentialInfo
from allegro_md.kernels.arguments import Atoms, Lists
from allegro_md.neighbors.list import NeighborList
from allegro_md.state import AtomState, on_host


class Potential(Protocol):
    """Energies of local atoms as functions of the atoms within reach; never talks to MPI.

    Attributes:
        info: description of itself; everything else in the program that depends on the potential reads it there.
        members: of a sum or a committee; empty for a single potential.
    """

    info: PotentialInfo

    @property
    def members(self) -> Sequence[Potential]:
        """The potentials it is made of."""

    def __call__(self, state: AtomState, lists: NeighborList, needs: Needs) -> Evaluation:
        """Evaluates the local atoms.

        Adds the forces to the field "force" (fixed point; local atoms and ghosts; zeroed by the caller).

        Args:
            state: local atoms and ghosts.
            lists: neighbors within `info.cutoff` of all centers, local atoms first.
            needs: names of `QUANTITIES` to return beside the energies.

        Raises:
            PhysicsError: a force is beyond the range of the fixed-point format, or not finite.
        """


def host_arguments(state: AtomState, lists: NeighborList) -> tuple[Atoms, Lists]:
    """All atoms, and the lists of the local ones, in the arguments of kernels that run on the host."""
    position, shift, species = (on_host(state.array_all(name)) for name in ("position", "shift", "species"))
    offsets = on_host(lists.offsets[: state.n_local + 1])
    return Atoms(position, shift, species, state.cell.matrix), Lists(offsets, on_host(lists.neighbors))


def leaves(potential: Potential) -> Iterator[Potential]:
    """Yields the single potentials of sums and committees, in order."""
    if not potential.members:
        yield potential
    for member in potential.members:
        yield from leaves(member)
