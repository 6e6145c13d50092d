"""Migration and halo of atoms whose arrays are tensors, by kernels of GPUs: the bits of those on the host.

mpirun -n 2 python device_atoms.py
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
from host_build import TURNS, on_gpu, on_host
from numpy.typing import NDArray
from systems import spread
from torture import Place, places

from allegro_md.backends import BACKENDS
from allegro_md.backends.base import Backend
from allegro_md.backends.cpu import lists
from allegro_md.backends.cuda import domain as device_domain
from allegro_md.backends.cuda import limits, steps, sums
from allegro_md.comm import Comm
from allegro_md.domain.halo import HaloExchange
from allegro_md.domain.migrate import assign_initial_owners, migrate
from allegro_md.domain.planes import decompose
from allegro_md.state import GROUP, WORK, AtomState

BACKEND = Backend(steps, sums, limits, lists, device_domain)

WHERE = ("cube", "tilted-far-away", "slab-free-x", "two-atoms-small-cell", "chain", "free", "faces-tilted")

Snapshot = dict[str, NDArray[Any]]


def atoms(place: Place, comm: Comm) -> AtomState:
    """A state with a number in every field that migrates."""
    rng = np.random.default_rng(3 + comm.rank)
    velocity = rng.normal(size=place.start.shape)
    state = spread(place.start, place.rows, place.periodic, comm, velocity, symbols=("Ar", "Kr"))
    for added in (GROUP, WORK):
        state.add_field(added)
    state.host_local("group")[:] = rng.integers(0, 2**62, state.n_local)
    state.host_local("work")[:] = rng.normal(size=state.n_local)
    return state


def snapshot(state: AtomState) -> Snapshot:
    """Copies of what atoms and ghosts hold."""
    kept = {name: state.host_local(name).copy() for name, field in state.fields.items() if field.migrates}
    return kept | {f"all {name}": state.host_all(name).copy() for name, field in state.fields.items() if field.halo}


def travels(place: Place, comm: Comm, put: Callable[[AtomState], AtomState]) -> list[Snapshot]:
    """Atoms come to their ranks, and after a while again, with ghosts that are given forces and move.

    Args:
        place: of the atoms.
        comm: all ranks.
        put: takes a state to the device.
    """
    state, rng, found = put(atoms(place, comm)), np.random.default_rng(7 + comm.rank), []
    for _ in range(2):
        domain = decompose(state, comm, None)
        migrate(state, domain, comm)
        halo = HaloExchange.build(state, domain, comm, place.cutoff + place.skin)
        found.append(snapshot(state))
        forces = rng.integers(-(2**40), 2**40, (state.n_all, 3))
        state.array_all("force")[...] = state.device_array(forces)
        halo.reverse_add(state.array_all("force"))
        state.array_local("position")[...] += state.device_array(rng.normal(scale=2.0, size=(state.n_local, 3)))
        halo.forward(state.array_all("position"))
        found.append(snapshot(state) | {"force": state.host_all("force").copy()})
    whole = put(atoms(place, Comm.serial()))  # every rank makes all atoms and keeps its own
    assign_initial_owners(whole, domain, comm)
    return [*found, snapshot(whole)]


def check(name: str, comm: Comm) -> None:
    """Compares all fields, in both turns of threads and blocks."""
    place = places()[name]
    wanted = travels(place, comm, lambda state: state)
    for turn in TURNS:
        with on_host(*turn), mock.patch.dict(BACKENDS, cpu=Path(__file__).stem):
            found = travels(place, comm, on_gpu)
        for step, (one, other) in enumerate(zip(wanted, found, strict=True)):
            assert one.keys() == other.keys()
            for field, values in one.items():
                assert values.dtype == other[field].dtype and np.array_equal(values, other[field]), (name, step, field)


def main() -> None:
    comm = Comm.world()
    for name in WHERE:
        with comm.collective_errors():  # each rank has made its part of all messages before it compares
            check(name, comm)
    if comm.rank == 0:
        print("the same bits", flush=True)


if __name__ == "__main__":
    main()
