"""A folded network in the arrays of its kernel.

Arguments: per_spacing (n, n) float64 1/Å; table (n · n, intervals, 4, columns) float32 or float64; array (…). Those of
a system: position (n_all, 3) Å, shift (n_all, 3), species (n_all,), h (3, 3) Å, offsets (n_centers + 1,), neighbors
(pairs,); force (n_all, 3) in fixed-point units, energy (n_centers,) eV and virial (n_centers, 6) eV are written.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from allegro_md.errors import ResourceError
from allegro_md.kernels import cpu_multi_layer_arrays, cpu_single_layer_arrays
from allegro_md.kernels.arguments import Atoms, Lists, Out
from allegro_md.kernels.cpu_activation import CODES
from allegro_md.kernels.cpu_aligned import aligned
from allegro_md.kernels.cpu_bilinear import bilinear
from allegro_md.kernels.cpu_bilinear_lanes import PackedBilinear
from allegro_md.kernels.cpu_matrix import packed, whole
from allegro_md.kernels.cpu_multi_layer import multi_layer
from allegro_md.kernels.cpu_multi_layer_arrays import MultiLayerWorkspace, PackedMultiLayer
from allegro_md.kernels.cpu_single_layer import single_layer
from allegro_md.kernels.cpu_single_layer_arrays import BLOCK_ROWS, PackedSingleLayer, Workspace
from allegro_md.kernels.cpu_vector import LANES
from allegro_md.models.fused.fold import Fold
from allegro_md.models.fused.gpu import GpuEvaluator
from allegro_md.models.fused.gpu_single_layer import GpuSingleLayer
from allegro_md.models.fused.packing_multi_layer import pack_multi_layer

Array = NDArray[np.float64]


class FusedEvaluator:
    """Evaluates centers; nothing of a result depends on the size of the blocks.

    Attributes:
        kind: class of the model.
        tiles: of the largest block, where the class needs blocks; halved when memory runs out.
        table_bytes: memory of the tables.
    """

    def __init__(self, fold: Fold, table: Array, real: type[np.floating[Any]], tiles: int = 1) -> None:
        """Puts tables and matrices into the precision of the evaluation.

        Args:
            fold: the folded network.
            table: (n · n, intervals, 4, columns) float64, of its radial functions (`splines.tabulate`).
            real: numpy.float32 or numpy.float64.
            tiles: per block, where the class needs blocks.
        """
        self.kind, self.tiles = fold.kind, tiles
        self._cutoff2, self._repulsion = fold.cutoffs**2, fold.repulsion
        self._cutoff = float(np.sqrt(self._cutoff2.max()))
        per_spacing = table.shape[1] / fold.cutoffs
        rounded = np.ascontiguousarray(table.astype(real))
        self._model: PackedBilinear | PackedSingleLayer | PackedMultiLayer
        if fold.layers is not None:
            self._model = pack_multi_layer(fold, fold.layers, per_spacing, rounded)
        elif fold.kind == "bilinear":
            lanes = aligned(_filled(rounded, 3, _whole(rounded.shape[3])))
            self._model = PackedBilinear(fold.degrees, fold.channels, per_spacing, fold.shifts, lanes)
        else:
            self._model = pack_single_layer(fold, per_spacing, rounded)
        self.table_bytes = self._model.table.nbytes
        self._work: Workspace | MultiLayerWorkspace | None = None
        self._on_devices: dict[str, GpuEvaluator | GpuSingleLayer] = {}

    def resize(self, tiles: int) -> None:
        """Blocks of another size from now on."""
        self.tiles, self._work = tiles, None

    def __call__(
        self,
        atoms: Atoms,
        lists: Lists,
        centers: tuple[int, int],
        out: Out,
    ) -> int:
        """Computes energies, forces and virials of the centers from the first to before the last of `centers`.

        Args:
            atoms, lists, out: see `kernels.arguments`; species are indices into those of the fold.
            centers: the first, and the one after the last.

        Returns:
            `fixed.FINE`, or the first center whose forces are out of range.
        """
        atoms = atoms._replace(cell=np.array(atoms.cell))  # writable, so kernels are compiled once
        if isinstance(self._model, PackedBilinear):
            return int(bilinear(atoms, lists, centers, self._cutoff, self._model, self._repulsion, out))
        work = self._memory(int(np.diff(lists.offsets[centers[0] : centers[1] + 1]).max(initial=1)))
        kernel = multi_layer if isinstance(self._model, PackedMultiLayer) else single_layer
        return int(kernel(atoms, lists, centers, self._cutoff2, self._model, self._repulsion, work, out))

    @property
    def gpu_obstacle(self) -> str | None:
        """Names the reason why it cannot be evaluated on a GPU; None if it can."""
        if isinstance(self._model, PackedMultiLayer):
            return f"it is a {self.kind} network, and only bilinear and single-layer ones can"
        return None

    def on_device(self, device: str) -> GpuEvaluator | GpuSingleLayer:
        """The same on a GPU, as torch names it; where there is no `gpu_obstacle`."""
        if device not in self._on_devices:
            evaluator: GpuEvaluator | GpuSingleLayer
            if isinstance(self._model, PackedBilinear):
                evaluator = GpuEvaluator(self._model, self._cutoff, self._repulsion, device)
            else:
                assert isinstance(self._model, PackedSingleLayer)
                evaluator = GpuSingleLayer(self._model, self._cutoff2, self._repulsion, device)
            self._on_devices[device] = evaluator
        return self._on_devices[device]

    def _memory(self, widest: int) -> Workspace | MultiLayerWorkspace:
        """Of one block with room for a center of so many neighbors; of half the tiles when memory runs out.

        Raises:
            ResourceError: not even that center fits.
        """
        least = -(-widest // BLOCK_ROWS)
        while self._work is None or len(self._work.vector) < max(self.tiles, least) * BLOCK_ROWS:
            self._work = None  # never both at once
            try:
                self._work = allocate(self._model, max(self.tiles, least) * BLOCK_ROWS)
            except MemoryError as error:
                if self.tiles <= least:
                    raise ResourceError("allegro: out of memory for the smallest block of edges") from error
                self.tiles //= 2
        return self._work


def allocate(
    model: PackedBilinear | PackedSingleLayer | PackedMultiLayer, rows: int
) -> Workspace | MultiLayerWorkspace:
    """Memory for blocks of at most `rows` edges."""
    if isinstance(model, PackedMultiLayer):
        return cpu_multi_layer_arrays.allocate(model, rows)
    assert isinstance(model, PackedSingleLayer)
    return cpu_single_layer_arrays.allocate(model, rows)


def pack_single_layer(fold: Fold, per_spacing: Array, table: NDArray[Any]) -> PackedSingleLayer:
    """Fills up channels and widths to whole vectors, with zeros that give zeros.

    Args:
        fold: the network.
        per_spacing: (n, n) float64, 1/Å.
        table: (n · n, intervals, 4, columns) float32 or float64.
    """
    real = table.dtype
    d, c, w = fold.degrees, fold.channels, whole(fold.channels, real)
    columns = [_filled(table[..., : 2 * d * c].reshape(*table.shape[:3], 2 * d, c), 4, w).reshape(*table.shape[:3], -1)]
    starts, at, column = [], 2 * d * c, d * w
    for level in fold.levels:
        starts.append(column if level.radial else -1)
        if level.radial:
            width = level.matrix.shape[1]
            columns.append(_filled(table[..., at : at + width], 3, whole(width, real)))
            at, column = at + width, column + whole(width, real)
    columns.append(_filled(table[..., at:], 3, whole(table.shape[3] - at, real)))
    cuts = np.array([level.cut for level in fold.levels])
    first = fold.levels[0].matrix
    by_channel = _filled(first.reshape(1 if fold.shared else d, c, -1), 1, w).reshape(-1, first.shape[1])
    matrices = [m.astype(real) for m in (by_channel, *(level.matrix for level in fold.levels[1:]))]
    fan_in = np.array([len(m) for m in matrices])
    widths = np.array([whole(n, real) for n in fan_in])
    forward = [packed(_filled(m, 1, n)) for m, n in zip(matrices[:-1], widths[1:], strict=True)]
    back = [packed(_filled(m.T, 1, n)) for m, n in zip(matrices[:-1], widths[:-1], strict=True)]
    return PackedSingleLayer(
        degrees=d, channels=w, shared=fold.shared, per_spacing=per_spacing, factors=fold.factors, shifts=fold.shifts,
        table=aligned(np.concatenate(columns, axis=3)), starts=np.array(starts, dtype=np.int64),
        cut_column=column if cuts.any() else -1, cuts=cuts,
        codes=np.array([CODES[level.activation] for level in fold.levels[:-1]], dtype=np.int64),
        fan_in=fan_in, widths=widths, matrices=aligned(np.concatenate(forward)),
        transposed=aligned(np.concatenate(back)), last=aligned(_filled(matrices[-1][:, 0], 0, widths[-1])),
    )


def _whole(width: int) -> int:
    """The next whole number of vectors."""
    return -(-width // LANES) * LANES


def _filled(array: NDArray[Any], axis: int, width: int) -> NDArray[Any]:
    """Fills up an axis to `width` with zeros."""
    return np.pad(array, [(0, width - n if k == axis else 0) for k, n in enumerate(array.shape)])
