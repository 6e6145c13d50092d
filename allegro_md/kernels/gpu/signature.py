"""Parameters of kernels, read from their C++ sources: what a launch checks its arguments by."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

SOURCES = Path(__file__).parent

TENSORS = {
    "double": "float64", "float": "float32", "i64": "int64", "u64": "int64", "int": "int32", "short": "int16",
    "unsigned char": "uint8",
}  # fmt: skip
"""Element type of a pointer → name of the tensor's type."""

SMALL = {"Vec3": 3, "Mat3": 9, "Species": 128}
"""Structure of float64 that is passed by value → the most numbers it holds."""

SCALARS = {"double", "float", "i64", "int"}


class Parameter(NamedTuple):
    """One parameter of a kernel.

    Attributes:
        name: in the source.
        kind: of its elements, a key of `TENSORS`, `SMALL` or `SCALARS`.
        pointer: it takes a tensor.
        optional: it may be null.
    """

    name: str
    kind: str
    pointer: bool
    optional: bool


class Signature(NamedTuple):
    """Conditions that a launch of an instance of a kernel must meet.

    Attributes:
        most_threads: of a block.
        parameters: in their order.
    """

    most_threads: int
    parameters: tuple[Parameter, ...]


def read_signature(file: str, instance: str) -> Signature:
    """Reads the parameters of a kernel.

    Args:
        file: name of a source of this folder.
        instance: name of the kernel, with its template arguments: ``bilinear<float,2,1>``.

    Raises:
        ValueError: there is no such kernel, or a parameter has a type that no argument can have.
    """
    text = re.sub(r"//[^\n]*", "", (SOURCES / file).read_text(encoding="utf-8"))
    name, _, arguments = instance.rstrip(">").partition("<")
    head = re.search(rf"(?:template\s*<([^>]*)>\s*)?KERNEL\((\d+),[^\n]*?\)\s+{name}\(([^)]*)\)", text)
    if head is None:
        raise ValueError(f"there is no kernel {name} in {file}")
    names = [parameter.split()[-1] for parameter in head.group(1).split(",")] if head.group(1) else []
    given = [argument.strip() for argument in arguments.split(",")] if arguments else []
    if len(names) != len(given):
        raise ValueError(f"{file}: {name} has {len(names)} template parameters, {instance} gives {len(given)}")
    types = dict(zip(names, given, strict=True))
    return Signature(int(head.group(2)), tuple(_parameter(each, types) for each in head.group(3).split(",")))


def _parameter(text: str, types: dict[str, str]) -> Parameter:
    """A parameter from its declaration, with the arguments of the template by name."""
    found = re.fullmatch(r"\s*(MAYBE\s+)?(?:const\s+)?(.+?)\s*(\*?)\s*(?:__restrict__\s+)?(\w+)\s*", text)
    if found is None:
        raise ValueError(f"cannot read the parameter {text.strip()!r}")
    optional, kind, star, name = found.groups()
    kind = re.sub(r"\w+", lambda word: types.get(word.group(), word.group()), kind)
    kind = re.sub(r"^(?:Two|Four)<(\w+)>$", r"\1", kind)
    if kind not in (TENSORS if star else SCALARS | SMALL.keys()):
        raise ValueError(f"no argument can have the type of the parameter {text.strip()!r}")
    return Parameter(name, kind, bool(star), bool(optional))
