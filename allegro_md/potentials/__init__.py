"""Potentials by the ``kind`` of their input table.

Each builder takes the validated table and the species of the system.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from allegro_md.config import AllegroTerm
from allegro_md.potentials import ase, committee, eam, lj, zbl
from allegro_md.potentials.base import ForceResult as ForceResult
from allegro_md.potentials.base import Potential as Potential
from allegro_md.potentials.committee import Committee
from allegro_md.potentials.fused import FusedPotential
from allegro_md.potentials.sum import SumPotential
from allegro_md.state import SpeciesTable

POTENTIALS: dict[str, Callable[[Any, SpeciesTable], Potential]] = {
    "allegro": committee.build,
    "lj": lj.build,
    "eam": eam.build,
    "zbl": zbl.build,
    "ase": ase.build,
}


def build_potential(terms: Sequence[Any], species: SpeciesTable) -> Potential:
    """The potential of an input: its single term, or the sum of several.

    Args:
        terms: the validated ``[potential]`` tables.
        species: of the system.

    Raises:
        InputError: a term does not fit the system, or its files are wrong.
    """
    built = [POTENTIALS[term.kind](term, species) for term in terms]
    return built[0] if len(built) == 1 else SumPotential(built)


def parts_of(potential: Potential) -> tuple[Any, ...]:
    """The potentials of the single terms."""
    return potential.terms if isinstance(potential, SumPotential) else (potential,)


def committee_of(potential: Potential) -> Committee | None:
    """The committee among the terms; there is at most one."""
    return next((part for part in parts_of(potential) if isinstance(part, Committee)), None)


def models_of(terms: Sequence[Any], potential: Potential) -> Iterator[tuple[AllegroTerm, Path, Any]]:
    """Every trained model, members of a committee one by one: its term, its file and the potential it became."""
    for term, part in zip(terms, parts_of(potential), strict=True):
        if isinstance(term, AllegroTerm):
            members = part.members if isinstance(part, Committee) else (part,)
            yield from ((term, model, member) for model, member in zip(term.models, members, strict=True))


def descriptions(terms: Sequence[Any], potential: Potential) -> dict[str, str]:
    """What there is to say of the engine of each model, by the name of its file (its path, where names repeat)."""
    models = list(models_of(terms, potential))
    names = [model.name for _, model, _ in models]
    return {
        str(model) if names.count(model.name) > 1 else model.name: part.description for _, model, part in models
    }


def release_tables(potential: Potential, keep: bool) -> None:
    """Lets go of what only a start needs; `keep`: what was computed from model files is kept beside them."""
    for part in parts_of(potential):
        for network in part.members if isinstance(part, Committee) else (part,):
            if isinstance(network, FusedPotential):
                network.release_tables(keep)


def resolved(terms: Sequence[Any], potential: Potential) -> tuple[Any, ...]:
    """The terms a potential was built from, with the engine that each model runs on in place of "auto"."""
    return tuple(
        term.model_copy(update={"engine": part.engine}) if isinstance(term, AllegroTerm) else term
        for term, part in zip(terms, parts_of(potential), strict=True)
    )
