"""``committee = ["a-1.allegro", "a-2.allegro", …]``: the mean of several networks, and how far they disagree.

Forces are sums in fixed point, one conversion per edge: dividing a finished sum would round otherwise on another
decomposition. So each of the K networks is evaluated with its energies divided by K, and their sum is the mean.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from allegro_md.config import AllegroTerm
from allegro_md.errors import InputError, PhysicsError
from allegro_md.exact import FORCE_SCALE
from allegro_md.kernels.blocks import LIMIT
from allegro_md.kernels.guard import largest_length
from allegro_md.models.allegro.network import Network
from allegro_md.models.modelfile import read_document
from allegro_md.neighbors.list import NeighborList
from allegro_md.potentials.allegro import AllegroPotential, choose
from allegro_md.potentials.base import ForceResult, Virial
from allegro_md.potentials.fused import FusedPotential
from allegro_md.potentials.sum import add_up
from allegro_md.state import AtomState, SpeciesTable

CHUNK = 1 << 16
"""Atoms whose deviations are held at a time."""


class Committee:
    """The mean of networks, all on the same engine.

    Attributes:
        members: each gives its K-th part.
        engine: their engine, its name in the input.
        keeps: whether the next evaluations keep the forces of each member, for `take`.
    """

    name = "committee"
    halo_hops = 1
    bit_exact = True

    def __init__(
        self,
        models: Sequence[Network | str | Path],
        symbols: Sequence[str],
        engine: str = "auto",
        precision: str = "mixed",
        device: str = "auto",
    ) -> None:
        """Prepares the members for a system; arguments as of `allegro.choose`.

        Raises:
            InputError: see `check_members` and `allegro.choose`.
        """
        check_members(models)
        weight = 1.0 / len(models)
        members = [choose(model, symbols, engine, precision, device, weight) for model in models]
        if len({member.engine for member in members}) > 1:
            reason = "as another member of the committee"
            members = [
                AllegroPotential(model, symbols, precision, reason=reason, weight=weight)
                if isinstance(member, FusedPotential) else member
                for model, member in zip(models, members, strict=True)
            ]  # fmt: skip
        self.members = tuple(members)
        self.engine = members[0].engine
        self.cutoff = max(member.cutoff for member in members)
        self.keeps = False
        self._kept: list[torch.Tensor] = []

    def __call__(self, state: AtomState, neighbors: NeighborList, virial: Virial) -> ForceResult:
        """Energies and virials of the own atoms; adds the forces to the state (see `base.Potential`)."""
        limit = LIMIT / len(self.members) * FORCE_SCALE  # so that all of them stay within what one potential may add
        self._kept = []

        def look(force: torch.Tensor) -> None:
            quanta = force.cpu().numpy()
            if not largest_length(quanta) <= limit:
                worst = int(np.argmax(np.abs(quanta.astype(np.float64)).max(axis=1)))
                atom = int(state.all("id")[worst])
                raise PhysicsError(f"{self.name}: the forces on atom {atom} are out of range", [atom])
            if self.keeps:
                self._kept.append(force.clone())

        return add_up(self.members, state, neighbors, virial, look)

    def take(self) -> list[torch.Tensor]:
        """What each member added to the forces in the last evaluation, (n_all, 3) quanta; they are given away."""
        kept, self._kept = self._kept, []
        return kept


def check_members(models: Sequence[Network | str | Path]) -> None:
    """Whether models can be a committee.

    Raises:
        InputError: fewer than two, a file that is no model, or other elements than those of the first.
    """
    if len(models) < 2:
        raise InputError("a committee has at least two models", "committee", "name one model without a list")
    elements = [_symbols(model) for model in models]
    for index, own in enumerate(elements):
        if set(own) != set(elements[0]):
            where = f"member {index + 1}" if isinstance(models[index], Network) else str(models[index])
            raise InputError(
                f"the model is for {', '.join(own)}, but the first of the committee is for {', '.join(elements[0])}",
                where,
                "the members of a committee are trained for the same elements",
            )


def _symbols(model: Network | str | Path) -> Sequence[str]:
    symbols: Sequence[str] = (
        model.architecture.symbols if isinstance(model, Network) else read_document(model).get("symbols", ())
    )
    return symbols


def force_std(members: Sequence[NDArray[np.int64]]) -> NDArray[np.float64]:
    """The standard deviation of each atom's force over a committee, σ_i = sqrt((1/K) Σ_k |F_i^k − F_i|²).

    F_i = (1/K) Σ_k F_i^k is the mean force. Atom by atom and in the order of the members, so that an atom's bits do
    not depend on who holds it.

    Args:
        members: K arrays (n, 3) of quanta, complete sums: F_i^k / K, as `Committee.take` gives them and ghosts' sent
            home.

    Returns:
        (n,) eV/Å.
    """
    count, square = len(members), np.zeros(len(members[0]))
    for first in range(0, len(square), CHUNK):
        rows = slice(first, first + CHUNK)
        mean = sum(force[rows] for force in members[1:]) + members[0][rows]
        for force in members:
            deviation = count * force[rows].astype(np.float64) - mean
            square[rows] += deviation[:, 0] ** 2 + deviation[:, 1] ** 2 + deviation[:, 2] ** 2
    std: NDArray[np.float64] = np.sqrt(square / count) / FORCE_SCALE
    return std


def build(term: AllegroTerm, species: SpeciesTable) -> AllegroPotential | FusedPotential | Committee:
    """The potential of an input section for the species of a system: a model, or a committee of them."""
    options = (species.symbols, term.engine, term.precision, term.device)
    return choose(term.models[0], *options) if term.committee is None else Committee(term.committee, *options)
