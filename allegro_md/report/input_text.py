"""The resolved input as TOML."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any


def as_toml(tables: Mapping[str, Any]) -> str:
    """The text of an input file with these tables; entries without a value are left out."""
    return "\n".join(_lines(tables, "")).strip() + "\n"


def _lines(table: Mapping[str, Any], name: str) -> Iterator[str]:
    """The lines of a table: its own keys first, then the tables in it."""
    inner = {key: value for key, value in table.items() if _is_table(value) or _is_list_of_tables(value)}
    plain = {key: value for key, value in table.items() if key not in inner and value is not None}
    if name and (plain or not inner):
        yield f"\n[{name}]"
    yield from (f"{_key(key)} = {_value(value)}" for key, value in plain.items())
    for key, value in inner.items():
        path = f"{name}.{_key(key)}" if name else _key(key)
        if _is_table(value):
            yield from _lines(value, path)
            continue
        for entry in value:
            yield f"\n[[{path}]]"
            yield from (f"{_key(k)} = {_value(v)}" for k, v in entry.items() if v is not None)


def _is_table(value: Any) -> bool:
    return isinstance(value, Mapping)


def _is_list_of_tables(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(entry, Mapping) for entry in value)


def _key(key: str) -> str:
    bare = key.isascii() and key.replace("_", "").replace("-", "").isalnum()
    return key if bare else json.dumps(key, ensure_ascii=False)


def _value(value: Any) -> str:
    if isinstance(value, Mapping):
        parts = ", ".join(f"{_key(key)} = {_value(inner)}" for key, inner in value.items() if inner is not None)
        return f"{{ {parts} }}" if parts else "{}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_value, value)) + "]"
    return json.dumps(value, ensure_ascii=False)
