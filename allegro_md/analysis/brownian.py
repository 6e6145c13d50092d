"""Covariance of the mean square displacement of Brownian motion at several lags, from overlapping origins.

Displacements over two intervals of time that overlap by o have, per component, the covariance σ² o, and their squares
2 σ⁴ o². The covariance of two means is that of all pairs of intervals. Qian, Sheetz and Elson, Biophys. J. 60, 910
(1991); Michalet, Phys. Rev. E 82, 041914 (2010); McCluskey, Coles and Morgan, J. Chem. Theory Comput. 21, 79 (2025).
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

MOST_OFFSETS = 20_000
"""Offsets between the intervals of two lags that are summed one by one; of more, equally spaced ones."""


def covariance(
    lags: NDArray[np.int64], strides: NDArray[np.int64], n_samples: int, window: bool = False
) -> NDArray[np.float64]:
    """Covariance matrix of the MSD of one walker in one dimension, whose variance per sample is 1.

    Args:
        lags: (n,) int64, in samples, ascending; multiples of their strides.
        strides: (n,) int64, samples between the origins of each lag; each divides the next.
        n_samples: of the walk.
        window: the samples are the middle of a longer walk, and intervals count that end among them.

    Returns:
        (n, n) float64; NaN for lags without an interval.
    """
    found = np.empty((len(lags), len(lags)))
    each = list(zip(lags.tolist(), strides.tolist(), strict=True))
    for j, first in enumerate(each):
        for k, second in enumerate(each[j:], j):
            found[j, k] = found[k, j] = _pair(first, second, n_samples, window)
    return found


def variances(
    lags: NDArray[np.int64], strides: NDArray[np.int64], n_samples: int, window: bool = False
) -> NDArray[np.float64]:
    """(n,) float64, the diagonal of `covariance`; `lags` (n,) and `strides` (n,) int64 as there."""
    each = zip(lags.tolist(), strides.tolist(), strict=True)
    return np.array([_pair(one, one, n_samples, window) for one in each])


@lru_cache(maxsize=10_000)  # groups of atoms have the same lags
def _pair(first: tuple[int, int], second: tuple[int, int], n_samples: int, window: bool) -> float:
    """Covariance at two lags, given with their strides, of which the second is a multiple of the first."""
    (tau, fine), (other, coarse), last = first, second, n_samples - 1
    begin = [0 if window else lag for lag in (tau, other)]  # of the ends of intervals
    counts = [last // stride - -(-low // stride) + 1 for stride, low in zip((fine, coarse), begin, strict=True)]
    if min(counts) <= 0:
        return float("nan")
    offsets = np.arange(-((tau - 1) // fine), (other - 1) // fine + 1, dtype=np.int64) * fine
    weight = -(-len(offsets) // MOST_OFFSETS)
    offsets = offsets[::weight]
    overlap = np.minimum(0, offsets) - np.maximum(-tau, offsets - other)
    low, high = np.maximum(begin[1], begin[0] + offsets), np.minimum(last, last + offsets)
    pairs = np.maximum(high // coarse - -(-low // coarse) + 1, 0)
    return float(2.0 * weight * np.sum(pairs * overlap.astype(np.float64) ** 2) / (counts[0] * counts[1]))
