"""Versions of the installed libraries, for the record of every run."""

from __future__ import annotations

import platform
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version

PACKAGES = ("allegro-md", "torch", "numpy", "numba", "h5py", "e3nn", "ase", "mpi4py", "mpich")


def installed() -> dict[str, str | None]:
    """Versions of Python and of the packages that results depend on; None where one is missing."""
    return {"python": platform.python_version(), **{name: _version(name) for name in PACKAGES}}


def mathematics() -> str:
    """Names all that the last bits of exp, log and the like depend on: C library, processor, numpy; to be compared."""
    lines: dict[str, str] = {}
    with suppress(OSError), open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
        for line in file:
            name, _, value = line.partition(":")
            if name.strip() in ("model name", "flags", "Features"):
                lines.setdefault(name.strip(), value.strip())
    processor = sorted(lines.items()) or platform.processor()
    return repr((platform.platform(), platform.libc_ver(), processor, installed()))


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
