"""Random data of one block of edges, for tests of kernels of GPUs beside those of CPUs."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from allegro_md.kernels.cpu_aligned import aligned_zeros
from allegro_md.kernels.cpu_single_layer_arrays import BLOCK_ROWS, PackedSingleLayer, Workspace, allocate
from allegro_md.kernels.gpu.launch import kernel

REALS: dict[str, type[np.floating[Any]]] = {"float": np.float32, "double": np.float64}
BOUNDS = np.array([0, 7, 7, 8, 26, 40])
"""First edges of five centers, one of them without; and how many edges there are."""

EDGES, CENTERS = int(BOUNDS[-1]), len(BOUNDS) - 1


def small_network(degrees: int, channels: int, shared: bool, real: Any) -> PackedSingleLayer:
    """A network of two species with a random table, and without levels."""
    rng = np.random.default_rng(degrees)
    lanes, of_degrees = 64 // np.dtype(real).itemsize, degrees * channels
    table = aligned_zeros((4, 9, 4, 2 * of_degrees + lanes), real)
    table[...] = rng.normal(size=table.shape)
    whole = np.array([channels if shared else of_degrees])
    none = aligned_zeros((lanes,), real)
    return PackedSingleLayer(
        degrees, channels, shared, rng.uniform(2.0, 2.3, (2, 2)), np.ones(2), np.zeros(2), table, np.array([-1]), -1,
        np.array([False]), np.zeros(0, np.int64), whole, whole, none, none, none,
    )  # fmt: skip


def filled_workspace(network: PackedSingleLayer) -> Workspace:
    """Memory of a block whose arrays of numbers are random, and whose edges are those of `BOUNDS`."""
    rng, work = np.random.default_rng(5), allocate(network, BLOCK_ROWS)
    for array in work:
        if array.dtype.kind == "f":
            array[...] = rng.normal(size=array.shape)
    work.bounds[: CENTERS + 1] = BOUNDS
    work.center[:EDGES] = np.repeat(np.arange(CENTERS), np.diff(BOUNDS))
    work.center[EDGES:] = CENTERS
    work.neighbor[:EDGES] = rng.integers(0, 30, EDGES)
    return work


def poison(like: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """An array of the same shape that is to be written."""
    return np.full_like(like, np.nan)


def run(file: str, name: str, threads: int, *arguments: Any) -> None:
    """Launches a kernel with a thread for each of so many elements, arrays as tensors in the same memory."""
    kernel(file, name).over(threads, *(torch.from_numpy(a) if isinstance(a, np.ndarray) else a for a in arguments))
