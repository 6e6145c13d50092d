"""Potentials by the ``kind`` of their input table (`config.potential.POTENTIALS`).

Each builder takes the validated table and the species of the system.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

from allegro_md.config.potential import POTENTIALS
from allegro_md.potentials.base import Potential as Potential
from allegro_md.potentials.base import leaves as leaves
from allegro_md.potentials.sum import SumPotential
from allegro_md.state import SpeciesTable


def build_potential(terms: Sequence[Any], species: SpeciesTable) -> Potential:
    """Builds the potential of an input: its single term, or the sum of several.

    Args:
        terms: the validated ``[potential]`` tables.
        species: of the system.

    Raises:
        InputError: a term does not fit the system, or its files are wrong.
    """
    builders = [POTENTIALS.builder(term.kind) for term in terms]
    _use_one_thread()
    built: list[Potential] = [build(term, species) for build, term in zip(builders, terms, strict=True)]
    _use_one_thread()  # a calculator may have loaded it
    return built[0] if len(built) == 1 else SumPotential(built)


def _use_one_thread() -> None:
    """Makes torch, where a potential has loaded it, sum in one constant way: see kernels/tile.py."""
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)


def descriptions(potential: Potential) -> dict[str, str]:
    """The description of every model for the log, by the name of its file (its path, where names repeat)."""
    infos = [leaf.info for leaf in leaves(potential) if leaf.info.model is not None]
    paths = [info.model.path for info in infos if info.model is not None]
    names = [path.name for path in paths]
    return {
        str(path) if names.count(path.name) > 1 else path.name: info.description
        for path, info in zip(paths, infos, strict=True)
    }


def resolved(terms: Sequence[Any], potential: Potential) -> tuple[Any, ...]:
    """The tables a potential was built from, with the engine that each model runs on in place of "auto"."""
    parts = (potential,) if len(terms) == 1 else potential.members
    return tuple(
        term.model_copy(update={"engine": part.info.engine}) if part.info.engine else term
        for term, part in zip(terms, parts, strict=True)
    )


@runtime_checkable
class KeepsTables(Protocol):
    """A potential that holds what only the checks at the start need."""

    def release_tables(self, keep: bool) -> None:
        """Lets go of it, once it has been found right; `keep`: for the next time, by one rank."""


def release_tables(potential: Potential, keep: bool) -> None:
    """Lets go of all that only a start needs; `keep`: what was computed from model files is kept for the next time."""
    for part in leaves(potential):
        if isinstance(part, KeepsTables):
            part.release_tables(keep)
