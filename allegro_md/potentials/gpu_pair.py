"""Evaluates a pair potential by its kernel of ``kernels/gpu``, on the device of a state."""

from __future__ import annotations

import torch

from allegro_md.backends.cuda import sums
from allegro_md.evaluation import Evaluation, Needs, wants_virial
from allegro_md.kernels.fixed import EDGE_TERMS
from allegro_md.kernels.gpu import launch
from allegro_md.kernels.gpu.launch import kernel
from allegro_md.neighbors.list import NeighborList
from allegro_md.potentials.pair import GpuParameters, out_of_range
from allegro_md.potentials.parts import Parts
from allegro_md.state import AtomState

_LANES = 8
"""Threads that share a center."""

_SMALL_MEMORY = 48 * 1024
"""Bytes of shared memory that every block can have; small blocks take more where one center's edges ask for it."""

_NONE = 2**31 - 1
"""Index of no center."""


def evaluate(
    name: str, parameters: GpuParameters, state: AtomState, lists: NeighborList, needs: Needs, parts: Parts
) -> Evaluation:
    """Evaluates all centers at once, between the arrival of ghosts and the departure of their forces.

    Args:
        name: of the potential: its kernel is in ``NAME.cuh``.
        parameters: of the kernel.
        state: receives the forces.
        lists: neighbors of the local atoms.
        needs: of the evaluation.
        parts: what happens before and after.

    Raises:
        PhysicsError: a force is not finite or out of range; names the atom.
    """
    parts.arrive()
    n, device, with_virial = state.n_local, state.device, wants_virial(needs)
    energy = torch.empty(n, dtype=torch.float64, device=device)
    virial = torch.empty((n, 6), dtype=torch.float64, device=device) if with_virial else None
    with_centroid = "centroid_virial" in needs
    centroid = torch.zeros((state.n_all, 9), dtype=torch.int64, device=device) if with_centroid else None
    status = torch.full((2,), _NONE, dtype=torch.int32, device=device)
    position, shift, species, force = (state.array_all(field) for field in ("position", "shift", "species", "force"))
    rows = torch.empty((state.n_all, 4), dtype=torch.float64, device=device)
    kernel("pair.cuh", "pack").over(state.n_all, state.n_all, position, shift, rows)
    atoms = rows, position, shift, species, state.cell.matrix, lists.offsets[: n + 1], lists.neighbors
    own, (threads, shared) = parameters.on(state), _block(parameters.edge_bytes, lists)
    if parameters.edge_bytes:
        own = *own, _room(lists)
    run = kernel(f"{name}.cuh", f"{name}<{str(with_virial).lower()}>")
    blocks = -(-n * _LANES // threads)
    run(blocks, n, *atoms, *own, force, energy, virial, centroid, status, threads=threads, shared=shared)
    failed = next((center for center in status.tolist() if center != _NONE), None)
    if failed is not None:
        raise out_of_range(name, failed, state, lists)
    parts.depart()
    result = Evaluation({"energy": energy})
    if virial is not None:
        result.totals["virial"] = sums.summed(virial, "virial", state)
        if "virial_per_atom" in needs:
            result.per_atom["virial_per_atom"] = virial
    if centroid is not None:
        result.per_atom["centroid_virial"] = centroid
    return result


def _room(lists: NeighborList) -> int:
    """Edges that a center has place for in shared memory; more than `EDGE_TERMS` are out of range."""
    return min(lists.longest, EDGE_TERMS)


def _block(edge_bytes: int, lists: NeighborList) -> tuple[int, int]:
    """Threads of a block, and bytes of its shared memory."""
    threads, of_center = launch.threads_of_a_block, edge_bytes * _room(lists)
    while threads > 32 and threads // _LANES * of_center > _SMALL_MEMORY:
        threads //= 2
    return threads, threads // _LANES * of_center
