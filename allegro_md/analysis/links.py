"""Pairs and triplets of groups in the input, such as "Li-O" and "O-P-O", and their cutoffs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, ValidationInfo

from allegro_md.analysis.groups import Groups
from allegro_md.analysis.table import GroupedTable
from allegro_md.config.fields import Length, Marker, Quantity, problem, show
from allegro_md.errors import InputError


@dataclass(frozen=True)
class Links(Marker):
    """A list of so many groups each, joined by hyphens; a `link` is called by that word in messages."""

    length: int
    link: str
    example: str

    def parse(self, value: Any, info: ValidationInfo) -> tuple[tuple[str, ...], ...]:
        value = [value] if isinstance(value, str) else value
        if not isinstance(value, (list, tuple)) or not value:
            raise problem(f"expected a list of {self.link}s, got {show(value)}", f"for example {self.example}")
        found = [split(item, self.length, self.link, self.example) for item in value]
        if len(set(found)) < len(found):
            raise problem(f"a {self.link} is listed twice in {show(value)}", "list each once")
        return tuple(found)


def split(item: Any, length: int, link: str, example: str) -> tuple[str, ...]:
    """The names in "A-B" or "A-B-C"; arguments as in `Links`."""
    parts = tuple(item.split("-")) if isinstance(item, str) else ()
    if len(parts) != length or not all(parts):
        raise problem(f"{show(item)} is no {link} of elements or groups", f"write for example {example}")
    return parts


Pairs = Annotated[tuple[tuple[str, str], ...], Links(2, "pair", '["Li-O", "P-O"]')]
Triplets = Annotated[tuple[tuple[str, str, str], ...], Links(3, "triplet", '["O-P-O", "P-O-Li"]')]


class _Cutoffs(Marker):
    def parse(self, value: Any, info: ValidationInfo) -> dict[str, float]:
        if not isinstance(value, dict) or not value:
            raise problem(f"expected a table of pairs, got {show(value)}", 'for example { "P-O" = 2.0 }')
        found: dict[str, float] = {}
        for key, length in value.items():
            a, b = split(key, 2, "pair", '"P-O"')
            if f"{b}-{a}" in found:
                raise problem(f'the cutoff of "{a}-{b}" is given twice', "a bond has no direction: give it once", key)
            found[key] = Quantity("length").parse(length, info)
        return found


class BondedTable(GroupedTable):
    """Keys of a quantity of bonds, which are pairs closer than a cutoff.

    Attributes:
        cutoff: distance within which two atoms are bonded, Å, of all pairs that `cutoffs` does not name; without it
            only pairs that `cutoffs` names have bonds.
        cutoffs: table of cutoffs of pairs of elements or groups, Å, for example { P-O = 2.0 }; P-O and O-P are the
            same.
    """

    cutoff: Length | None = Field(default=None, examples=["3.0"])
    cutoffs: Annotated[dict[str, float], _Cutoffs()] = Field(default_factory=dict)


class Cutoffs:
    """Cutoffs between groups."""

    def __init__(self, table: BondedTable, groups: Groups, where: str) -> None:
        """Cutoffs of a table.

        Raises:
            InputError: none are given, or one is of a group that does not exist.
        """
        if table.cutoff is None and not table.cutoffs:
            raise InputError("no cutoff is given", where, 'write cutoff = 3.0, or cutoffs = { "P-O" = 2.0 }, in Å')
        self._default = table.cutoff
        self._of = {tuple(sorted(key.split("-"))): length for key, length in table.cutoffs.items()}
        require_groups([tuple(key.split("-")) for key in table.cutoffs], groups, where)
        self._where = where

    def given(self, *bonds: tuple[str, str]) -> bool:
        """Tells if all bonds have a cutoff."""
        return self._default is not None or all(tuple(sorted(bond)) in self._of for bond in bonds)

    def between(self, bonds: Sequence[tuple[str, str]]) -> NDArray[np.float64]:
        """(n,) float64, Å, cutoff of each bond.

        Raises:
            InputError: one has none.
        """
        for a, b in bonds:
            if not self.given((a, b)):
                what = f"there is no cutoff of {a}-{b}"
                raise InputError(what, self._where, f'write cutoffs = {{ "{a}-{b}" = 3.0 }}, or cutoff for all pairs')
        return np.array([self._of.get(tuple(sorted(bond)), self._default) for bond in bonds], dtype=np.float64)


def require_groups(links: Sequence[tuple[str, ...]], groups: Groups, where: str) -> None:
    """Refuses names that are no groups.

    Raises:
        InputError: there is such a name.
    """
    for name in dict.fromkeys(name for link in links for name in link):
        if name not in groups.names:
            raise InputError(f"there is no group or element '{name}'", where, f"there are {', '.join(groups.names)}")


def numbers(links: Sequence[tuple[str, ...]], groups: Groups, most: int, where: str) -> NDArray[np.int64]:
    """(n, length) int64, numbers of the groups of each link.

    Raises:
        InputError: there is no such group, or there are more than `most` links.
    """
    require_groups(links, groups, where)
    if len(links) > most:
        kind = "pairs" if len(links[0]) == 2 else "triplets"
        raise InputError(f"{len(links)} {kind}", where, f"choose at most {most} with '{kind}'")
    return np.array([[groups.names.index(name) for name in link] for link in links], dtype=np.int64)


def marked(bits: NDArray[np.uint64], of: NDArray[np.int64]) -> NDArray[np.uint64]:
    """Marks which links an atom can be in, at one place of them.

    Args:
        bits: (n,) uint64, bit g: the atom is in group g.
        of: (links,) int64, the group at that place of each link.

    Returns:
        (n,) uint64, bit k: the atom may be there in link k.
    """
    found = np.zeros(len(bits), np.uint64)
    for k, group in enumerate(of.tolist()):
        found |= ((bits >> np.uint64(group)) & np.uint64(1)) << np.uint64(k)
    return found


def default_pairs(names: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    """All pairs of groups, each once."""
    return tuple((a, b) for k, a in enumerate(names) for b in names[k:])
