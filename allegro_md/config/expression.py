"""Conditions on atoms as text, such as ``z < 10 and element == 'Cu'``: checked once, then evaluated by numpy.

Only comparisons, ``and``, ``or``, ``not``, ``in``, arithmetic and the names of `QUANTITIES` have a meaning; nothing of
the text is executed.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from allegro_md.config.fields import SYMBOLS, nearest, problem, show

Kind = Literal["number", "word", "condition"]

QUANTITIES: dict[str, Kind] = {
    "x": "number", "y": "number", "z": "number", "fx": "number", "fy": "number", "fz": "number", "id": "number",
    "mass": "number", "element": "word",
}
"""Names in an expression: wrapped Cartesian coordinates (Å), fractional ones, index, mass (amu), symbol."""

LONGEST = 1000
"""Characters of an expression."""

HIGHEST_POWER = 4

_EXAMPLE = "for example \"z < 10 and element == 'Cu'\""

Arrays = Mapping[str, NDArray[Any]]

_ARITHMETIC: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: np.add, ast.Sub: np.subtract, ast.Mult: np.multiply, ast.Div: np.divide, ast.Mod: np.mod,
}

_COMPARISONS: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Lt: np.less, ast.LtE: np.less_equal, ast.Gt: np.greater, ast.GtE: np.greater_equal, ast.Eq: np.equal,
    ast.NotEq: np.not_equal,
}


class _Value(NamedTuple):
    """A part of an expression: what it is, and how it is evaluated."""

    kind: Kind
    of: Callable[[Arrays], Any]


class Expression:
    """A condition on atoms."""

    def __init__(self, text: str) -> None:
        """Reads a condition.

        Raises:
            PydanticCustomError: it is none, or uses something that has no meaning here.
        """
        if len(text) > LONGEST:
            raise problem(f"is longer than {LONGEST} characters", "divide it among several groups")
        try:
            tree = ast.parse(text.strip(), mode="eval")
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            raise problem(f"{show(text)} cannot be read as a condition", _EXAMPLE) from None
        self._condition = _part(tree.body)
        if self._condition.kind != "condition":
            raise problem(f"{show(text)} is a {self._condition.kind}, not a condition", _EXAMPLE)

    def __call__(self, arrays: Arrays) -> NDArray[np.bool_]:
        """Evaluates the condition for some atoms.

        Args:
            arrays: of each of `QUANTITIES`, (n,); float64 or text.

        Returns:
            (n,) the condition holds; where a number is not finite, comparisons are those of IEEE 754.
        """
        with np.errstate(all="ignore"):
            found = self._condition.of(arrays)
        return np.broadcast_to(np.asarray(found, dtype=np.bool_), arrays["id"].shape)


def _part(node: ast.expr) -> _Value:
    match node:
        case ast.Name(id=name):
            return _name(name)
        case ast.Constant(value=value):
            return _constant(value)
        case ast.BoolOp(op=op, values=values):
            parts = [_wanted(value, "condition") for value in values]
            join = np.logical_and if isinstance(op, ast.And) else np.logical_or
            return _Value("condition", lambda arrays: join.reduce(np.broadcast_arrays(*(p.of(arrays) for p in parts))))
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            part = _wanted(operand, "condition")
            return _Value("condition", lambda arrays: np.logical_not(part.of(arrays)))
        case ast.UnaryOp(op=ast.USub() | ast.UAdd() as op, operand=operand):
            part = _wanted(operand, "number")
            sign = -1.0 if isinstance(op, ast.USub) else 1.0
            return _Value("number", lambda arrays: sign * part.of(arrays))
        case ast.BinOp(left=left, op=ast.Pow(), right=right):
            return _power(_wanted(left, "number"), right)
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _ARITHMETIC:
            first, second, combine = _wanted(left, "number"), _wanted(right, "number"), _ARITHMETIC[type(op)]
            return _Value("number", lambda arrays: combine(first.of(arrays), second.of(arrays)))
        case ast.Compare(left=left, ops=ops, comparators=others):
            return _chain([left, *others], ops)
        case _:
            remedy = "use comparisons, and, or, not, in, + - * / % **, and the names " + ", ".join(QUANTITIES)
            raise problem(f"'{ast.unparse(node)[:40]}' has no meaning here", remedy)


def _name(name: str) -> _Value:
    if name not in QUANTITIES:
        near = f"element == '{name}'" if name in SYMBOLS else nearest(name, QUANTITIES)
        remedy = f"did you mean {near}?" if near else f"valid names: {', '.join(QUANTITIES)}"
        raise problem(f"'{name}' is no property of an atom", remedy)
    return _Value(QUANTITIES[name], lambda arrays: arrays[name])


def _constant(value: Any) -> _Value:
    if isinstance(value, str):
        if value not in SYMBOLS:
            near = nearest(value, SYMBOLS)
            remedy = f"did you mean '{near}'?" if near else "write for example element == 'Cu'"
            raise problem(f"'{value}' is not a chemical symbol", remedy)
        return _Value("word", lambda _: value)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or abs(value) > 1e300:
        raise problem(f"{show(value)} is no number", _EXAMPLE)
    number = float(value)
    return _Value("number", lambda _: number)


def _wanted(node: ast.expr, kind: Kind) -> _Value:
    part = _part(node)
    if part.kind != kind:
        raise problem(f"'{ast.unparse(node)[:40]}' is a {part.kind} where a {kind} should stand", _EXAMPLE)
    return part


def _power(base: _Value, exponent: ast.expr) -> _Value:
    times = exponent.value if isinstance(exponent, ast.Constant) else None
    if not isinstance(times, int) or not 1 <= times <= HIGHEST_POWER:
        what = f"'** {ast.unparse(exponent)[:20]}' is no power from 1 to {HIGHEST_POWER}"
        raise problem(what, "write for example x**2")

    def value(arrays: Arrays) -> Any:
        factor = base.of(arrays)
        product = factor
        for _ in range(times - 1):
            product = product * factor
        return product

    return _Value("number", value)


def _chain(nodes: list[ast.expr], ops: list[ast.cmpop]) -> _Value:
    """A comparison, or several in a row, such as 5 < z < 10."""
    links = [_comparison(left, op, right) for left, op, right in zip(nodes[:-1], ops, nodes[1:], strict=True)]

    def value(arrays: Arrays) -> Any:
        holds = links[0](arrays)
        for link in links[1:]:
            holds = np.logical_and(holds, link(arrays))
        return holds

    return _Value("condition", value)


def _comparison(left: ast.expr, op: ast.cmpop, right: ast.expr) -> Callable[[Arrays], Any]:
    first = _part(left)
    if isinstance(op, (ast.In, ast.NotIn)):
        if not isinstance(right, (ast.List, ast.Tuple, ast.Set)) or not right.elts:
            raise problem(f"'in {ast.unparse(right)[:40]}' needs a list", "for example element in ['Cu', 'Ag']")
        items = [_wanted(item, first.kind) for item in right.elts]
        inverted = isinstance(op, ast.NotIn)

        def member(arrays: Arrays) -> Any:
            value, found = first.of(arrays), np.zeros((), np.bool_)
            for item in items:
                found = np.logical_or(found, np.equal(value, item.of(arrays)))
            return np.logical_not(found) if inverted else found

        return member
    second = _part(right)
    ordered = type(op) not in (ast.Eq, ast.NotEq)
    if type(op) not in _COMPARISONS or first.kind != second.kind or "condition" in (first.kind, second.kind) or (
        ordered and first.kind == "word"
    ):
        text = f"{ast.unparse(left)[:30]} … {ast.unparse(right)[:30]}"
        raise problem(f"'{text}' cannot be compared in this way ({first.kind}, {second.kind})", _EXAMPLE)
    compare = _COMPARISONS[type(op)]
    return lambda arrays: compare(first.of(arrays), second.of(arrays))
