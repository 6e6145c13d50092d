"""Molecular dynamics with strictly local Allegro models, decomposed over MPI ranks.

The public names load on first use, so that the command line can reject bad input before torch is imported.
"""

from __future__ import annotations

import hashlib
import os
import sys
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

_PUBLIC = {"Simulation": "allegro_md.simulation", "load_model": "allegro_md.models.modelfile"}

__all__ = ["Simulation", "__version__", "load_model"]  # noqa: F822  provided by __getattr__


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return version("allegro-md")
    if name not in _PUBLIC:
        raise AttributeError(f"module 'allegro_md' has no attribute '{name}'")
    return getattr(import_module(_PUBLIC[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])


def _configure_numba() -> None:
    """Gives numba a cache folder named after the kernels' sources, and keeps it from vector mathematics libraries.

    Numba notices a change of a function's own file only: a kernel whose callee in another file has changed would run on
    as it was. A folder set by the user is left alone. A vectorized log or cos may round an element by its place in
    the array, which depends on the ranks.
    """
    here = Path(__file__).parent
    digest = hashlib.sha256()
    for source in sorted([*(here / "kernels").glob("*.py"), here / "exact.py"]):
        digest.update(source.read_bytes())
    caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    os.environ.setdefault("NUMBA_CACHE_DIR", str(caches / "allegro-md" / digest.hexdigest()[:16]))
    os.environ["NUMBA_DISABLE_INTEL_SVML"] = "1"
    if "numba" in sys.modules:
        sys.modules["numba"].config.reload_config()


_configure_numba()
