"""A folded network in the arrays of its kernel."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from allegro_md.kernels.cpu_activation import CODES
from allegro_md.kernels.cpu_collapsed import Sums, collapsed
from allegro_md.kernels.cpu_folded import TILE, Network, Work, allocate, folded
from allegro_md.models.fold import Fold

Array = NDArray[np.float64]


class Compiled:
    """Evaluates centers; nothing of a result depends on the size of the blocks.

    Attributes:
        kind: class of the model.
    """

    def __init__(self, fold: Fold, table: Array, real: type[np.floating[Any]], tiles: int = 1) -> None:
        """Puts tables and matrices into the precision of the evaluation.

        Args:
            fold: the folded network.
            table: of its radial functions (`radial.tabulate`).
            real: numpy.float32 or numpy.float64.
            tiles: per block, where the class needs blocks.
        """
        self.kind = fold.kind
        self._cutoff2, self._repulsion, self._tiles = fold.cutoffs**2, fold.repulsion, tiles
        per_spacing = table.shape[1] / fold.cutoffs
        rounded = np.ascontiguousarray(table.astype(real))
        self._model: Sums | Network
        if fold.kind == "collapsed":
            self._model = Sums(fold.degrees, fold.channels, per_spacing, fold.shifts, rounded)
        else:
            self._model = _network(fold, per_spacing, rounded)
        self._work: Work | None = None

    def __call__(
        self,
        position: Array,
        shift: NDArray[np.int32],
        species: NDArray[np.int16],
        h: Array,
        offsets: NDArray[np.int64],
        neighbors: NDArray[np.int32],
        force: NDArray[np.int64],
        energy: Array,
        virial: Array,
    ) -> int:
        """Energies, forces and virials of the centers; see `cpu_folded.folded` for the arguments and the status."""
        atoms = (position, shift, species, np.array(h), offsets, neighbors)  # writable, so kernels are compiled once
        if isinstance(self._model, Sums):
            cutoff = float(np.sqrt(self._cutoff2.max()))
            return int(collapsed(*atoms, cutoff, self._model, self._repulsion, force, energy, virial))
        widest = int(np.diff(offsets).max(initial=1))
        rows = max(self._tiles, -(-widest // TILE)) * TILE
        if self._work is None or len(self._work.vector) < rows:
            self._work = allocate(self._model, rows)
        return int(folded(*atoms, self._cutoff2, self._model, self._repulsion, self._work, force, energy, virial))


def _network(fold: Fold, per_spacing: Array, table: NDArray[Any]) -> Network:
    real = table.dtype
    starts, column = [], 2 * fold.degrees * fold.channels
    for level in fold.levels:
        starts.append(column if level.radial else -1)
        column += level.matrix.shape[1] if level.radial else 0
    cuts = np.array([level.cut for level in fold.levels])
    matrices = [level.matrix.astype(real) for level in fold.levels]
    return Network(
        degrees=fold.degrees, channels=fold.channels, shared=fold.shared, per_spacing=per_spacing,
        factors=fold.factors, shifts=fold.shifts, table=table, starts=np.array(starts, dtype=np.int64),
        cut_column=column if cuts.any() else -1, cuts=cuts,
        codes=np.array([CODES[level.activation] for level in fold.levels[:-1]], dtype=np.int64),
        fan_in=np.array([*(len(m) for m in matrices), 1], dtype=np.int64),
        matrices=np.concatenate([m.ravel() for m in matrices]),
        transposed=np.concatenate([m.T.ravel() for m in matrices]),
    )  # fmt: skip
