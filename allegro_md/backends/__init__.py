"""Work on the per-atom arrays of a state, one folder per kind of device.

What goes over atoms in every step or at every rebuild is here. `integrators/steps.py`, `observables.py`, `guards.py`,
`neighbors/` and `domain/` call it; of a device they know only that messages between ranks are in host memory. A
potential chooses its engine itself.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module

from allegro_md.backends.base import Backend
from allegro_md.state import HOST

BACKENDS: dict[str, str] = {HOST: "allegro_md.backends.cpu", "cuda": "allegro_md.backends.cuda"}
"""By torch's name of a device or its kind ("cuda" of "cuda:1"): the module with the `base.Backend` as ``BACKEND``."""


def backend_for(device: str) -> Backend:
    """Returns the backend of a device, `AtomState.device`.

    Raises:
        ValueError: there is none for this kind of device.
    """
    kind = device.partition(":")[0]
    module = BACKENDS.get(device) or BACKENDS.get(kind)
    if module is None:
        raise ValueError(f"there is no backend for {kind}, only for {', '.join(BACKENDS)}")
    return _load(module)


@cache
def _load(module: str) -> Backend:
    """Imports a backend, once: it is asked for several times in every step."""
    backend: Backend = import_module(module).BACKEND
    return backend
