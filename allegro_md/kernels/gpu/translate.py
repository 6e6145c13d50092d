"""C++ of straight-line formulas of the numba modules, so that a formula is written once, in Python.

A formula consists of assignments, + − * /, constants of its module, calls of formulas before it and of the functions of
`CALLS`; it returns one number or several. Order and parentheses are kept; what is constant is computed in float64 and
rounded once, as in the compiled code of the CPU. So the bits agree. A parameter becomes a number, one that is indexed
(``g[0]``) a pointer; several results go to a last parameter `out`.

``python -m allegro_md.kernels.gpu.translate`` writes ``formulas.h``.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable
from typing import Any

from allegro_md.exact import FORCE_SCALE
from allegro_md.kernels.blocks import LIMIT
from allegro_md.kernels.centroid import VIRIAL_LIMIT
from allegro_md.kernels.cpu_bilinear import SMALL
from allegro_md.kernels.cpu_harmonics import R3, second, second_backward, third, third_backward
from allegro_md.kernels.gpu.signature import SOURCES
from allegro_md.kernels.zbl import envelope, pair_repulsion, screening

FILE = SOURCES / "formulas.h"

CONSTANTS = {
    "R3": R3, "FORCE_SCALE": FORCE_SCALE, "SMALL_GRADIENT": SMALL, "FORCE_LIMIT": LIMIT, "VIRIAL_LIMIT": VIRIAL_LIMIT,
}  # fmt: skip
"""Name of a macro → float64."""

FORMULAS: tuple[Callable[..., Any], ...] = (
    second, third, second_backward, third_backward, screening, envelope, pair_repulsion,
)  # fmt: skip

CALLS = {"divide": "({} / {})", "splat": "{}", "exponential": "exponential({})"}
"""Function that a formula may call → C++ of its result, by its arguments; the exponential is in ``exponential.h``."""

_SIGNS: dict[type[ast.operator], str] = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/"}


def header() -> str:
    """Text of ``formulas.h``."""
    lines = [
        "// Made by translate.py from the modules of kernels/ that these constants and formulas stand in.",
        "#pragma once", '#include "exponential.h"', "",
        *(f"#define {name} {value!r}" for name, value in CONSTANTS.items()),
    ]  # fmt: skip
    return "\n".join(lines) + "\n\n" + "\n".join(translated(formula) for formula in FORMULAS)


def translated(function: Callable[..., Any]) -> str:
    """Translates a formula, plain or compiled by numba.

    Raises:
        TypeError: it has something that is not translated; says in which line.
    """
    return _Translation(getattr(function, "py_func", function)).text()


class _Translation:
    """A formula on its way from one language to the other."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._globals = function.__globals__  # type: ignore[attr-defined]
        (definition,) = ast.parse(textwrap.dedent(inspect.getsource(function))).body
        assert isinstance(definition, ast.FunctionDef)
        self._definition = definition
        self._local = {argument.arg for argument in definition.args.args}
        self._result = "real"

    def text(self) -> str:
        """The function in C++."""
        name, arguments = self._definition.name, [argument.arg for argument in self._definition.args.args]
        subscripts = (node.value for node in ast.walk(self._definition) if isinstance(node, ast.Subscript))
        indexed = {node.id for node in subscripts if isinstance(node, ast.Name)}
        lines = [line for statement in self._definition.body for line in self._statement(statement)]
        parameters = [f"const real* {each}" if each in indexed else f"real {each}" for each in arguments]
        parameters += ["real* out"] if self._result == "void" else []
        head = f"template <class real> DEVICE {self._result} {name}({', '.join(parameters)}) {{"
        return "\n".join([head, *(f"  {line}" for line in lines), "}\n"])

    def _statement(self, statement: ast.stmt) -> list[str]:
        if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
            return []  # the docstring
        if isinstance(statement, ast.Assign):
            return self._assignment(statement)
        if isinstance(statement, ast.Return) and isinstance(statement.value, ast.Tuple):
            self._result = "void"
            return [f"out[{k}] = {self._expression(each)};" for k, each in enumerate(statement.value.elts)]
        if isinstance(statement, ast.Return) and statement.value is not None:
            return [f"return {self._expression(statement.value)};"]
        raise self._foreign(statement)

    def _assignment(self, statement: ast.Assign) -> list[str]:
        (target,), value = statement.targets, statement.value
        if isinstance(target, ast.Tuple) and isinstance(value, ast.Call):
            return self._results(target, value)
        targets = target.elts if isinstance(target, ast.Tuple) else [target]
        values = value.elts if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple) else [value]
        texts, lines = [self._expression(each) for each in values], []
        used = {node.id for each in values[1:] for node in ast.walk(each) if isinstance(node, ast.Name)}
        for each, text in zip(targets, texts, strict=True):
            if not isinstance(each, ast.Name) or (each.id in used and len(targets) > 1):
                raise self._foreign(statement)
            lines.append(f"{'' if each.id in self._local else 'real '}{each.id} = {text};")
            self._local.add(each.id)
        return lines

    def _results(self, target: ast.Tuple, call: ast.Call) -> list[str]:
        """Declares the results of another formula."""
        names = [ast.unparse(each) for each in target.elts]
        if not isinstance(call.func, ast.Name) or not self._local.isdisjoint(names):
            raise self._foreign(call)
        self._local.update(names)
        together = "_".join(names)
        arguments = ", ".join([*(self._expression(each) for each in call.args), together])
        declared = [f"real {name} = {together}[{k}];" for k, name in enumerate(names)]
        return [f"real {together}[{len(names)}];", f"{call.func.id}({arguments});", *declared]

    def _expression(self, node: ast.expr) -> str:
        if isinstance(node, ast.Call):
            if not isinstance(node.func, ast.Name) or node.func.id not in CALLS:
                raise self._foreign(node)
            return CALLS[node.func.id].format(*(self._expression(each) for each in node.args))
        if not any(isinstance(each, ast.Name) and each.id in self._local for each in ast.walk(node)):
            return f"real({self._constant(node)!r})"
        if isinstance(node, ast.Name):
            return node.id
        if isinstance(node, ast.BinOp) and type(node.op) in _SIGNS:
            return f"({self._expression(node.left)} {_SIGNS[type(node.op)]} {self._expression(node.right)})"
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
            return f"(-{self._expression(node.operand)})"
        if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant):
            return ast.unparse(node)
        raise self._foreign(node)

    def _constant(self, node: ast.expr) -> float:
        """The value of an expression in which no variable stands."""
        if any(isinstance(each, ast.Call) for each in ast.walk(node)):
            raise self._foreign(node)
        return float(eval(compile(ast.Expression(node), self._definition.name, "eval"), self._globals))

    def _foreign(self, node: ast.stmt | ast.expr) -> TypeError:
        text = ast.unparse(node).splitlines()[0]
        return TypeError(f"{self._definition.name}, line {node.lineno}: {text} is not translated")


if __name__ == "__main__":
    FILE.write_text(header(), encoding="utf-8")
