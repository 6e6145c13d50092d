"""Choice of the atoms to check: next to the corners, edges and faces of each brick, of largest force, of every species.

The choice depends on positions, forces and ids only.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from allegro_md.state import AtomState

CHUNK = 1 << 15
"""Atoms looked at in one go: bounds the memory."""

_CORNERS = np.array([(0, 0, 0), (1, 1, 1), (1, 0, 0), (0, 1, 1), (0, 1, 0), (1, 0, 1), (0, 0, 1), (1, 1, 0)], float)
_OTHERS = np.array([(0, 0.5, 0.5), (0.5, 1, 1), (0.5, 0, 0.5), (1, 0.5, 0), (0.5, 0.5, 1), (0, 0, 0.5)])
TARGETS = np.stack([_CORNERS[:6], _OTHERS], axis=1).reshape(-1, 3)
"""Points of a brick that atoms are taken next to, most telling first; fractional."""


def scrambled(ids: NDArray[np.int64], salt: int) -> NDArray[np.uint64]:
    """Pseudorandom numbers, one per id in `ids` (n,): the finalizer of SplitMix64; G. L. Steele et al., OOPSLA 2014."""
    z = ids.astype(np.uint64) + np.uint64((salt + 1) * 0x9E3779B97F4A7C15 % 2**64)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(z ^ (z >> np.uint64(31)), dtype=np.uint64)


def directions(ids: NDArray[np.int64]) -> NDArray[np.float64]:
    """Components in [−1, 1), (n, 3), one vector per id in `ids` (n,), the same bits on every machine."""
    words = np.stack([scrambled(ids, salt) >> np.uint64(12) for salt in range(3)], axis=-1)
    return words.astype(np.float64) * 2.0**-51 - 1.0


def chunk_size(size: int, rank: int, total: int, most: int) -> int:
    """Number of samples of a rank: at most `most`, and about `total` on all ranks together."""
    if size > total:
        return int(rank * total // size != (rank + 1) * total // size)
    return min(most, total // size)


def choose(
    state: AtomState, lower: NDArray[np.float64], upper: NDArray[np.float64], count: int, rank: int
) -> NDArray[np.int64]:
    """Chooses rows of local atoms.

    Args:
        state: with forces.
        lower: (3,) fractional lower corner of the brick, −infinity allowed.
        upper: (3,) fractional upper corner, infinity allowed.
        count: how many at most.
        rank: of this rank; ranks with a single sample take it at different places.

    Returns:
        (≤ count,) distinct rows.
    """
    if state.n_local == 0 or count == 0:
        return np.zeros(0, dtype=np.int64)
    beside = _beside(state, lower, upper)
    spread = np.arange(0, state.n_local, max(1, state.n_local // 4096))
    spread = spread[np.argsort(scrambled(state.host_local("id")[spread], 0), kind="stable")]
    species = state.host_local("species")
    firsts = [int(np.argmax(species == s)) for s in np.flatnonzero(np.bincount(species))]
    hardest = _hardest(state)
    candidates = [beside[0], hardest, *firsts, *beside[1:], *spread.tolist()]
    if count == 1:
        candidates = candidates[rank % len(beside) :]
    return np.array(list(dict.fromkeys(candidates))[:count], dtype=np.int64)


def _hardest(state: AtomState) -> int:
    """The local atom with the largest component of force."""
    force = state.host_local("force")
    peaks = [int(np.abs(force[start : start + CHUNK]).max()) for start in range(0, len(force), CHUNK)]
    start = int(np.argmax(peaks)) * CHUNK
    return start + int(np.argmax(np.abs(force[start : start + CHUNK]).max(axis=1)))


def _beside(state: AtomState, lower: NDArray[np.float64], upper: NDArray[np.float64]) -> list[int]:
    """The local atom nearest to each target in the brick from `lower` (3,) to `upper` (3,), fractional."""
    bounded = np.isfinite(lower) & np.isfinite(upper)
    low, high = np.full(3, np.inf), np.full(3, -np.inf)
    if not bounded.all():
        for start in range(0, state.n_local, CHUNK):
            fraction = _fraction(state, start)
            low, high = np.minimum(low, fraction.min(axis=0)), np.maximum(high, fraction.max(axis=0))
    low, high = np.where(bounded, lower, low), np.where(bounded, upper, high)
    extent = np.maximum(high - low, 1e-12)
    size = extent * np.linalg.norm(state.cell.matrix, axis=1)
    nearest, rows = np.full(len(TARGETS), np.inf), np.zeros(len(TARGETS), dtype=np.int64)
    for start in range(0, state.n_local, CHUNK):
        place = (_fraction(state, start) - low) / extent
        squared = sum(((place[:, k, None] - TARGETS[:, k]) * size[k]) ** 2 for k in range(3))
        best = np.argmin(squared, axis=0)
        value = squared[best, np.arange(len(TARGETS))]
        rows = np.where(value < nearest, best + start, rows)
        nearest = np.minimum(value, nearest)
    return [int(row) for row in rows]


def _fraction(state: AtomState, start: int) -> NDArray[np.float64]:
    """Fractional places of a chunk of local atoms."""
    rows = slice(start, min(start + CHUNK, state.n_local))
    position, shift = state.host_local("position")[rows], state.host_local("shift")[rows]
    fraction = np.linalg.solve(state.cell.matrix.T, (position - state.cell.origin).T).T + shift
    return np.asarray(fraction, dtype=np.float64)
