"""Runs a pair kernel on a state: the part that lj, zbl and eam share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from allegro_md.errors import PhysicsError
from allegro_md.evaluation import Evaluation, Needs, centroid_rows, wants_virial
from allegro_md.kernels.arguments import Atoms, Lists, Out
from allegro_md.kernels.fixed import FINE
from allegro_md.kernels.pair import pack
from allegro_md.neighbors.list import NeighborList
from allegro_md.potentials.base import host_arguments
from allegro_md.potentials.parts import Parts
from allegro_md.state import AtomState, on_host

PACKED = 32.0
"""Bytes per local + ghost atom that the kernels pack for an evaluation."""


def evaluate(
    name: str,
    kernel: Callable[..., int],
    parameters: tuple[Any, ...],
    state: AtomState,
    lists: NeighborList,
    needs: Needs,
    parts: Parts,
) -> Evaluation:
    """Calls ``kernel(atoms, lists, rows, centers, *parameters, out)`` for each part.

    Args:
        name: of the potential, for the error message.
        kernel: one of `allegro_md.kernels`; runs on the host.
        parameters: its cutoff and tables.
        state: receives the forces.
        lists: neighbors of the local atoms.
        needs: of the evaluation.
        parts: the centers.

    Raises:
        PhysicsError: a force is not finite or out of range; names the atom.
    """
    force = state.array_all("force")
    host_force = on_host(force)  # the same memory where the state is on the host
    n = state.n_local
    energy, virial = np.empty(n), np.empty((0, 6))
    if wants_virial(needs):
        virial = np.empty((n, 6)) if "virial_per_atom" in needs else lists.virials(n)
    centroid = centroid_rows(state, needs)
    atoms, pairs = host_arguments(state, lists)
    rows = np.empty((len(atoms.position), 4))
    if parts.early[0] < parts.early[1]:  # vectors of eight reach beyond a center's list, to ghosts that have not come
        rows[parts.first_remote :] = 0.0
    for centers, come in parts:
        pack(atoms, come, rows)
        own = slice(*centers)
        out = Out(host_force, energy[own], virial[own], centroid)
        status = kernel(atoms, pairs, rows, centers, *parameters, out)
        if status != FINE:
            center = int(status)
            raise PhysicsError(_complaint(name, center, state, atoms, pairs), [int(state.array_all("id")[center])])
    if host_force is not force:
        force[...] = state.device_array(host_force)
    return Evaluation.of(state, needs, energy, virial, centroid)


def _complaint(name: str, center: int, state: AtomState, atoms: Atoms, lists: Lists) -> str:
    """Names the atom, and the distance of its nearest neighbor."""
    near = lists.neighbors[lists.offsets[center] : lists.offsets[center + 1]]
    d = atoms.position[near] - atoms.position[center] + (atoms.shift[near] - atoms.shift[center]) @ atoms.cell
    r = np.linalg.norm(d, axis=1)
    where = ""
    if len(r) and np.isfinite(r).all():
        other = near[int(np.argmin(r))]
        where = f"; its nearest neighbor, atom {int(state.array_all('id')[other])}, is {r.min():.4g} Å away"
    return f"{name}: the forces on atom {int(state.array_all('id')[center])} are not finite or out of range{where}"
