"""Networks of one layer on a GPU: block after block of centers, in memory that does not grow with the system."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from allegro_md.errors import ResourceError
from allegro_md.kernels.arguments import Atoms, Lists, Out
from allegro_md.kernels.cpu_single_layer_arrays import PackedSingleLayer
from allegro_md.kernels.gpu.single_layer import single_layer
from allegro_md.kernels.gpu.single_layer_arrays import CenterBlock, Workspace, allocate, divide, on_device
from allegro_md.state import DeviceArray

ROWS = 1 << 21
"""Listed pairs and centers of a block: enough to keep a GPU busy; some gigabytes."""


class GpuSingleLayer:
    """Evaluates centers on a GPU; nothing of a result depends on the size of the blocks.

    Attributes:
        rows: of a block; halved when memory runs out.
        table_bytes: memory of the tables there.
    """

    def __init__(
        self,
        model: PackedSingleLayer,
        cutoff2: NDArray[np.float64],
        repulsion: NDArray[np.float64],
        device: str,
        rows: int = ROWS,
    ) -> None:
        """Brings tables and matrices to the GPU.

        Args:
            model: as the kernel of the CPU reads it.
            cutoff2: (n, n) float64, Å², [center, neighbor].
            repulsion: (3, n, n) float64, of `cpu_repulsion`, or (3, 0, 0).
            device: as torch names it.
            rows: of a block.
        """
        self.rows = rows
        self._network = on_device(model, repulsion, device)
        self._cutoff2 = torch.from_numpy(np.array(cutoff2)).to(device)
        self.table_bytes = self._network.table.nbytes
        self._offsets: DeviceArray = None
        self._blocks: dict[tuple[int, int], list[CenterBlock]] = {}
        self._work: Workspace | None = None

    def __call__(
        self, atoms: Atoms, lists: Lists, longest: int, centers: tuple[int, int], out: Out, status: torch.Tensor
    ) -> None:
        """Computes energies, forces and virials of the centers from the first to before the last of `centers`.

        Args:
            atoms, lists, out: see `kernels.arguments`, of tensors on the GPU, but for the cell; `out.virial` and
                `out.centroid` without rows where they are not wanted. Lists that are new are other tensors.
            longest: length of the longest list.
            centers: the first, and the one after the last.
            status: (1,) int64, lowered to the first center whose forces are out of range.

        Raises:
            ResourceError: the smallest block does not fit into the memory of the GPU.
        """
        if lists.offsets is not self._offsets:
            self._offsets, self._blocks = lists.offsets, {}
        while True:
            if centers not in self._blocks:
                self._blocks[centers] = divide(lists, centers, self.rows)
            try:
                work = self._memory(self._blocks[centers])
                break
            except (torch.OutOfMemoryError, ValueError) as error:
                if self.rows <= longest:
                    raise ResourceError("allegro: out of memory for the smallest block of edges") from error
                self.rows, self._blocks = self.rows // 2, {}
        single_layer(atoms, lists, self._blocks[centers], self._cutoff2, self._network, work, out, status)

    def _memory(self, blocks: list[CenterBlock]) -> Workspace:
        """Memory for each of some blocks, a little more than they need, so that it lasts."""
        edges = max((block.pairs for block in blocks), default=0)
        centers = max((block.last - block.first for block in blocks), default=0)
        if self._work is None or len(self._work.vector) < edges or len(self._work.bounds) <= centers:
            self._work = None  # never both at once
            self._work = allocate(self._network, edges + edges // 16, centers + centers // 16)
        return self._work
