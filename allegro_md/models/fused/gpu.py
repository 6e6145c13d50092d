"""A folded bilinear network on a GPU: `packing.FusedEvaluator` for tensors, with the same bits."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from allegro_md.errors import ResourceError
from allegro_md.kernels.arguments import Atoms, Lists, Out
from allegro_md.kernels.cpu_bilinear_lanes import PackedBilinear
from allegro_md.kernels.cpu_vector import LANES
from allegro_md.kernels.gpu.launch import kernel

NO_CENTER = 2**62
"""Status where the forces of all centers are in range."""

_FAST_MEMORY, _MOST_MEMORY = 48 * 1024, 99 * 1024
"""Bytes of shared memory of a block: up to these several blocks share a multiprocessor; more not every GPU has."""


class GpuEvaluator:
    """Evaluates centers on a GPU.

    Attributes:
        table_bytes: memory of the tables there.
    """

    def __init__(self, model: PackedBilinear, cutoff: float, repulsion: NDArray[np.float64], device: str) -> None:
        """Brings the tables to the GPU.

        Args:
            model: as the kernel of the CPU reads it.
            cutoff: Å, the largest.
            repulsion: (3, n, n) float64, of `cpu_repulsion`, or (3, 0, 0).
            device: as torch names it.
        """
        functions = 2 * model.degrees * model.channels + 1
        rows = np.ascontiguousarray(model.table[..., :functions].transpose(0, 1, 3, 2))
        self._table, self._per_spacing, self._shifts, pairs = (
            torch.from_numpy(np.array(each)).to(device) for each in (rows, model.per_spacing, model.shifts, repulsion)
        )
        self._repulsion = pairs if repulsion.shape[1] else None
        self._cutoff2, self._intervals, self._kinds = cutoff * cutoff, model.table.shape[1], len(model.shifts)
        self._bytes_of_sums = 2 * model.degrees**2 * model.channels * rows.itemsize
        real = {4: "float", 8: "double"}[rows.itemsize]
        repels = "false" if self._repulsion is None else "true"
        self._kernel = kernel("bilinear.cuh", f"bilinear<{real},{model.degrees},{model.channels},{repels}>")
        self.table_bytes = self._table.nbytes

    def __call__(
        self, atoms: Atoms, lists: Lists, longest: int, centers: tuple[int, int], out: Out, status: torch.Tensor
    ) -> None:
        """Computes energies, forces and virials of the centers from the first to before the last of `centers`.

        Args:
            atoms, lists, out: see `kernels.arguments`, of tensors on the GPU, but for the cell; `out.virial` and
                `out.centroid` without rows where they are not wanted.
            longest: length of the longest list.
            centers: the first, and the one after the last.
            status: (1,) int64, lowered to the first center whose forces are out of range; see `NO_CENTER`.

        Raises:
            ResourceError: a center has more listed neighbors than fit into the memory of a block.
        """
        first, last = centers
        virial, centroid = (each if len(each) else None for each in (out.virial, out.centroid))
        threads, shared = self._block(longest, virial is not None)
        self._kernel(
            -(-(last - first) // (threads // LANES)),
            first, last, atoms.position, atoms.shift, atoms.species, atoms.cell, lists.offsets, lists.neighbors,
            self._cutoff2, self._kinds, self._per_spacing, self._shifts, self._intervals, self._table,
            self._repulsion, longest, out.force, out.energy, virial, centroid, status, threads=threads, shared=shared,
        )  # fmt: skip

    def _block(self, longest: int, virial: bool) -> tuple[int, int]:
        """Threads of a block, and bytes of its shared memory: the edges and the sums of each of its centers."""
        bytes_of_edge = 3 * 8 * (2 if virial else 1) + 4  # vector, gradient, index of the neighbor
        of_center = longest * bytes_of_edge + self._bytes_of_sums
        threads = 256
        while threads > 32 and threads // LANES * of_center > _FAST_MEMORY:
            threads //= 2
        if threads // LANES * of_center > _MOST_MEMORY:
            most = (_MOST_MEMORY * LANES // 32 - self._bytes_of_sums) // bytes_of_edge
            raise ResourceError(f"allegro: an atom has {longest} listed neighbors; on a GPU it may have {most}")
        return threads, threads // LANES * of_center
