"""Tests use the package as its users do: by its public names, so that what is private can change."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
PACKAGE = TESTS.parent / "allegro_md"

EXCEPTIONS: dict[str, dict[str, str]] = {
    "drivers/faults.py": {
        "_dtype": "tells the two networks of a potential apart",
    },
    "drivers/mutants.py": {
        "_parameters": "the same ones, summed in another way",
        "_rebuild": "replaces the halo, which is made anew in each rebuild",
    },
    "unit/io/test_h5md.py": dict.fromkeys(("_worker", "_jobs", "_thread"), "holds the writing thread at one moment"),
    "unit/kernels/test_contract.py": {"_on_device": "the path of a GPU, compared on the CPU"},
    "unit/potentials/test_allegro.py": dict.fromkeys(
        ("_evaluate", "_gather", "_tiles"), "memory runs out in one of the two parts of a block"
    ),
    "unit/potentials/test_committee.py": {
        "_limits": "the distances of a guard are nowhere else", "_committee": "what is kept, or not",
    },
    "unit/potentials/test_engine_choice.py": {
        "_seconds": "a clock that is told", "_evaluate": "the size of the blocks is nowhere else",
    },
    "unit/simulation/test_host_info.py": dict.fromkeys(("_read", "_CGROUPS"), "files of another machine"),
    "unit/simulation/test_resource_estimate.py": dict.fromkeys(
        ("_bricks", "_places", "_short_of_memory"), "hosts of another machine, and intermediate numbers"
    ),
    "unit/test_doctor.py": {"_DRIVER": "a file of another machine"},
    "unit/test_stopping.py": {"_dispatch": "fails as a compiler does that lost an interrupt"},
    "unit/test_guards.py": {"_closest": "how often all pairs are gone through"},
}  # fmt: skip
"""File → private name of the package that it uses → why it must."""


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__") and len(name) > 1


def names_of_the_package() -> set[str]:
    """Private functions, classes, methods, attributes and constants."""
    found: set[str] = set()
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                found.add(node.name)
            elif isinstance(node, ast.Attribute):
                if isinstance(node.value, ast.Name) and node.value.id == "self":
                    found.add(node.attr)
            elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                found.add(node.id)
    return {name for name in found if is_private(name)} - {"_replace", "_asdict"}  # public ones of named tuples


def used(path: Path, private: set[str]) -> Iterator[tuple[str, int]]:
    """Private names of the package in a file, with their lines: attributes of others, imports, and names in strings."""
    for node in ast.walk(ast.parse(path.read_text())):
        names: list[str] = []
        if isinstance(node, ast.Attribute):
            own = isinstance(node.value, ast.Name) and node.value.id in ("self", "cls")
            names = [] if own else [node.attr]
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("allegro_md"):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.isascii():
            names = [node.value.rpartition(".")[2]]
        line = getattr(node, "lineno", 0)
        yield from ((name, line) for name in names if name in private)


def test_only_public_names_are_used() -> None:
    private = names_of_the_package()
    wrong = []
    for path in sorted(TESTS.rglob("*.py")):
        file = str(path.relative_to(TESTS))
        if path != Path(__file__).resolve():
            allowed = EXCEPTIONS.get(file, {})
            wrong += [f"{file}:{line} {name}" for name, line in used(path, private) if name not in allowed]
    assert not wrong


def test_a_private_name_is_found(tmp_path: Path) -> None:
    path = tmp_path / "test.py"
    path.write_text('from allegro_md.x import _a\nself._b = thing._c\nsetattr(thing, "_d", 1)\n')
    assert [name for name, _ in used(path, {"_a", "_b", "_c", "_d"})] == ["_a", "_c", "_d"]
