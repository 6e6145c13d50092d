"""The import rules and size budget of ARCHITECTURE.md, read from the source of every file."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "allegro_md"

# A component may import those of lower levels; above the ground, siblings may not import each other.
LEVELS: dict[float, set[str]] = {
    0: {
        "state", "cell", "exact", "evaluation", "rng", "units", "errors", "timers", "triggers", "versions", "stopping",
        "allocator", "cache_folder", "kernel_cache", "compilation", "launcher", "lost_ranks",
        "kernel_files",
    },
    1: {"comm", "config"},
    1.5: {"kernels", "reporting", "accumulators", "figures"},
    2: {"backends"},
    2.5: {"neighbors", "observables"},
    3: {"models", "integrators"},
    4: {"potentials", "domain", "io", "guards"},
    4.5: {"verify", "analysis", "report"},
    5: {"simulation", "training"},
    5.5: {"ase"},  # the calculator evaluates through the simulation's forces
    6: {"scaling"},
    7: {"cli"},
    8: {"__main__", "__init__"},
}
LEVEL = {component: level for level, components in LEVELS.items() for component in components}

# Not even although lower: each with its reason.
FORBIDDEN: dict[str, set[str]] = {
    "kernels": {"comm", "config"},  # tensors in, tensors out
    "models": {"comm", "config"},  # a strictly local model knows no ranks
    "backends": {"comm", "config"},
    "integrators": {"comm", "neighbors"},  # they see a state and a `forces` callable
    "potentials": {"comm"},  # a potential never talks to MPI
    "domain": {"models"},  # it is given a width and a list of fields
    "analysis": {"models", "integrators", "potentials", "guards"},  # it sees atoms, and the halo around them
    "report": {"models", "integrators", "potentials", "domain", "guards"},  # of files alone
    "training": {"domain"},
}

# The only door to a package; what is not named here may be imported anywhere above the ground.
DOORS: dict[str, set[str]] = {
    "cuda": {"kernels"}, "mpi4py": {"comm"}, "h5py": {"io"}, "triton": {"kernels"}, "typer": {"cli"},
}  # fmt: skip

# What goes over atoms is in backends/, in the kernels of CPU engines, or copied to the host first (`.cpu().numpy()`).
ON_CPUS = {"backends", "kernels", "models", "training", "potentials"}
# On ids and host copies: exact sums, random numbers, frames.
NUMBA = {"backends", "kernels", "exact", "rng", "io", "accumulators", "analysis"}
WATCHES_NUMBA = {"compilation", "kernel_files"}  # compile nothing
GROUND_PACKAGES = {"numpy", "scipy", "torch", "numba"} | set(sys.stdlib_module_names)

# Imported inside functions because they are optional, or slow to load and needed at the edge only. Torch takes a
# second, and a run with a classical potential needs none of it (tests/unit/test_startup.py).
LAZY_PACKAGES = {
    "MDAnalysis", "allegro", "ase", "ase_db_backends", "cuda", "e3nn", "jinja2", "lmdb", "matplotlib", "mpi4py",
    "nequip", "tensorboardX", "torch", "triton",
}  # fmt: skip
LAZY_COMPONENTS = {"cli", "__main__", "__init__"}

FILE_LINES, FUNCTION_LINES = 450, 80


@dataclass(frozen=True)
class Import:
    """One import statement: the dotted module it names, and where it stands."""

    module: str
    line: int
    in_function: bool


def component_of(module: str) -> str:
    """`allegro_md.domain.halo` -> `domain`; the root itself is `__init__`."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else "__init__"


def imports_of(source: str, module: str, is_package: bool) -> Iterator[Import]:
    """Every import of a file, absolute and relative."""

    def visit(node: ast.AST, in_function: bool) -> Iterator[Import]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Import):
                yield from (Import(alias.name, child.lineno, in_function) for alias in child.names)
            elif isinstance(child, ast.ImportFrom):
                yield from (Import(name, child.lineno, in_function) for name in targets(child, module, is_package))
            inner = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            yield from visit(child, in_function or inner)

    yield from visit(ast.parse(source), False)


def targets(node: ast.ImportFrom, module: str, is_package: bool) -> Iterator[str]:
    """The modules that `from … import …` touches: `from allegro_md.io import h5md` means a file."""
    base = node.module or ""
    if node.level:
        here = module.split(".") if is_package else module.split(".")[:-1]
        here = here[: len(here) - node.level + 1]
        base = ".".join(here + ([node.module] if node.module else []))
    for alias in node.names:
        below = PACKAGE.joinpath(*base.split(".")[1:], alias.name)
        is_module = base.startswith("allegro_md") and (below.with_suffix(".py").exists() or below.is_dir())
        yield f"{base}.{alias.name}" if is_module and base != "allegro_md" else base


def problems(source: str, module: str, is_package: bool = False) -> list[str]:
    """Broken import rules of one file."""
    me = component_of(module)
    if me not in LEVEL:
        return [f"{module}: component {me!r} has no level, add it to the table"]
    found = []
    for item in imports_of(source, module, is_package):
        package = item.module.split(".")[0]
        complaint = inside(me, item) if package == "allegro_md" else outside(me, package, item)
        found += [f"{module}:{item.line} imports {item.module}: {complaint}"] if complaint else []
    return found


