"""Damage of every kind, from a seed: to texts, to bytes, to JSON documents."""

from __future__ import annotations

import copy
import random
import re
from typing import Any

EXTREMES = (
    "0", "-0.0", "-1", "1e308", "-1e308", "1e-308", "inf", "-inf", "nan", "9223372036854775807", "9223372036854775808",
    "1" + "0" * 400, "0x" + "f" * 40, "1_000", "2147483648", "0.1", "3.5", "1e3", "1979-05-27", "07:32:00",
)  # fmt: skip
OTHER_TYPES = (
    "true", "false", '""', '"text"', "[]", "[1]", "[1, 2, 3]", "[[]]", "{}", "{ a = 1 }", '"2 fs"', '"1e9 km"',
    "'nan K'", "3.0 # C",
    '"\\u0000"', '"é"', "[true, false, true]", '["Ar", 1]', '"../.."', '"/dev/zero"', '"/proc/self/mem"', '"."', "'~'",
)  # fmt: skip
STRAY = tuple("[]{}\"'=.,#\n\r\t\0é\ufeff\U0001f600") + ('"""', "[[")
JSON_VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2, 7, 1.5, -0.0, 1e308, -1e308, float("nan"), float("inf"),
    2**31, 2**63, 2**64, 10**30,
    "", "text", "Xx", "Ar-Ar", [], [0], {}, {"a": 1}, [[[]]], "1", "NaN", [None], "\0",
)  # fmt: skip


def text(source: str, rng: random.Random) -> str:
    """A damaged text: one to three changes."""
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        source = rng.choice(TEXT_CHANGES)(source, rng)
    return source


def _value(source: str, rng: random.Random) -> str:
    """Another value for a key."""
    return _replace(source, r"(?<==)[^\n#]+", " " + rng.choice(EXTREMES + OTHER_TYPES), rng)


def _number(source: str, rng: random.Random) -> str:
    return _replace(source, r"(?<![\w.])[-+]?\d+(\.\d+)?([eE][-+]?\d+)?(?![\w.])", rng.choice(EXTREMES), rng)


def _word(source: str, rng: random.Random) -> str:
    """Another word of the same text in the place of one."""
    words = re.findall(r"[A-Za-z][\w-]*", source)
    return _replace(source, r"[A-Za-z][\w-]*", rng.choice(words), rng) if words else source


def _letter(source: str, rng: random.Random) -> str:
    """A typing error."""
    k = rng.randrange(len(source) + 1)
    return source[:k] + rng.choice(("", rng.choice("abcdez0_-. ="), rng.choice(STRAY))) + source[k + rng.randrange(2) :]


def _line(source: str, rng: random.Random) -> str:
    """A line lost, doubled or moved."""
    lines = source.splitlines(keepends=True) or [""]
    taken = lines.pop(rng.randrange(len(lines)))
    for _ in range(rng.randrange(3)):
        lines.insert(rng.randrange(len(lines) + 1), taken)
    return "".join(lines)


def _key(source: str, rng: random.Random) -> str:
    """A key in another case, with a letter less, or twice as long."""
    match = _any(source, r"(?m)^\s*([\w.]+)(?=\s*=)|(?<=[{,] )([\w-]+)(?= =)", rng)
    if match is None:
        return source
    key = match[0]
    new = rng.choice((key.upper(), key[:-1], key * 2, key + ".x", f'"{key}"', key[::-1], ""))
    return source[: match.start()] + new + source[match.end() :]


def _span(source: str, rng: random.Random) -> str:
    """A piece lost, or copied elsewhere."""
    start = rng.randrange(len(source) + 1)
    stop = min(len(source), start + rng.randrange(40))
    if rng.random() < 0.5:
        return source[:start] + source[stop:]
    k = rng.randrange(len(source) + 1)
    return source[:k] + source[start:stop] + source[k:]


def _end(source: str, rng: random.Random) -> str:
    return source[: rng.randrange(len(source) + 1)]


TEXT_CHANGES = (_value, _value, _value, _number, _number, _word, _letter, _letter, _line, _key, _span, _end)


def _any(source: str, pattern: str, rng: random.Random) -> re.Match[str] | None:
    found = list(re.finditer(pattern, source))
    return rng.choice(found) if found else None


def _replace(source: str, pattern: str, new: str, rng: random.Random) -> str:
    match = _any(source, pattern, rng)
    return source if match is None else source[: match.start()] + new + source[match.end() :]


def raw(content: bytes, rng: random.Random, first: int = 0, last: int | None = None) -> bytes:
    """Damaged bytes; the damage begins within [first, last)."""
    data = bytearray(content)
    for _ in range(rng.choice((1, 1, 1, 2, 5))):
        k = rng.randrange(first, max(first + 1, min(last or len(data), len(data))))
        n = rng.choice((1, 1, 2, 8, 64, 1000))
        match rng.randrange(7):
            case 0:
                del data[k:]
            case 1:
                del data[k : k + n]
            case 2:
                data[k:k] = bytes(rng.randrange(256) for _ in range(n))
            case 3:
                data[k : k + n] = bytes([rng.choice((0, 255))]) * len(data[k : k + n])
            case 4:
                other = rng.randrange(len(data) + 1)
                data[k : k + n] = data[other : other + n]
            case _:
                if k < len(data):
                    data[k] ^= 1 << rng.randrange(8)
    return bytes(data)


def document(source: Any, rng: random.Random) -> Any:
    """A damaged copy of a JSON document: one to three entries lost, doubled or of another value."""
    changed = copy.deepcopy(source)
    for _ in range(rng.choice((1, 1, 2, 3))):
        table = changed
        while True:
            keys: list[Any] = list(table) if isinstance(table, dict) else list(range(len(table)))
            if not keys:
                break
            key = rng.choice(keys)
            if isinstance(table[key], (dict, list)) and table[key] and rng.random() < 0.75:
                table = table[key]
                continue
            _change(table, key, rng)
            break
    return changed


def _change(table: Any, key: Any, rng: random.Random) -> None:
    value = table[key]
    match rng.randrange(6):
        case 0:
            del table[key]
        case 1 if isinstance(table, dict):
            table[str(key) + rng.choice(("x", "_", ""))] = table.pop(key)
        case 1:
            table.insert(key, copy.deepcopy(value))
        case 2 if isinstance(value, (int, float)) and not isinstance(value, bool):
            table[key] = rng.choice((value + 1, -value, value * 1.001, value * 10, value * 1e20, str(value)))
        case 3 if isinstance(value, list) and value:
            table[key] = rng.choice((value[:-1], value + value[-1:], value[::-1], value * 3))
        case _:
            table[key] = rng.choice(JSON_VALUES)
