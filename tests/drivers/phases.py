"""Reads kernels of GPUs for phases and exchanges that not all threads of a block would meet.

On a GPU these hang or mix up lanes; the loops of a CPU cannot show it. A phase (FOR_THREADS, FOR_GROUPS, FOR_LANES),
and what crosses lanes or threads, may stand in the kernel itself, in FOR_GROUPS, and in loops that all threads make
alike: while `any(…)`, or to a bound in capital letters, and under `if constexpr`. A kernel has no return. The same
holds for functions with phases, and a call of one is a phase.
"""

from __future__ import annotations

import re
from typing import NamedTuple

PHASES = ("FOR_THREADS", "FOR_GROUPS", "FOR_LANES", "sum_of", "flags_of", "moved", "any", "add_all", "raise_all")
KERNEL = re.compile(r"KERNEL\(\d+,[^\n]*?\)\s+(\w+)\(")
FUNCTION = re.compile(r"DEVICE [\w<>*& ]+?(\w+)\([^;{}]*\{")
EVEN_LOOP = re.compile(r"for\s*\(.*(\bany\(|<=? *[A-Z][A-Z0-9_]*( *\* *[A-Z0-9_]+)*;)")


class Fault(NamedTuple):
    """What is wrong in a source: the line, the kernel or function, the word, and what it stands under."""

    line: int
    kernel: str
    word: str
    under: str


def faults(source: str, headers: str = "") -> list[Fault]:
    """Finds what not all threads would meet in the kernels, and in the functions with phases, of a source.

    Args:
        source: text of a file.
        headers: of those that it includes, whose functions may have phases.
    """
    text = re.sub(r"//[^\n]*", "", source)
    names = with_phases(text) | with_phases(re.sub(r"//[^\n]*", "", headers))
    words = re.compile(rf"\b({'|'.join(PHASES + tuple(names))})(?:<[^<>()]*>)?\(|\breturn\b")
    heads = [*KERNEL.finditer(text), *(head for head in FUNCTION.finditer(text) if head.group(1) in names)]
    return [fault for head in heads for fault in _in_kernel(text, head.group(1), head.end(1), words)]


def with_phases(text: str) -> set[str]:
    """Names of functions of a source without comments that have phases, other than those of ``gpu.h``."""
    phase = re.compile(rf"\b({'|'.join(PHASES)})\(")
    heads = [head for head in FUNCTION.finditer(text) if phase.search(text, head.end(), _end(text, head.end()))]
    return {head.group(1) for head in heads} - set(PHASES)


def _end(text: str, place: int) -> int:
    """The place after the body that has begun before a place."""
    depth = 1
    while depth:
        depth += {"{": 1, "}": -1}.get(text[place], 0)
        place += 1
    return place


def _in_kernel(text: str, kernel: str, after: int, words: re.Pattern[str]) -> list[Fault]:
    """Faults of one kernel, whose parameters begin at a place of the text."""
    found: list[Fault] = []
    place = text.index("{", after)
    heads: list[str] = []
    while True:
        if text[place] == "{":
            heads.append(_head(text, place))
        elif text[place] == "}":
            heads.pop()
            if not heads:
                return found
        elif match := words.match(text, place):
            word = match.group(1) or match.group()
            statement = text[max(text.rfind(mark, 0, place) for mark in ";{}") + 1 : place]
            even = ("FOR_GROUPS", "constexpr")
            around = [head for head in heads[1:] if not (head.startswith(even) or EVEN_LOOP.match(head))]
            inline = re.search(r"\b(if|else|for|while)\b|\?", statement)
            in_head = bool(re.search(r"\bfor\s*\([^)]*$", text[max(0, place - 60) : place]))
            if word == "return" or (word != "any" and (around or (inline and not in_head))):
                line, under = text.count("\n", 0, place) + 1, "; ".join(around) or statement.strip()
                found.append(Fault(line, kernel, word, under))
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
