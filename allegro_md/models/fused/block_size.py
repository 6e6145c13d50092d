"""The size of blocks that is evaluated fastest here, found by trying; no result depends on it."""

from __future__ import annotations

import time

from allegro_md.kernels.cpu_single_layer_arrays import BLOCK_ROWS
from allegro_md.models.fused.accuracy import Environments, environments, folded_forces
from allegro_md.models.fused.fold import Fold
from allegro_md.models.fused.packing import FusedEvaluator

MOST = 8
"""Tiles of the largest block that is tried."""

GAIN = 0.97
"""Of the time with half as many tiles: what larger blocks must stay below to be worth their memory."""


def size_blocks(model: FusedEvaluator, fold: Fold, usual: float) -> None:
    """Doubles the blocks of a model as long as that is faster; some milliseconds.

    Args:
        model: to be given the size.
        fold: what it was made from.
        usual: mean number of neighbors.
    """
    sample = environments(fold, usual, centers=1 + int(2 * MOST * BLOCK_ROWS / (1.0 + usual)))
    tiles, best = 1, _seconds(model, sample, 1)
    while tiles < MOST and (seconds := _seconds(model, sample, 2 * tiles)) < GAIN * best:
        tiles, best = 2 * tiles, seconds
    model.resize(tiles)


def _seconds(model: FusedEvaluator, sample: Environments, tiles: int) -> float:
    """The shorter of two evaluations, after one that allocates."""
    model.resize(tiles)
    folded_forces(model, sample)
    taken = []
    for _ in range(2):
        began = time.perf_counter()
        folded_forces(model, sample)
        taken.append(time.perf_counter() - began)
    return min(taken)
