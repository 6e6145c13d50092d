"""Molecular dynamics with strictly local Allegro models, decomposed over MPI ranks.

The public names load on first use, so that the command line can reject bad input before torch is imported.
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import version
from typing import Any

from allegro_md.kernel_cache import configure_numba

_PUBLIC = {
    "Simulation": "allegro_md.simulation",
    "load_model": "allegro_md.models.modelfile",
    "open_frames": "allegro_md.io.frames",
    "read_trajectory": "allegro_md.io.trajectory",
}

__all__ = ["Simulation", "__version__", "load_model", "open_frames", "read_trajectory"]  # provided by __getattr__


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return version("allegro-md")
    if name not in _PUBLIC:
        raise AttributeError(f"module 'allegro_md' has no attribute '{name}'")
    return getattr(import_module(_PUBLIC[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])


configure_numba()
