"""Versions of the installed libraries, for the record of every run."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version

PACKAGES = ("allegro-md", "torch", "numpy", "numba", "h5py", "e3nn", "ase", "mpi4py", "mpich")


def installed() -> dict[str, str | None]:
    """Versions of Python and of the packages that results depend on; None where one is missing."""
    return {"python": platform.python_version(), **{name: _version(name) for name in PACKAGES}}


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
