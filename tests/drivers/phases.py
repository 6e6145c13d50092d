"""Reads kernels of GPUs for phases and exchanges that not all threads of a block would meet.

On a GPU these hang or mix up lanes; the loops of a CPU cannot show it. A phase (FOR_THREADS, FOR_GROUPS, FOR_LANES), and
what crosses lanes or threads, may stand in the kernel itself, in FOR_GROUPS, and in loops that all threads make alike:
while `any(…)`, or to a bound in capital letters, and under `if constexpr`. A kernel has no return.
"""

from __future__ import annotations

import re
from typing import NamedTuple

COLLECTIVE = re.compile(r"\b(FOR_THREADS|FOR_GROUPS|FOR_LANES|sum_of|flags_of|any|add_all|raise_all)\(|\breturn\b")
KERNEL = re.compile(r"KERNEL\(\d+,[^\n]*?\)\s+(\w+)\(")
EVEN_LOOP = re.compile(r"for\s*\(.*(\bany\(|<=? *[A-Z][A-Z0-9_]*( *\* *[A-Z0-9_]+)*;)")


class Fault(NamedTuple):
    """What is wrong in a source: the line, the kernel, the word, and what it stands under."""

    line: int
    kernel: str
    word: str
    under: str


def faults(source: str) -> list[Fault]:
    """Finds what not all threads would meet in the kernels of a source."""
    text = re.sub(r"//[^\n]*", "", source)
    return [fault for head in KERNEL.finditer(text) for fault in _in_kernel(text, head.group(1), head.end())]


def _in_kernel(text: str, kernel: str, after: int) -> list[Fault]:
    """Faults of one kernel, whose parameters begin at a place of the text."""
    found, place = [], text.index("{", after)
    heads: list[str] = []
    while True:
        if text[place] == "{":
            heads.append(_head(text, place))
        elif text[place] == "}":
            heads.pop()
            if not heads:
                return found
        elif match := COLLECTIVE.match(text, place):
            word = match.group().rstrip("(")
            statement = text[max(text.rfind(mark, 0, place) for mark in ";{}") + 1 : place]
            even = ("FOR_GROUPS", "constexpr")
            around = [head for head in heads[1:] if not (head.startswith(even) or EVEN_LOOP.match(head))]
            inline = re.search(r"\b(if|else|for|while)\b|\?", statement)
            in_head = bool(re.search(r"\bfor\s*\([^)]*$", text[max(0, place - 60) : place]))
            if word == "return" or (word != "any" and (around or (inline and not in_head))):
                found.append(Fault(text.count("\n", 0, place) + 1, kernel, word, "; ".join(around) or statement.strip()))
            place += len(word) - 1
        place += 1


def _head(text: str, brace: int) -> str:
    """The statement that a brace belongs to: ``if (…)``, ``for (…)``, or nothing for a kernel's own."""
    before = text[:brace].rstrip()
    if not before.endswith(")"):
        return re.search(r"\w*$", before).group()  # type: ignore[union-attr]
    depth, place = 0, len(before) - 1
    while True:
        depth += {")": 1, "(": -1}.get(before[place], 0)
        if depth == 0:
            break
        place -= 1
    return re.search(r"\w*\s*$", before[:place]).group().strip() + before[place:]  # type: ignore[union-attr]
