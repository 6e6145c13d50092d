"""``committee = ["a-1.allegro", "a-2.allegro", …]``: the mean of several networks, and how far they disagree.

Forces are sums in fixed point, one conversion per edge: dividing a finished sum would round otherwise on another
decomposition. So each of the K networks is evaluated with its energies divided by K, and their sum is the mean.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from allegro_md.backends import backend_for
from allegro_md.config import AllegroTerm
from allegro_md.errors import InputError, PhysicsError
from allegro_md.evaluation import Evaluation, Needs
from allegro_md.exact import FORCE_SCALE
from allegro_md.kernels.blocks import LIMIT
from allegro_md.models.allegro.network import Network
from allegro_md.models.modelfile import read_document
from allegro_md.neighbors.list import NeighborList
from allegro_md.potentials.allegro import AllegroPotential, choose, described
from allegro_md.potentials.base import Potential
from allegro_md.potentials.parts import Parts
from allegro_md.potentials.sum import add_up, info_of_sum
from allegro_md.state import AtomState, DeviceArray, SpeciesTable, on_host


class Committee:
    """The mean of networks, all on the same engine.

    Attributes:
        info: of the mean.
        members: each gives its K-th part.
    """

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
        if len({member.info.engine for member in members}) > 1:
            reason = "as another member of the committee"
            for index, model in enumerate(models):
                if members[index].info.engine != "reference":
                    slower = AllegroPotential(model, symbols, precision, reason=reason, weight=weight)
                    members[index] = described(slower, model, symbols, weight)
        self.members: tuple[Potential, ...] = tuple(members)
        info = info_of_sum("committee", members)
        self.info = replace(
            info,
            provides=info.provides | {"member_force", "force_std"},
            bytes_per_atom=info.bytes_per_atom + 24.0 * len(members),
        )

    def __call__(self, state: AtomState, lists: NeighborList, needs: Needs) -> Evaluation:
        """Evaluates the local atoms; adds the forces to the state (see `base.Potential`)."""
        return self._mean(state, lists, needs, None)

    def in_parts(self, state: AtomState, lists: NeighborList, needs: Needs, parts: Parts) -> Evaluation:
        """Evaluates part by part, see `parts.InParts`."""
        return self._mean(state, lists, needs, parts)

    def _mean(self, state: AtomState, lists: NeighborList, needs: Needs, parts: Parts | None) -> Evaluation:
        limit = LIMIT / len(self.members) * FORCE_SCALE  # so that all of them stay within what one potential may add
        shape = (state.n_all, len(self.members), 3)
        kept = state.device_array(np.empty(shape, dtype=np.int64)) if "member_force" in needs else None

        def look(index: int, first: int, force: DeviceArray) -> None:
            """Checks, and keeps if asked, the forces of a member on atoms from `first` on: (n, 3) fixed-point units."""
            if not backend_for(state.device).limits.largest_length(force) <= limit:
                worst = first + int(np.argmax(np.abs(on_host(force).astype(np.float64)).max(axis=1)))
                atom = int(state.array_all("id")[worst])
                raise PhysicsError(f"{self.info.name}: the forces on atom {atom} are out of range", [atom])
            if kept is not None:
                kept[first : first + len(force), index] = force

        result = add_up(self.members, state, lists, needs, parts, look)
        if kept is not None:
            result.per_atom["member_force"] = kept
        return result


def check_members(models: Sequence[Network | str | Path]) -> None:
    """Checks that models can be a committee.

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


def build(term: AllegroTerm, species: SpeciesTable) -> Potential:
    """The potential of an input section for the species of a system: a model, or a committee of them."""
    options = (species.symbols, term.engine, term.precision, term.device)
    return choose(term.models[0], *options) if term.committee is None else Committee(term.committee, *options)
