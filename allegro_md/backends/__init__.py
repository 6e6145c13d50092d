"""Work on the per-atom arrays of a state, one folder per kind of device.

What goes over atoms in every step or at every rebuild is here. `integrators/steps.py`, `observables.py`, `guards.py`,
`neighbors/` and `domain/` call it; of a device they know only that messages between ranks are in host memory. A
potential chooses its engine itself.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module

import torch

from allegro_md.backends.base import Backend

BACKENDS: dict[str, str] = {"cpu": "allegro_md.backends.cpu"}
"""By torch's name of the kind of device: the module that has the `base.Backend` as ``BACKEND``."""


def backend_for(device: torch.device) -> Backend:
    """Returns the backend of a device.

    Raises:
        ValueError: there is none for this kind of device.
    """
    if device.type not in BACKENDS:
        raise ValueError(f"there is no backend for {device.type}, only for {', '.join(BACKENDS)}")
    return _load(BACKENDS[device.type])


@cache
def _load(module: str) -> Backend:
    """Imports a backend, once: it is asked for several times in every step."""
    backend: Backend = import_module(module).BACKEND
    return backend