def inside(me: str, item: Import) -> str | None:
    """What is wrong with an import of our own package."""
    other = component_of(item.module)
    if other == "__init__":
        return "nothing imports the package root"
    if other not in LEVEL:
        return f"component {other!r} has no level"
    if item.in_function and me not in LAZY_COMPONENTS:
        return "our own modules are imported at the top of the file"
    if other == me:
        return None
    if other in FORBIDDEN.get(me, set()):
        return f"{me} may not see {other}"
    if LEVEL[other] > LEVEL[me]:
        return f"level {LEVEL[me]} may not import level {LEVEL[other]}"
    if LEVEL[other] == LEVEL[me] > 0:
        return f"{me} and {other} are siblings of level {LEVEL[me]}"
    return None


def outside(me: str, package: str, item: Import) -> str | None:
    """What is wrong with an import of somebody else's package."""
    if package in sys.stdlib_module_names:
        return None if not item.in_function or me in LAZY_COMPONENTS else "import it at the top of the file"
    if package in DOORS and me not in DOORS[package]:
        return f"only {DOORS[package]} imports it"
    if LEVEL[me] == 0 and package not in GROUND_PACKAGES:
        return f"the ground imports only {sorted(GROUND_PACKAGES - set(sys.stdlib_module_names))}"
    if item.in_function and me not in LAZY_COMPONENTS and package not in LAZY_PACKAGES:
        return "a required package is imported at the top of the file"
    return None


def module_of(path: Path) -> tuple[str, bool]:
    """Dotted name of a file, and whether it is a package's `__init__`."""
    parts = ("allegro_md", *path.relative_to(PACKAGE).with_suffix("").parts)
    is_package = parts[-1] == "__init__"
    return ".".join(parts[:-1] if is_package else parts), is_package


FILES = sorted(PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_go_down(path: Path) -> None:
    assert not problems(path.read_text(), *module_of(path))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_size(path: Path) -> None:
    source = path.read_text()
    assert source.count("\n") <= FILE_LINES
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno is not None
            assert node.end_lineno - node.lineno < FUNCTION_LINES, f"{node.name} is too long"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_any_device(path: Path) -> None:
    """A second kind of device is a folder beside backends/cpu: no other file takes a state's tensor for host memory."""
    source, me = path.read_text(), component_of(module_of(path)[0])
    assert me in ON_CPUS or not re.search(r"(?<!\.cpu\(\))\.numpy\(\)", source)
    assert me in NUMBA | WATCHES_NUMBA or not re.search(r"^(import|from) numba", source, re.MULTILINE)


def test_no_cycles() -> None:
    graph: dict[str, set[str]] = {}
    for path in FILES:
        module, is_package = module_of(path)
        found = {item.module for item in imports_of(path.read_text(), module, is_package) if not item.in_function}
        graph[module] = {name for name in found if name.startswith("allegro_md.") and name != module}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as cycle:
        pytest.fail(" -> ".join(cycle.args[1]))


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("allegro_md.kernels.lj", "from allegro_md import units"),
        ("allegro_md.kernels.lj", "from allegro_md.comm import Comm"),
        ("allegro_md.kernels.lj", "from ..models.allegro import Allegro"),
        ("allegro_md.potentials.lj", "from allegro_md.domain.halo import HaloExchange"),
        ("allegro_md.domain.halo", "import mpi4py"),
        ("allegro_md.domain.halo", "def f():\n    from allegro_md.domain import migrate"),
        ("allegro_md.domain.halo", "def f():\n    import numpy"),
        ("allegro_md.simulation", "import h5py"),
        ("allegro_md.state", "import e3nn"),
        ("allegro_md.training.train", "from allegro_md.domain.decomposition import Decomposition"),
        ("allegro_md.helpers", "import os"),
    ],
)
def test_the_rules_bite(module: str, source: str) -> None:
    assert len(problems(source, module)) == 1


def loaded_with(module: str, known: Mapping[str, set[str]]) -> set[str]:
    """All modules of the package that the import of one runs, packages on the way included."""
    loaded, waiting = set(), [module]
    while waiting:
        name = waiting.pop()
        if name in known and name not in loaded:
            loaded.add(name)
            waiting += [*known[name], name.rpartition(".")[0]]
    return loaded


def test_kept_kernels_have_files_of_their_own() -> None:
    """Every module with kept kernels loads one that calls `one_file_per_kernel`, whatever else was imported."""
    sources = {module_of(path): path.read_text() for path in FILES}
    callers = {module for (module, _), source in sources.items() if "\none_file_per_kernel()" in source}
    known = {
        module: {
            item.module
            for item in imports_of(re.sub(r"if TYPE_CHECKING:\n(    .*\n)+", "", source), module, is_package)
            if not item.in_function
        }
        for (module, is_package), source in sources.items()
    }
    kernels = [module for (module, _), source in sources.items() if "cache=True" in source]
    assert len(kernels) > 40
    assert [module for module in kernels if not loaded_with(module, known) & callers] == []
