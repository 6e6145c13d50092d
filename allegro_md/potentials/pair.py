"""Runs a pair kernel on a state: the part that lj, zbl and eam share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

import numpy as np

from allegro_md.errors import PhysicsError
from allegro_md.evaluation import Evaluation, Needs, centroid_rows, wants_virial
from allegro_md.kernels.arguments import Out
from allegro_md.kernels.fixed import FINE
from allegro_md.kernels.pair import pack
from allegro_md.neighbors.list import NeighborList
from allegro_md.potentials.base import host_arguments
from allegro_md.potentials.parts import Parts
from allegro_md.state import HOST, AtomState

PACKED = 32.0
"""Bytes per local + ghost atom that the kernels pack for an evaluation."""

_ON_GPU = "allegro_md.potentials.gpu_pair"  # loads torch


@dataclass(frozen=True, eq=False)
class GpuParameters:
    """Parameters of the kernel of a potential in ``kernels/gpu``.

    Attributes:
        values: numbers, and arrays of the host, in the order of the kernel.
        edge_bytes: shared memory per neighbor of a center; 0: the kernel keeps no edges. Else the number of edges that
            a center has place for follows the values.
    """

    values: tuple[Any, ...]
    edge_bytes: int = 0
    _copies: dict[str, tuple[Any, ...]] = field(default_factory=dict)

    def on(self, state: AtomState) -> tuple[Any, ...]:
        """The values, arrays on the device of a state: they are copied once."""
        if state.device not in self._copies:
            self._copies[state.device] = tuple(
                state.device_array(value) if isinstance(value, np.ndarray) else value for value in self.values
            )
        return self._copies[state.device]


def evaluate(
    name: str,
    kernel: Callable[..., int],
    parameters: tuple[Any, ...],
    on_gpu: GpuParameters,
    state: AtomState,
    lists: NeighborList,
    needs: Needs,
    parts: Parts,
) -> Evaluation:
    """Calls ``kernel(atoms, lists, rows, centers, *parameters, out)`` for each part; on a GPU see `gpu_pair`.

    Args:
        name: of the potential, for the error message.
        kernel: one of `allegro_md.kernels`; runs on the host.
        parameters: its cutoff and tables.
        on_gpu: those of the kernel of GPUs.
        state: receives the forces.
        lists: neighbors of the local atoms.
        needs: of the evaluation.
        parts: the centers.

    Raises:
        PhysicsError: a force is not finite or out of range; names the atom.
    """
    if state.device != HOST:
        result: Evaluation = import_module(_ON_GPU).evaluate(name, on_gpu, state, lists, needs, parts)
        return result
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
        out = Out(state.array_all("force"), energy[own], virial[own], centroid)
        status = kernel(atoms, pairs, rows, centers, *parameters, out)
        if status != FINE:
            raise out_of_range(name, int(status), state, lists)
    return Evaluation.of(state, needs, energy, virial, centroid)


def out_of_range(name: str, center: int, state: AtomState, lists: NeighborList) -> PhysicsError:
    """Names the atom with forces that are not finite or out of range, and the distance of its nearest neighbor.

    Args:
        name: of the potential.
        center: index of the atom.
        state: all atoms.
        lists: neighbors of the local atoms.
    """
    atoms, (offsets, neighbors) = host_arguments(state, lists)
    near = neighbors[offsets[center] : offsets[center + 1]]
    d = atoms.position[near] - atoms.position[center] + (atoms.shift[near] - atoms.shift[center]) @ atoms.cell
    r, ids, where = np.linalg.norm(d, axis=1), state.host_all("id"), ""
    if len(r) and np.isfinite(r).all():
        other = near[int(np.argmin(r))]
        where = f"; its nearest neighbor, atom {int(ids[other])}, is {r.min():.4g} Å away"
    atom = int(ids[center])
    return PhysicsError(f"{name}: the forces on atom {atom} are not finite or out of range{where}", [atom])
