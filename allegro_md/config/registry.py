"""Choices of the user by name: a registry line says where the table of a choice is, and who builds it.

A new ensemble, kind of potential or observer is one file, with its table and its builder, and one line in a registry.
Entries are names of modules, loaded when they are chosen: an input without them is read without them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from pydantic import ValidationInfo

from allegro_md.config.fields import Marker, Table, choose, nearest, problem, quoted, show


@dataclass(frozen=True)
class Entry:
    """One choice.

    Attributes:
        config: "module:class" of its `Table`.
        build: "module:function" that makes it of the validated table and what its registry hands over.
    """

    config: str
    build: str


def load(path: str) -> Any:
    """The object that a "module:attribute" names."""
    module, _, attribute = path.partition(":")
    return getattr(import_module(module), attribute)


class Registry(Mapping[str, Entry]):
    """The choices of one table of the input, by the value of one of its keys.

    Attributes:
        key: of the input, whose value is the choice ("ensemble", "kind").
        unbuilt: values of the contract that are not built yet, and the reason or nothing.
    """

    def __init__(
        self, key: str, entries: dict[str, Entry], unbuilt: tuple[str, ...] | Mapping[str, str] = ()
    ) -> None:
        self.key = key
        self.unbuilt = unbuilt if isinstance(unbuilt, Mapping) else dict.fromkeys(unbuilt, "")
        self._entries = entries

    def __getitem__(self, name: str) -> Entry:
        return self._entries[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def register(self, name: str, entry: Entry) -> None:
        """Adds a choice, for packages beside this one.

        Raises:
            ValueError: the name is taken.
        """
        if name in self._entries:
            raise ValueError(f"{self.key} = \"{name}\" is registered already")
        self._entries[name] = entry

    def unregister(self, name: str) -> None:
        """Removes a choice that `register` added."""
        del self._entries[name]

    def table(self, name: str) -> type[Table]:
        """The class of the table of a choice."""
        found: type[Table] = load(self._entries[name].config)
        return found

    def builder(self, name: str) -> Callable[..., Any]:
        """The function that builds a choice."""
        found: Callable[..., Any] = load(self._entries[name].build)
        return found

    def owners(self, key: str) -> list[str]:
        """The choices whose table has a key."""
        return [name for name in self if key in self.table(name).model_fields]


@dataclass(frozen=True)
class Chosen(Marker):
    """A table that a registry chooses by one of its keys.

    Attributes:
        registry: of the choices.
        example: value of the key for messages.
        hints: key → what to add to the message where this key belongs to another choice.
    """

    registry: Registry
    example: str
    hints: tuple[tuple[str, str], ...] = ()

    def parse(self, value: Any, info: ValidationInfo) -> Table:
        """Reads the table by the class of the choice.

        Raises:
            PydanticCustomError: no choice is named, there is none of that name, or a key belongs to another one.
        """
        if isinstance(value, Table):
            return value
        if not isinstance(value, dict):
            remedy = f'it begins with {self.registry.key} = "{self.example}"'
            raise problem(f"expected a table, got {show(value)}", remedy)
        name = self._name(value)
        table = self.registry.table(name)
        for key in value:
            if key not in table.model_fields and (owners := self.registry.owners(key)):
                hint = dict(self.hints).get(key, "")
                remedy = f"remove it (it belongs to {quoted(owners)}{hint})"
                raise problem(f'does not apply to {self.registry.key} = "{name}"', remedy, key)
        return table.model_validate(value, context=info.context)

    def _name(self, value: dict[str, Any]) -> str:
        key = self.registry.key
        if key not in value:
            if near := nearest(key, value):
                raise problem("unknown key", f"did you mean '{key}'?", near)
            raise problem("required key is missing", f'for example {key} = "{self.example}"', key)
        return choose(value[key], self.registry, self.registry.unbuilt, key)
