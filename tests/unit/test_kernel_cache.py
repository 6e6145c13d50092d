"""Compiled kernels are never older than their sources, wherever these are."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from allegro_md.kernel_cache import compiled_sources, digest

PACKAGE = Path(__file__).resolve().parents[2] / "allegro_md"
COMPILERS = {"njit", "jit", "intrinsic", "overload", "vectorize", "guvectorize", "cfunc", "stencil", "register_jitable"}


def decorators(node: ast.FunctionDef) -> Iterator[str]:
    """Last words of the names of a function's decorators: `numba.njit(cache=True)` -> "njit"."""
    for decorator in node.decorator_list:
        called = decorator.func if isinstance(decorator, ast.Call) else decorator
        yield called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", "")


def uses_numba(node: ast.AST) -> bool:
    """Whether it is an import of numba: `typing` has an `overload`, too."""
    if isinstance(node, ast.Import):
        return any(alias.name.split(".")[0] == "numba" for alias in node.names)
    return isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "numba"


def compiled_functions(tree: ast.Module) -> list[ast.FunctionDef]:
    if not any(uses_numba(node) for node in ast.walk(tree)):
        return []
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    return [node for node in functions if COMPILERS & set(decorators(node))]


def read_by_compiled_code() -> set[str]:
    """Files that define a compiled function, or a name of the package that the body of one uses."""
    trees = {path: ast.parse(path.read_text()) for path in PACKAGE.rglob("*.py")}
    found: set[Path] = set()
    for path, tree in trees.items():
        bodies = compiled_functions(tree)
        if not bodies:
            continue
        found.add(path)
        used = {n.id for body in bodies for part in body.body for n in ast.walk(part) if isinstance(n, ast.Name)}
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("allegro_md."):
                if used & {alias.asname or alias.name for alias in node.names}:
                    base = PACKAGE.parent / str(node.module).replace(".", "/")
                    found.add(base.with_suffix(".py") if base.with_suffix(".py") in trees else base / "__init__.py")
    return {str(path.relative_to(PACKAGE)) for path in found}


def test_the_digest_covers_all_compiled_code() -> None:
    found, wanted = set(compiled_sources(PACKAGE)), read_by_compiled_code()
    assert len(wanted) > 35 and "backends/cpu/grid.py" in wanted and "exact.py" in wanted
    assert wanted <= found
    assert len(found - wanted) <= 5  # edits of other files need not compile anything


def test_the_digest_is_of_names_and_contents() -> None:
    sources = {"a.py": b"1", "b.py": b"2"}
    others = [{"a.py": b"2", "b.py": b"1"}, {"a.py": b"1"}, {"a.py": b"1", "c.py": b"2"}, {"a.py": b"1", "b.py": b"3"}]
    assert len({digest(s) for s in [sources, *others]}) == 5
    assert digest(dict(reversed(sources.items()))) == digest(sources)


PLACE = """
import numpy as np
from allegro_md.backends.cpu.lists import farthest
from allegro_md.cell import Cell
from allegro_md.state import AtomState, SpeciesTable
argon = SpeciesTable(("Ar",), np.array([18]), np.array([39.95]))
print(farthest(AtomState.from_arrays(Cell.from_rows(np.eye(3), (True, True, True)), argon, np.ones((1, 3)))))
"""


def test_an_edit_takes_effect_where_the_cache_is_warm(tmp_path: Path) -> None:
    """An edit of the callee in grid.py: its caller is in lists.py, which stays as it is."""
    shutil.copytree(PACKAGE, tmp_path / "allegro_md", ignore=shutil.ignore_patterns("__pycache__"))
    environment = {k: v for k, v in os.environ.items() if k != "NUMBA_CACHE_DIR"}
    environment |= {"PYTHONPATH": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache")}

    def largest() -> float:
        command = [sys.executable, "-c", PLACE]
        done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=True)
        return float(done.stdout)

    assert largest() == 1.0
    assert list((tmp_path / "cache").rglob("*.nbc"))  # it is warm now
    grid = tmp_path / "allegro_md" / "backends" / "cpu" / "grid.py"
    text = grid.read_text()
    assert "return (\n        position[i, 0] + (" in text
    grid.write_text(text.replace("return (\n        position[i, 0] + (", "return (\n        position[i, 0] + 2.0 + ("))
    assert largest() == 3.0
