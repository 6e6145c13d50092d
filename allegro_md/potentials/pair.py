"""Runs a pair kernel on a state: the part that lj, zbl and eam share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from allegro_md.errors import PhysicsError
from allegro_md.kernels.arguments import Atoms, Lists, Out
from allegro_md.kernels.fixed import FINE
from allegro_md.neighbors.list import NeighborList
from allegro_md.potentials.base import ForceResult, Virial
from allegro_md.state import AtomState


def evaluate(
    name: str,
    kernel: Callable[..., int],
    parameters: tuple[Any, ...],
    state: AtomState,
    neighbors: NeighborList,
    virial: Virial,
) -> ForceResult:
    """Calls ``kernel(atoms, lists, *parameters, out)``.

    Args:
        name: of the potential, for the error message.
        kernel: one of `allegro_md.kernels`; runs on the host.
        parameters: its cutoff and tables.
        state: receives the forces.
        neighbors: list of the own atoms.
        virial: what is wanted of it.

    Raises:
        PhysicsError: a force is not finite or out of range; names the atom.
    """
    force = state.all("force")
    quanta = force.cpu()  # the same memory where the state is on the host
    energy = np.empty(neighbors.n_centers)
    virials = np.empty((neighbors.n_centers if virial else 0, 6))
    position, shift, species = (state.all(name).cpu().numpy() for name in ("position", "shift", "species"))
    atoms, lists = Atoms(position, shift, species, state.cell.matrix), Lists(neighbors.offsets, neighbors.neighbors)
    status = kernel(atoms, lists, *parameters, Out(quanta.numpy(), energy, virials))
    if status != FINE:
        center = int(status)
        raise PhysicsError(_complaint(name, center, state, neighbors), [int(state.all("id")[center])])
    if quanta is not force:
        force.copy_(quanta)
    return ForceResult.of(energy, virials, virial, state)


def _complaint(name: str, center: int, state: AtomState, neighbors: NeighborList) -> str:
    """Which atom, and how close its nearest neighbor is."""
    position, shift = state.all("position").cpu().numpy(), state.all("shift").cpu().numpy()
    near = neighbors.neighbors[neighbors.offsets[center] : neighbors.offsets[center + 1]]
    d = position[near] - position[center] + (shift[near] - shift[center]) @ state.cell.matrix
    r = np.linalg.norm(d, axis=1)
    where = ""
    if len(r) and np.isfinite(r).all():
        other = near[int(np.argmin(r))]
        where = f"; its nearest neighbor, atom {int(state.all('id')[other])}, is {r.min():.4g} Å away"
    return f"{name}: the forces on atom {int(state.all('id')[center])} are not finite or out of range{where}"
