"""Keys that all quantities share in ``[output] observe`` and on the command line of ``analyze``."""

from __future__ import annotations

import re
from typing import Annotated, Any, ClassVar

from pydantic import BeforeValidator, Field, ValidationInfo, model_serializer

from allegro_md.config.fields import Every, Marker, Table, Whole, problem, show
from allegro_md.config.groups import GROUP_NAME, GroupSelection, Symbols

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")

MOST_GROUPS = 32
"""Of an atom the groups are the lower half of the bits of a number."""


class _Name(Marker):
    def parse(self, value: Any, info: ValidationInfo) -> str:
        if not isinstance(value, str) or (value and not _NAME.fullmatch(value)):
            raise problem(f"{show(value)} cannot be part of a file name", 'use letters, digits, "-" and "_"')
        return value


Bins = Annotated[int, Whole(1, 100_000)]
"""Number of bins of a histogram: its rows in a file."""

def _named_groups(value: Any) -> Any:
    """Refuses what is no table of groups, too many of them, and names that could not be told apart in a column."""
    if not isinstance(value, dict) or not value:
        remedy = 'for example groups = { cations = { species = ["Li", "Na"] } }'
        raise problem(f"expected a table of groups, got {show(value)}", remedy)
    if len(value) > MOST_GROUPS:
        raise problem(f"{len(value)} groups", f"at most {MOST_GROUPS} are possible")
    for name, group in value.items():
        if not isinstance(name, str) or not GROUP_NAME.fullmatch(name):
            raise problem(f"{show(name)} is no name of a group", "use letters, digits and _", str(name))
        if group == {}:
            raise problem("expected a table, got {}", "its keys are species, ids, region", name)
    return value


def _written(value: Any) -> Any:
    """A value as an input holds it: the inverse of what the markers of this package read."""
    if isinstance(value, GroupSelection):
        return value.as_input()
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
    groups: Annotated[dict[str, GroupSelection], BeforeValidator(_named_groups)] = Field(default_factory=dict)
