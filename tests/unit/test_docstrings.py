"""Docstrings begin with a verb or a noun and state the shape of every array argument. The source is parsed only.

A shape is a parenthesis after the name of the argument, as in "position: (n, 3) Å" or "`dots` (edges, C)". It stands
in the docstring of the function, or once for all functions of a class or module in its docstring. Units and dtypes
cannot be checked here: many numbers have no unit, and annotations often state the dtype.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[2] / "allegro_md"
VAGUE = ("What", "How", "Where", "Who", "Whether", "When", "Why", "Which")
ARRAY = re.compile(r"(NDArray\[|torch\.Tensor\b|Tensor\b|Array\b)")
SOURCES = sorted(PACKAGE.rglob("*.py"))
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


def documented(path: Path) -> Iterator[tuple[str, str | None]]:
    """Every module, class and function of a file: its line and its docstring."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, (ast.Module, ast.ClassDef, *FUNCTIONS)):
            yield f"{path.relative_to(PACKAGE)}:{getattr(node, 'lineno', 1)}", ast.get_docstring(node)


def arrays(function: ast.FunctionDef | ast.AsyncFunctionDef) -> list[str]:
    """Names of the arguments that are arrays; not those in a container (a batch documents itself)."""
    given = [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]
    return [a.arg for a in given if a.annotation is not None and ARRAY.match(ast.unparse(a.annotation))]


def states_shape(doc: str, name: str) -> bool:
    """A parenthesis follows the name in the same entry or sentence."""
    return re.search(rf"(?<![\w.]){re.escape(name)}\b(?:[^.;()]|\.(?!\s))*\(", doc) is not None


def without_shape() -> list[str]:
    missing = []
    for path in SOURCES:
        tree = ast.parse(path.read_text())
        for scope in (node for node in ast.walk(tree) if isinstance(node, (ast.Module, ast.ClassDef, *FUNCTIONS))):
            about = [ast.get_docstring(tree) or "", ast.get_docstring(scope) or ""]
            for node in (node for node in scope.body if isinstance(node, FUNCTIONS)):
                said = [*about, ast.get_docstring(node) or ""]
                where = f"{path.relative_to(PACKAGE)}:{node.lineno} {node.name}"
                missing += [f"{where}: {a}" for a in arrays(node) if not any(states_shape(doc, a) for doc in said)]
    return missing


def vague() -> list[str]:
    return [
        f"{where}: {doc.splitlines()[0]}"
        for path in SOURCES for where, doc in documented(path)
        if doc and doc.split()[0].strip(",.:") in VAGUE
    ]


def test_no_docstring_begins_with_a_question_word() -> None:
    assert not vague()


def test_every_array_argument_has_its_shape() -> None:
    assert not without_shape()
