"""``run.json``: what ran where, with what, for how long, and how it ended."""

from __future__ import annotations

import hashlib
import os
import platform
import resource
import socket
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from allegro_md.config import Input
from allegro_md.simulation.loop import StepLoop

PACKAGES = ("allegro-md", "torch", "numpy", "numba", "h5py", "e3nn", "ase", "mpi4py", "mpich")


def describe(config: Input, loop: StepLoop, status: str, began: float) -> dict[str, Any]:
    """The content of ``run.json`` (collective).

    Args:
        config: the input.
        loop: its state so far.
        status: "running", "done", or what ended it.
        began: time of the start, seconds since the epoch.
    """
    comm, forces = loop.comm, loop.forces
    here = {
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "device": str(loop.state.device),
        "atoms": loop.state.n_local,
        "peak_memory_MB": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
        "seconds": {name: round(value, 3) for name, value in loop.timers.seconds.items()},
    }
    domain = getattr(forces, "domain", None)
    return {
        "status": status,
        "step": loop.step,
        "began": time.strftime("%Y-%m-%dT%H:%M:%S%z", time.localtime(began)),
        "wall_s": round(time.time() - began, 3),
        "input": config.as_dict(),
        "versions": {"python": platform.python_version(), **{name: _version(name) for name in PACKAGES}},
        "models": {str(path): _digest(path) for path in _files(config)},
        "rank_grid": None if domain is None else list(domain.grid),
        "ranks": comm.allgather(here),
        "rebuilds": forces.rebuilds,
        "migrations": int(comm.sum(np.array([forces.migrations]))[0]),
        "bit_exact": forces.potential.bit_exact,
        "verify": None,  # the certificate of a run is not built yet
    }


def _files(config: Input) -> list[Path]:
    """Model and table files the potential was made from."""
    named = [getattr(term, key, None) for term in config.potential for key in ("model", "file")]
    return [path for path in named if isinstance(path, Path)]


def _digest(path: Path) -> str:
    return "sha256:" + hashlib.sha256(path.read_bytes()).hexdigest()


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
