"""Keys that all quantities share in ``[output] observe`` and on the command line of ``analyze``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from pydantic import Field, ValidationInfo, model_serializer

from allegro_md.config.fields import Every, Marker, Table, Whole, element, problem, show

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")

AXES = ("x", "y", "z")

MOST_GROUPS = 32
"""Of an atom the groups are the lower half of the bits of a number."""


class _Name(Marker):
    def parse(self, value: Any, info: ValidationInfo) -> str:
        if not isinstance(value, str) or (value and not _NAME.fullmatch(value)):
            raise problem(f"{show(value)} cannot be part of a file name", 'use letters, digits, "-" and "_"')
        return value


class _Symbols(Marker):
    def parse(self, value: Any, info: ValidationInfo | None = None) -> tuple[str, ...]:
        symbols = (value,) if isinstance(value, str) else value
        if not isinstance(symbols, (list, tuple)) or not symbols:
            raise problem(f"expected a list of elements, got {show(value)}", 'for example ["Li", "O"]')
        found = tuple(element(symbol) for symbol in symbols)
        if len(set(found)) < len(found):
            raise problem(f"an element is listed twice in {show(value)}", "list each once")
        return found


Bins = Annotated[int, Whole(1, 100_000)]
"""Number of bins of a histogram: its rows in a file."""

Symbols = Annotated[tuple[str, ...], _Symbols()]


@dataclass(frozen=True)
class GroupSetting:
    """Atoms of a group: those that fulfill everything that is given.

    Attributes:
        species: elements.
        ids: indices of atoms in the input, from 0.
        region: axis → lower and upper limit of the wrapped Cartesian coordinate, Å; the upper one is outside.
    """

    species: tuple[str, ...] = ()
    ids: tuple[int, ...] = ()
    region: tuple[tuple[str, float, float], ...] = ()


class _Groups(Marker):
    def parse(self, value: Any, info: ValidationInfo) -> dict[str, GroupSetting]:
        if not isinstance(value, dict) or not value:
            remedy = 'for example groups = { cations = { species = ["Li", "Na"] } }'
            raise problem(f"expected a table of groups, got {show(value)}", remedy)
        if len(value) > MOST_GROUPS:
            raise problem(f"{len(value)} groups", f"at most {MOST_GROUPS} are possible")
        for name in value:
            if not isinstance(name, str) or not _NAME.fullmatch(name) or "-" in name or "," in name:
                raise problem(f"{show(name)} is no name of a group", "use letters, digits and _", str(name))
        return {name: _group(name, table) for name, table in value.items()}


def _group(name: str, table: Any) -> GroupSetting:
    """Reads one group."""
    if not isinstance(table, dict) or not table:
        raise problem(f"expected a table, got {show(table)}", "its keys are species, ids, region", name)
    for key in table:
        if key not in ("species", "ids", "region"):
            raise problem("unknown key", "valid keys: species, ids, region", f"{name}.{key}")
    species = _Symbols().parse(table["species"]) if "species" in table else ()
    return GroupSetting(species, _ids(name, table.get("ids")), _region(name, table.get("region")))


def _ids(name: str, value: Any) -> tuple[int, ...]:
    if value is None:
        return ()
    if not isinstance(value, (list, tuple)) or not value:
        raise problem(f"expected a list of atom indices, got {show(value)}", "for example [0, 1, 2]", f"{name}.ids")
    ids = tuple(Whole(0).parse(i) for i in value)
    if len(set(ids)) < len(ids):
        raise problem("an index is listed twice", "list each once", f"{name}.ids")
    return ids


def _region(name: str, value: Any) -> tuple[tuple[str, float, float], ...]:
    if value is None:
        return ()
    where, example = f"{name}.region", "for example { z = [0.0, 12.5] }"
    if not isinstance(value, dict) or not value or not set(value) <= set(AXES):
        raise problem(f"expected limits along x, y or z, got {show(value)}", example, where)
    limits = []
    for axis, pair in value.items():
        numbers = isinstance(pair, (list, tuple)) and len(pair) == 2 and all(map(_is_coordinate, pair))
        if not numbers or not pair[0] < pair[1]:
            raise problem(f"expected a lower and an upper limit in Å, got {show(pair)}", example, f"{where}.{axis}")
        limits.append((axis, float(pair[0]), float(pair[1])))
    return tuple(limits)


def _is_coordinate(value: Any) -> bool:
    return type(value) is float or (type(value) is int and abs(value) < 2**63)


def _written(value: Any) -> Any:
    """A value as an input holds it: the inverse of what the markers of this package read."""
    if isinstance(value, GroupSetting):
        region = {axis: [low, high] for axis, low, high in value.region}
        keys = {"species": list(value.species), "ids": list(value.ids), "region": region}
        return {key: given for key, given in keys.items() if given}
    if isinstance(value, dict):
        return {key: _written(item) for key, item in value.items()}
    if isinstance(value, tuple):
        linked = all(isinstance(item, tuple) and all(isinstance(name, str) for name in item) for item in value)
        return ["-".join(item) for item in value] if linked else list(value)
    return value


class QuantityTable(Table):
    """Keys of every quantity; those of one quantity stand in a class derived from this beside it.

    Attributes:
        kind: of the quantity, a name in `config.output.OBSERVERS`.
        name: distinguishes results of one kind: the files are ``KIND-NAME.csv`` and so on, instead of ``KIND.csv``.
        every: steps between samples.
        after: no sample is taken before this step.
    """

    of_thermo: ClassVar[bool] = False
    """It is a quantity of global observables: of ``thermo.csv``, not of a trajectory."""

    only_in_run: ClassVar[str] = ""
    """Reason why nothing that is stored will do, if so."""

    kind: str
    every: Annotated[int, Whole(1)] = Field(examples=["10"])
    name: Annotated[str, _Name()] = ""
    after: Every = 0

    @model_serializer
    def _as_input(self) -> dict[str, Any]:
        """Keys with a value, so that a resolved input is an input again."""
        values = {key: getattr(self, key) for key in type(self).model_fields}
        return {key: _written(value) for key, value in values.items() if value not in (None, "", (), {})}

    @property
    def label(self) -> str:
        """KIND or KIND-NAME: the name of its files, and of the observer."""
        return f"{self.kind}-{self.name}" if self.name else self.kind


class GroupedTable(QuantityTable):
    """Keys of a quantity of groups of atoms.

    Attributes:
        species: elements, each of them a group, for example Li,O; default: all. Atoms of
            `groups` are of these, too.
        groups: table of groups of atoms, instead of one group per element, for example
            ``{ surface = { species = ["Li"], region = { z = [20.0, 24.0] } }, marked = { ids = [0, 17] } }``.
    """

    species: Symbols = ()
    groups: Annotated[dict[str, GroupSetting], _Groups()] = Field(default_factory=dict)
