"""Groups of atoms: which atoms belong to one, and what ``[dynamics]`` does with it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BeforeValidator, Field, ValidationInfo, model_serializer, model_validator

from allegro_md.config.expression import Expression
from allegro_md.config.fields import (
    Flag,
    Marker,
    Table,
    Whole,
    element,
    nearest,
    problem,
    quoted,
    show,
    signed_quantity,
)
from allegro_md.errors import InputError

AXES = ("x", "y", "z")

MOST_GROUPS = 62
"""Groups of an input: bits of an integer that are free beside its sign and the bit of atoms that a file fixes."""

GROUP_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.]{0,63}")
"""Without "-" and ",", which join names."""


class _Symbols(Marker):
    def parse(self, value: Any, info: ValidationInfo | None = None) -> tuple[str, ...]:
        symbols = (value,) if isinstance(value, str) else value
        if not isinstance(symbols, (list, tuple)) or not symbols:
            raise problem(f"expected a list of elements, got {show(value)}", 'for example ["Li", "O"]')
        found = tuple(element(symbol) for symbol in symbols)
        if len(set(found)) < len(found):
            raise problem(f"an element is listed twice in {show(value)}", "list each once")
        return found


class _Ids(Marker):
    def parse(self, value: Any, info: ValidationInfo | None = None) -> tuple[int, ...]:
        if not isinstance(value, (list, tuple)) or not value:
            raise problem(f"expected a list of atom indices, got {show(value)}", "for example [0, 1, 2]")
        ids = tuple(Whole(0).parse(i) for i in value)
        if len(set(ids)) < len(ids):
            raise problem("an index is listed twice", "list each once")
        return ids


class _Region(Marker):
    def parse(self, value: Any, info: ValidationInfo | None = None) -> tuple[tuple[str, float, float], ...]:
        example = "for example { z = [0.0, 12.5] }"
        if not isinstance(value, dict) or not value or not set(value) <= set(AXES):
            raise problem(f"expected limits along x, y or z, got {show(value)}", example)
        limits = []
        for axis, pair in value.items():
            numbers = isinstance(pair, (list, tuple)) and len(pair) == 2 and all(map(_is_coordinate, pair))
            if not numbers or not pair[0] < pair[1]:
                raise problem(f"expected a lower and an upper limit in Å, got {show(pair)}", example, axis)
            limits.append((axis, float(pair[0]), float(pair[1])))
        return tuple(limits)


def _is_coordinate(value: Any) -> bool:
    return type(value) is float or (type(value) is int and abs(value) < 2**63)


Symbols = Annotated[tuple[str, ...], _Symbols()]
Ids = Annotated[tuple[int, ...], _Ids()]
Region = Annotated[tuple[tuple[str, float, float], ...], _Region()]


class GroupSelection(Table):
    """Atoms that fulfill everything that is given.

    Attributes:
        species: elements.
        ids: indices of atoms in the input, from 0.
        region: axis → lower and upper limit of the wrapped Cartesian coordinate, Å; the upper one is outside.
    """

    species: Symbols = ()
    ids: Ids = ()
    region: Region = ()

    @model_serializer
    def as_input(self) -> dict[str, Any]:
        """The keys that are given, as an input holds them."""
        region = {axis: [low, high] for axis, low, high in self.region}
        values = {key: getattr(self, key) for key in type(self).model_fields} | {"region": region}
        plain = {key: list(value) if isinstance(value, tuple) else value for key, value in values.items()}
        return {key: value for key, value in plain.items() if value}

    def require_present(self, name: str, symbols: Iterable[str], n_total: int, where: str) -> None:
        """Refuses elements and indices that the system does not have.

        Args:
            name: of the group, for messages.
            symbols: elements of the system.
            n_total: its atoms.
            where: key of the input, for messages.

        Raises:
            InputError: one is not there.
        """
        present = tuple(dict.fromkeys(symbols))
        for symbol in self.species:
            if symbol not in present:
                what = f"there is no {symbol} in the system (group '{name}')"
                raise InputError(what, where, f"its elements are {quoted(present)}")
        if self.ids and max(self.ids) >= n_total:
            what = f"group '{name}' has the index {max(self.ids)}, but there are {n_total} atoms"
            raise InputError(what, where, f"indices are 0 to {n_total - 1}")

    def members(
        self, ids: NDArray[np.int64], species: NDArray[np.integer[Any]], symbols: NDArray[np.str_],
        wrapped: NDArray[np.float64],
    ) -> NDArray[np.bool_]:
        """(n,) an atom fulfills everything that is given.

        Args:
            ids: (n,) int64.
            species: (n,) index into the species table.
            symbols: (n_species,) elements of the species table.
            wrapped: (n, 3) float64, Å, positions in the cell.
        """
        member = np.ones(len(ids), np.bool_)
        if self.species:
            member &= np.isin(symbols, self.species)[species]
        if self.ids:
            member &= np.isin(ids, self.ids)
        for axis, low, high in self.region:
            along = wrapped[:, AXES.index(axis)]
            member &= (along >= low) & (along < high)
        return member


class _GroupName(Marker):
    def parse(self, value: Any, info: ValidationInfo) -> str:
        if not isinstance(value, str) or not GROUP_NAME.fullmatch(value):
            raise problem(f"{show(value)} is no name of a group", "use letters, digits and _")
        return value


class _Condition(Marker):
    def parse(self, value: Any, info: ValidationInfo) -> str:
        if not isinstance(value, str) or not value.strip():
            raise problem(f"expected a condition, got {show(value)}", "for example \"z < 10 and element == 'Cu'\"")
        Expression(value)
        return value


class GroupConfig(GroupSelection):
    """A group of atoms: those that fulfill everything that is given, at the start of the run.

    Attributes:
        name: by which ``[dynamics]`` refers to it.
        all: every atom belongs to it.
        expression: a condition on x, y, z (Å), fx, fy, fz (fractional), id, element and mass (amu), for example
            ``z < 10 and element == 'Cu'``.
    """

    name: Annotated[str, _GroupName()] = Field(examples=['"substrate"'])
    all: Flag = False
    expression: Annotated[str, _Condition()] = ""

    @model_validator(mode="after")
    def _says_which(self) -> GroupConfig:
        given = [key for key in ("species", "ids", "region", "expression") if getattr(self, key)]
        if self.all and given:
            raise problem(f"all atoms, and {given[0]}", "remove one of them", "all")
        if not self.all and not given:
            raise problem(
                "does not say which atoms belong to it", 'give species, ids, region or expression, or all = true'
            )
        return self


def _as_groups(data: Any) -> Any:
    """Refuses what is no list of groups, too many of them, and two of one name."""
    if not isinstance(data, (list, tuple)):
        raise problem(f"expected a list of tables, got {show(data)}", "write [[group]] above each of them")
    if len(data) > MOST_GROUPS:
        raise problem(f"{len(data)} groups", f"at most {MOST_GROUPS} are possible")
    names = [str(table["name"]) for table in data if isinstance(table, dict) and "name" in table]
    for name in names:
        if names.count(name) > 1:
            raise problem(f"{names.count(name)} groups are named '{name}'", "give each a name of its own")
    return data


Groups = Annotated[tuple[GroupConfig, ...], BeforeValidator(_as_groups)]


class _Names(Marker):
    def parse(self, value: Any, info: ValidationInfo) -> tuple[str, ...]:
        names = (value,) if isinstance(value, str) else value
        if not isinstance(names, (list, tuple)) or not all(isinstance(name, str) for name in names):
            raise problem(f"expected names of groups, got {show(value)}", 'for example ["substrate"]')
        if len(set(names)) < len(names):
            raise problem("a group is listed twice", "list each once")
        return tuple(names)


GroupNames = Annotated[tuple[str, ...], _Names()]
GroupName = Annotated[str, _GroupName()]


@dataclass(frozen=True)
class Vector(Marker):
    """Three components in internal units, given as numbers or texts with a unit, none larger than a limit."""

    dimension: str
    largest: float

    def parse(self, value: Any, info: ValidationInfo) -> tuple[float, float, float]:
        if not isinstance(value, (list, tuple)) or len(value) != 3:
            raise problem(f"expected three components, got {show(value)}", "for example [0.0, 0.0, 0.01]")
        x, y, z = (signed_quantity(component, self.dimension, self.largest) for component in value)
        return x, y, z


class ApplyConfig(Table):
    """An external action on a group: one of force, acceleration and velocity.

    Attributes:
        group: name of the group.
        force: on each atom, eV/Å.
        acceleration: of each atom, Å/fs²: a force in proportion to its mass.
        velocity: of each atom, Å/fs: it moves with this constant velocity, whatever forces act on it.
    """

    group: GroupName = Field(examples=['"tip"'])
    force: Annotated[tuple[float, float, float], Vector("force", 1e4)] | None = None
    acceleration: Annotated[tuple[float, float, float], Vector("acceleration", 1.0)] | None = None
    velocity: Annotated[tuple[float, float, float], Vector("velocity", 10.0)] | None = None

    @model_validator(mode="after")
    def _one_of_three(self) -> ApplyConfig:
        given = [key for key in ("force", "acceleration", "velocity") if getattr(self, key) is not None]
        if len(given) != 1:
            what = f"{' and '.join(given)} are given" if given else "says not what acts on the group"
            raise problem(what, "give one of force, acceleration and velocity")
        return self


def require_known(names: Sequence[tuple[str, str]], groups: Sequence[GroupConfig]) -> None:
    """Refuses names without a ``[[group]]``; `names` come with their keys in the input.

    Raises:
        PydanticCustomError: names the first one, and the group most like it.
    """
    known = [group.name for group in groups]
    for key, name in names:
        if name not in known:
            near = nearest(name, known)
            remedy = f"did you mean '{near}'?" if near else (
                f"groups: {quoted(known)}" if known else f'add a table [[group]] with name = "{name}"'
            )
            raise problem(f"there is no group '{name}'", remedy, key)
