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
    n, device, centroid_wanted = state.n_local, state.device, "centroid_virial" in needs
    energy = torch.empty(n, dtype=torch.float64, device=device)
    virial = torch.empty((n, 6), dtype=torch.float64, device=device) if wants_virial(needs) else None
    centroid = torch.zeros((state.n_all, 9), dtype=torch.int64, device=device) if centroid_wanted else None
    failed = _run(name, parameters, state, lists, (energy, virial, centroid))
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


def _run(
    name: str,
    parameters: GpuParameters,
    state: AtomState,
    lists: NeighborList,
    results: tuple[torch.Tensor, torch.Tensor | None, torch.Tensor | None],
) -> int | None:
    """Packs the atoms and runs the kernel; `results`, see `arguments.Out`: energy, virial, centroid virial.

    Returns:
        The first center whose forces are out of range; None: there is none. This waits for the kernel.
    """
    n, n_all = state.n_local, state.n_all
    position, shift, species, force = (state.array_all(field) for field in ("position", "shift", "species", "force"))
    rows = torch.empty((n_all, 4), dtype=torch.float64, device=state.device)
    kernel("pair.cuh", "pack").over(n_all, n_all, position, shift, rows)
    atoms = rows, position, shift, species, state.cell.matrix, lists.offsets[: n + 1], lists.neighbors
    room = min(lists.longest, EDGE_TERMS) if parameters.edge_bytes else 0  # where edges are kept, more are out of range
    own = (*parameters.on(state), room) if parameters.edge_bytes else parameters.on(state)
    status = torch.full((2,), _NONE, dtype=torch.int32, device=state.device)
    threads, shared = _block(room * parameters.edge_bytes)
    run = kernel(f"{name}.cuh", f"{name}<{'false' if results[1] is None else 'true'}>")
    blocks = -(-n * _LANES // threads)
    run(blocks, n, *atoms, *own, force, *results, status, threads=threads, shared=shared)
    return next((center for center in status.tolist() if center != _NONE), None)


def _block(of_center: int) -> tuple[int, int]:
    """Threads of a block, and bytes of its shared memory, of which each center takes some."""
    threads = launch.threads_of_a_block
    while threads > 32 and threads // _LANES * of_center > _SMALL_MEMORY:
        threads //= 2
    return threads, threads // _LANES * of_center
