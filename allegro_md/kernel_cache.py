"""The folder in which numba keeps compiled kernels, named after their sources.

Numba notices a change of a function's own file only. A kernel that calls a function of another file, or reads a
constant there, would run on as it was compiled. So the folder's name is a digest of all those files.
"""

from __future__ import annotations

import atexit
import hashlib
import os
import re
import shutil
import sys
import tempfile
from pathlib import Path

from allegro_md.cache_folder import cache_folder

_FOR_THIS_PROCESS = "allegro-md-"
"""How the names of temporary cache folders begin."""

_NUMBA = re.compile(rb"^[ \t]*(?:import|from) (?:numba|llvmlite)\b", re.MULTILINE)
_IMPORT = re.compile(rb"^[ \t]*from allegro_md\.([\w.]+) import (\([^)]*\)|[^\n]*)", re.MULTILINE)
_CONSTANT = re.compile(rb"^_?[A-Z][A-Z0-9_]*$")


def configure_numba() -> None:
    """Gives numba a cache folder named after the kernels' sources, and keeps it from vector mathematics libraries.

    A folder set by the user is left alone; where there is no folder that only this user can write, since compiled code
    is read from it, kernels are kept for this process only. A vectorized log or cos may round an element by its place
    in the array, which depends on the ranks.
    """
    if "NUMBA_CACHE_DIR" not in os.environ:
        folder = cache_folder() or _folder_of_this_process()
        os.environ["NUMBA_CACHE_DIR"] = str(folder / digest(compiled_sources(Path(__file__).parent)))
    os.environ["NUMBA_DISABLE_INTEL_SVML"] = "1"
    if "numba" in sys.modules:
        sys.modules["numba"].config.reload_config()


def _folder_of_this_process() -> Path:
    folder = tempfile.mkdtemp(prefix=_FOR_THIS_PROCESS)
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)


def kept_kernels() -> Path | None:
    """The folder in which compiled kernels are kept; None where they are kept for this process only."""
    folder = Path(os.environ["NUMBA_CACHE_DIR"])
    above = folder.parent
    temporary = above.name.startswith(_FOR_THIS_PROCESS) and above.parent == Path(tempfile.gettempdir())
    return None if temporary else folder


def digest(sources: dict[str, bytes]) -> str:
    """Returns 16 hexadecimal digits that depend on the names and contents of the files."""
    total = hashlib.sha256()
    for name, text in sorted(sources.items()):
        total.update(name.encode() + b"\0" + hashlib.sha256(text).digest())
    return total.hexdigest()[:16]


def compiled_sources(package: Path) -> dict[str, bytes]:
    """Finds the files of a package whose contents go into compiled code: path within the package → contents.

    Those are the files that use numba, and the files from which they import constants and named tuples.
    """
    texts = dict(_texts(str(package)))
    found = {name for name, text in texts.items() if b"numba" in text and _NUMBA.search(text)}
    search = sorted(found)
    while search:
        for module, names in _IMPORT.findall(texts[search.pop()]):
            path = module.decode().replace(".", "/")
            source = path + ".py" if path + ".py" in texts else path + "/__init__.py"
            if source in found or source not in texts:
                continue
            words = re.sub(rb"#[^\n]*|[()\s]", b"", names).split(b",")
            if any(_CONSTANT.match(w) or b"class %s(NamedTuple" % w in texts[source] for w in words if w):
                found.add(source)
                search.append(source)
    return {name: texts[name] for name in found}


def _texts(package: str) -> list[tuple[str, bytes]]:
    """Reads all Python files; by plain calls of the system, since this is part of every start."""
    texts = []
    for folder, _, names in os.walk(package):
        for name in names:
            if name.endswith(".py"):
                path = os.path.join(folder, name)
                with open(path, "rb", buffering=0) as file:
                    texts.append((os.path.relpath(path, package).replace(os.sep, "/"), file.read()))
    return texts
